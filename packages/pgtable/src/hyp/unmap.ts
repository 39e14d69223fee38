import type { Outcome } from '@granule/contract';
import { ENTRY, done, levelIndex } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { GranulePageTable } from '../page-table.js';
import type { Table } from '../table.js';
import { emitSteps, emitWrite, rangeOf, steps, writeEntry } from '../table.js';
import type { Run, Visitor } from '../walk.js';
import { STOP, walk } from '../walk.js';

export interface HypUnmapOptions {
  /**
   * Invalidation after each entry (`vale2is`, the default: Linux since 5.19), or none at all (`none`: hyp unmap of 2016, for tear-down
   * alone).
   */
  readonly tlbi?: 'vale2is' | 'none';
}

/** hyp_unmap_walker. */
class HypUnmap implements Visitor {
  unmapped = 0;

  constructor(
    private readonly t: Table,
    private readonly start: number,
    private readonly end: number,
    private readonly tlbi: boolean,
  ) {}

  visit(run: Run): number {
    if (run.kind !== ENTRY.leaf) {
      return STOP;
    }
    const { t } = this;
    const span = t.plan.span[levelIndex(run.level)];
    const tooLarge = this.end - Math.max(run.address, this.start) < span;
    const count = tooLarge ? 0 : Math.min(run.count, Math.floor((this.end - run.address) / span));
    if (count > 0) {
      this.clear(run, count, span);
    }
    return count === run.count ? count : STOP;
  }

  private clear(run: Run, count: number, span: number): void {
    const { t } = this;
    const { words } = t.memory;
    const old = t.sink === undefined ? undefined : words.slice(run.word, run.word + 2 * count);
    words.fill(0, run.word, run.word + 2 * count);
    t.count(run.word, -count);
    this.unmapped += count * span;
    if (old !== undefined) {
      const after = this.tlbi ? steps(t.format.tlbi.leaf, run.address, run.level, span) : [];
      emitWrite(t, run.word, count, run.level, run.address, old, { after });
    }
  }

  /** A table that has become empty: its entry is cleared, the walk caches are invalidated without level hint, the page is given back. */
  leave(run: Run): number {
    const { t } = this;
    if (t.countAt(run.child) === 0) {
      writeEntry(t, run.word, 0, 0, run.level, run.address, false);
      if (this.tlbi) {
        emitSteps(t, t.format.tlbi.table, run.address, undefined, t.plan.span[levelIndex(run.level)]);
      }
      t.givePage(run.child, false);
    }
    return 0;
  }
}

/**
 * Unmaps leaves of a hyp table from `ia` on and answers how many bytes that were; fewer than `size` is the error signal. It stops, keeping
 * what is done, at the first entry that is not a valid leaf or table, and at a block larger than what is left of the range: a block is
 * never split. A block that begins before `ia` goes whole where the range is long enough, and counts whole. Tables that become empty are
 * freed, but not the one in which it stopped.
 *
 * TLB: each leaf DSB ISHST, VALE2IS with its level (the format's `tlbi.leaf`), DSB ISH, ISB; each emptied table VAE2IS without level hint
 * (`tlbi.table`) likewise. Refused: `range.*`. Source: Linux kvm_pgtable_hyp_unmap, which answers 0 at once where the host's own memory
 * operations are in use (plain nVHE).
 */
export function hypUnmap(table: GranulePageTable, ia: InputAddress, size: number, options: HypUnmapOptions = {}): Outcome<number> {
  const t = table.table;
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const visitor = new HypUnmap(t, range.start, range.end, options.tlbi !== 'none');
  return walk(t, range.start, range.end, visitor) ?? done(visitor.unmapped);
}
