import type { EntryKind, ExplainedField, FaultValue } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Leaf } from '../dump/leaf.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { DecidedAccess } from './access.js';
import type { FaultCause } from './cause.js';
import type { CombinedResult } from './combined.js';

/** One descriptor that a walk read. */
export interface WalkStep {
  readonly level: Level;
  readonly index: number;
  /** Where the descriptor is, in the address space that the tables are in. */
  readonly address: OutputAddress;
  /** Tables at IPAs: how stage 2 translates `address`. */
  readonly through?: StageWalk;
  readonly lo: number;
  readonly hi: number;
  readonly kind: EntryKind;
  readonly fields: readonly ExplainedField[];
  /** The next table's address, or the output address of the leaf (of its first byte). */
  readonly output?: OutputAddress;
}

/** Where a walk leads. */
export interface Translated {
  readonly output: OutputAddress;
  readonly level: Level;
  readonly leaf: Leaf;
}

/** How the walk of one stage ended. */
export type StageEnd =
  | ({ readonly kind: 'translated' } & Translated)
  /** `past`: where the tables lead behind an access flag that is clear. */
  | { readonly kind: 'fault'; readonly fault: FaultValue; readonly sentence: string; readonly cause: FaultCause; readonly past?: Translated }
  /** The image does not hold the table. */
  | { readonly kind: 'lost'; readonly sentence: string };

/** One address through one table. */
export interface StageWalk {
  readonly tables: RegimeTables;
  /** Offset from the start of the range. */
  readonly address: InputAddress;
  readonly steps: readonly WalkStep[];
  /** Stage 2 of the descriptor that the walk could not read for want of a translation. */
  readonly unread?: StageWalk;
  readonly end: StageEnd;
}

/** A descriptor that hardware writes: the access flag, the dirty state. Words as they stand in memory, `address` physical. */
export interface DescriptorUpdate {
  readonly stage: 1 | 2;
  readonly level: number;
  readonly address: OutputAddress;
  readonly from: bigint;
  readonly to: bigint;
}

/** One address through one regime, and stage 2 where that follows. */
export interface AddressWalk {
  readonly regime: string;
  readonly address: bigint;
  readonly access: DecidedAccess;
  /** One, or stage 1 and stage 2. Empty where the address is in no range that is switched on. */
  readonly stages: readonly StageWalk[];
  readonly end: StageEnd;
  /** Of a stage-1 regime: the access as hardware answers it, both stages combined. */
  readonly result?: CombinedResult;
  readonly updates: readonly DescriptorUpdate[];
}
