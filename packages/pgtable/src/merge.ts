import type { Outcome } from '@granule/contract';
import { ENTRY, done, levelIndex } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { isAligned } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { replaceEntry } from './break-before-make.js';
import { attributeBits, placeOutput, uniformRun } from './leaf-runs.js';
import type { Table } from './table.js';
import { rangeOf } from './table.js';
import type { Run, Visitor } from './walk.js';
import { walk } from './walk.js';

/** Looks at each table after its children, so that merged blocks merge further. */
class Merge implements Visitor {
  freed = 0;

  constructor(private readonly t: Table) {}

  visit(run: Run): number {
    return run.count;
  }

  leave(run: Run): number {
    const { t } = this;
    const block = blockFor(t, run.child, run.level);
    if (block !== undefined) {
      replaceEntry(t, run.word, run.level, run.address, block.lo, block.hi, { cmo: true });
      this.freed++;
    }
    return 0;
  }
}

/** The block of `level` that says the same as this whole child table, if there is one. */
function blockFor(t: Table, child: number, level: Level): { readonly lo: number; readonly hi: number } | undefined {
  const { plan, memory, format } = t;
  const { words } = memory;
  const below = (level + 1) as Level;
  const lo = words[child];
  const hi = words[child + 1];
  if (!plan.hasLeaves(level) || t.countAt(child) !== plan.tableEntries || format.kind(lo, hi, below) !== ENTRY.leaf) {
    return undefined;
  }
  const oa = plan.leafOutput(lo, hi, levelIndex(below));
  if (!isAligned(oa, plan.shift[levelIndex(level)]) || uniformRun(plan, words, child, plan.tableEntries, below) < plan.tableEntries) {
    return undefined;
  }
  const bits = attributeBits(plan, lo, hi, below);
  const n = plan;
  return placeOutput(n, (bits.lo & ~n.contiguousLo) | n.leafType[levelIndex(level)], bits.hi & ~n.contiguousHi, oa);
}

/**
 * Replaces every table that the range meets and that maps its whole span uniformly (equal attributes, output addresses in sequence and
 * aligned) by a block, deepest first. TLB: break-before-make for each. Answers how many tables went. Linux has no such operation: it
 * collapses at a later fault.
 */
export function merge(t: Table, ia: InputAddress, size: number): Outcome<number> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const visitor = new Merge(t);
  return walk(t, range.start, range.end, visitor) ?? done(visitor.freed);
}
