import type { Level } from '@granule/geometry';
import type { Context } from './context.js';

/** How far an owed invalidation has come. */
export const PHASE = {
  owed: 0,
  /** Issued after the write was complete, not completed by a DSB. */
  issued: 1,
  /** Stage 2: complete by IPA; stage 1 of the VMID is owed. */
  stage1Owed: 2,
  stage1Issued: 3,
  done: 4,
} as const;
export type Phase = (typeof PHASE)[keyof typeof PHASE];

/**
 * What an invalidation has to remove: the translation by a leaf, the table that a walk cache may keep, the leaves that were in a table
 * whose entry went, a permission that a valid leaf no longer gives, or everything under the tag of a retired context.
 */
export type ObligationKind = 'leaf' | 'table' | 'leaves' | 'permission' | 'tag';

/** Permissions of a leaf as bits. */
export const PERMISSION = { read: 1, write: 2, px: 4, ux: 8, user: 16 } as const;

/** An invalidation that is owed since an event. */
export interface Obligation {
  readonly context: Context;
  readonly kind: ObligationKind;
  readonly level: Level;
  /** Input addresses [start, end) that the entry translated. */
  readonly start: number;
  readonly end: number;
  /**
   * Where the first of what must go ends, and the last begins. All the same for one entry: an invalidation that touches any part of a block takes it whole. For
   * `leaves` these are the first and the last leaf of the table.
   */
  readonly firstEnd: number;
  readonly lastStart: number;
  /** The entry as it was. */
  readonly oldLo: number;
  readonly oldHi: number;
  /** Permissions taken away, {@link PERMISSION}. */
  readonly removed: number;
  /** Guards the pages of a table alone: the translations stay what they were (FEAT_BBM). */
  readonly guardOnly: boolean;
  /** Number of the event that removed the entry, and its place among the single effects. */
  readonly cause: number;
  readonly tick: number;
  /** Domain of the DSB that completed the write: −1 none, 0 this PE, 1 inner, 2 outer, 3 system. */
  ordered: number;
  phase: Phase;
  /** The event of the invalidation that brought it to its phase. */
  tlbi: number;
  /** When it came to `stage1Owed`, in single effects. */
  completed: number;
  /** That invalidation hit stage 1 too. */
  combined: boolean;
  /** The first access that used the old entry. */
  usedBy: number | undefined;
}
