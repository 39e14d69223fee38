import type { AttributeRequest, Outcome } from '@granule/contract';
import { DONE, done, levelIndex, refused } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import { hex, isAligned } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { freeSubtree } from './break-before-make.js';
import { leafPatterns } from './map.js';
import { buildSubtree, subtreePages } from './split.js';
import type { Table } from './table.js';

/** A table of `level` that is linked nowhere, by the physical address of its page. */
export interface Unlinked {
  readonly table: OutputAddress;
  readonly level: Level;
}

/**
 * Builds a table of `level` that maps its whole span from `output` on by leaves of `toLevel`, linked nowhere: no walk can reach it, so
 * nothing is owed to any TLB. `output` must be aligned to the span (`unlinked.misaligned`). Source: Linux
 * kvm_pgtable_stage2_create_unlinked.
 */
export function createUnlinked(
  t: Table,
  level: Level,
  output: OutputAddress,
  attributes: AttributeRequest,
  toLevel: Level,
): Outcome<Unlinked> {
  const above = level - 1;
  if (!isAligned(output, t.plan.shift[levelIndex(above)])) {
    return refused(
      'unlinked.misaligned',
      `Output ${hex(output)} is not aligned to the span of a level ${String(level)} table.`,
      'Linux kvm_pgtable_stage2_create_unlinked',
    );
  }
  const patterns = leafPatterns(t, attributes);
  if ('kind' in patterns) {
    return patterns;
  }
  const none = t.needPages(subtreePages(t, above as Level, toLevel));
  if (none !== undefined) {
    return none;
  }
  const li = levelIndex(toLevel);
  const bits = { lo: patterns.lo[li] & ~t.plan.typeMask[li], hi: patterns.hi[li] };
  const word = buildSubtree(t, bits, output, level, 0, toLevel);
  return done({ table: t.memory.addressOf(word), level });
}

/** Gives an unlinked table and all below it back. Source: Linux kvm_pgtable_stage2_free_unlinked. */
export function freeUnlinked(t: Table, unlinked: Unlinked): Outcome<undefined> {
  const word = t.memory.wordOf(unlinked.table, t.plan.pageBytes) | 0;
  if (word < 0) {
    return refused(
      'unlinked.unknown',
      `${hex(unlinked.table)} is not a table page of this memory.`,
      'granule: tables live in table memory',
    );
  }
  freeSubtree(t, word, unlinked.level, true);
  return DONE;
}
