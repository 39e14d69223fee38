import type { Outcome } from '@granule/contract';
import { DONE, ENTRY, levelIndex } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { installTable, replaceEntry } from './break-before-make.js';
import { tablesBelow } from './map.js';
import { splitEntry } from './split.js';
import type { Table } from './table.js';
import { rangeOf } from './table.js';
import type { Run, Visitor } from './walk.js';
import { walk } from './walk.js';

const PAGES_ONLY = [false, false, false, false, true];

class AnnotateCheck implements Visitor {
  pages = 0;

  constructor(private readonly t: Table) {}

  visit(run: Run): number {
    if (run.level < 3) {
      this.pages += tablesBelow(this.t.plan, PAGES_ONLY, run.level, run.from, run.to);
    }
    return run.count;
  }
}

class Annotate implements Visitor {
  constructor(
    private readonly t: Table,
    private readonly lo: number,
    private readonly hi: number,
  ) {}

  visit(run: Run): number {
    const { t } = this;
    const span = t.plan.span[levelIndex(run.level)];
    const { level, word, address, count } = run;
    if (level < 3) {
      const sticksOut = run.from > address || run.to < address + span;
      if (run.kind === ENTRY.leaf && sticksOut) {
        splitEntry(t, word, level, address, (level + 1) as Level);
      } else {
        installTable(t, word, level, address);
      }
      return 0;
    }
    for (let i = 0; i < count; i++) {
      replaceEntry(t, word + 2 * i, level, address + i * span, this.lo, this.hi);
    }
    return count;
  }
}

/**
 * Puts an annotation into every page entry of the range; what was mapped there is unmapped by break-before-make, a block that sticks out is
 * split. Refused with nothing changed: `annotation.*`, `pool.exhausted`. Source: Linux kvm_pgtable_stage2_annotate (where a block's rest is
 * unmapped).
 */
export function annotate(t: Table, ia: InputAddress, size: number, type: number, value: bigint): Outcome<undefined> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const entry = t.format.encodeAnnotation(type, value);
  if (entry.kind !== 'done') {
    return entry;
  }
  const check = new AnnotateCheck(t);
  const failure = walk(t, range.start, range.end, check) ?? t.needPages(check.pages);
  if (failure !== undefined) {
    return failure;
  }
  t.unannotated = false;
  return walk(t, range.start, range.end, new Annotate(t, entry.value.lo, entry.value.hi)) ?? DONE;
}
