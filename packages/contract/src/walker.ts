import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { FormatConfig } from './backend.js';
import type { FaultValue } from './fault.js';
import type { Format, MemoryType, Shareability } from './format.js';
import type { TableMemory } from './memory.js';
import type { Outcome } from './outcome.js';

/** The tables of one regime and stage, and how hardware is set up to walk them. */
export interface WalkerOptions {
  readonly format: Format;
  /** What the format was made of. */
  readonly config: FormatConfig;
  readonly memory: TableMemory;
  readonly root: OutputAddress;
}

/** One access. */
export interface WalkAccess {
  readonly type: 'read' | 'write' | 'fetch';
  /** Made at EL1 or EL2 (PL1, PL2); false: at EL0. */
  readonly privileged: boolean;
}

/** What one privilege level may do. */
export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
}

/** A translation that succeeded. */
export interface Translated {
  readonly output: OutputAddress;
  /** Level of the leaf, −1…3. */
  readonly level: Level;
  readonly privileged: Rights;
  /** Absent where the regime has one privilege level. */
  readonly user?: Rights;
  /** Stage 2: what Normal Write-Back memory of stage 1 becomes. */
  readonly memory: MemoryType;
  readonly shareability: Shareability;
}

export type WalkAnswer = { readonly kind: 'done'; readonly value: Translated } | { readonly kind: 'fault'; readonly fault: FaultValue };

/** Hardware that translates through one set of tables. It does not remember: every answer is of the tables as they are now. */
export interface TableWalk {
  /**
   * @param ia bytes; with an upper range the offset from its start. Addresses outside of the range are answered with a fault: beyond 2^iaBits, or with an
   * upper range below 0.
   */
  translate(ia: InputAddress, access: WalkAccess): WalkAnswer;
}

/**
 * What hardware finds in tables: a model of an MMU, or an emulator's. Access flag and dirty state are managed by software, PAN and WXN are off, memory is
 * little-endian, caches are on. Refused where it does not know the format.
 */
export interface Walker {
  open(options: WalkerOptions): Outcome<TableWalk>;
}
