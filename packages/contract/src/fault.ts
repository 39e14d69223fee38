import type { InputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';

export type FaultType =
  | 'translation'
  | 'access-flag'
  | 'permission'
  | 'address-size'
  | 'external-abort'
  | 'external-abort-on-walk'
  | 'alignment'
  | 'tlb-conflict'
  | 'unsupported-atomic-update';

export type AccessType = 'read' | 'write' | 'fetch' | 'cache-maintenance' | 'at-read' | 'at-write';

/** A fault as the architecture describes it; `Backend.faults` turns it into register values. */
export interface FaultValue {
  readonly type: FaultType;
  /** Level of the descriptor that faulted, −1…3. */
  readonly level: Level;
  readonly stage: 1 | 2;
  /** Stage-2 fault on a stage-1 table walk. */
  readonly s1ptw: boolean;
  readonly access: AccessType;
  /** Input address of the access (VA), exact number; of an upper-half VA the offset from the range's start. */
  readonly address: InputAddress;
  readonly upper: boolean;
  /** Stage 2 only: the IPA that faulted. */
  readonly ipa?: number;
}
