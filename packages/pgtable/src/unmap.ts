import type { EntryEffect, Failure, Outcome, UnmapOptions } from '@granule/contract';
import { DONE, ENTRY, levelIndex } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { freeSubtree } from './break-before-make.js';
import { uniformRun } from './leaf-runs.js';
import { tablesBelow } from './map.js';
import { lookup, newLookup } from './lookup.js';
import { splitEntry } from './split.js';
import type { Table } from './table.js';
import { emitSteps, emitWrite, rangeOf, steps, unmapMaintenance, writeEntry } from './table.js';
import type { Run, Visitor } from './walk.js';
import { walk } from './walk.js';

const EVERY_LEVEL = [true, true, true, true, true];

class Unmap implements Visitor {
  constructor(
    private readonly t: Table,
    private readonly range: { readonly start: number; readonly end: number },
    private readonly options: UnmapOptions,
    /** Blocks that stick out of the range: split (exact) or unmapped whole (Linux). */
    private readonly whole: boolean,
    private readonly tlbi: boolean,
  ) {}

  /** A covered table goes unread, where no entry of it owes an effect. */
  enter(run: Run): number {
    const { t } = this;
    if (t.sink === undefined && this.covers(run.address, run.level) && run.child >= 0) {
      freeSubtree(t, run.child, (run.level + 1) as Level, false);
      writeEntry(t, run.word, 0, 0, run.level, run.address, false);
    }
    return 0;
  }

  visit(run: Run): number {
    if (run.kind === ENTRY.zero) {
      return run.count;
    }
    const span = this.t.plan.span[levelIndex(run.level)];
    if (run.kind === ENTRY.leaf && !this.whole) {
      if (!this.covers(run.address, run.level)) {
        splitEntry(this.t, run.word, run.level, run.address, (run.level + 1) as Level);
        return 0;
      }
      const covered = Math.min(run.count, Math.floor((this.range.end - run.address) / span));
      this.clear(run, covered, span);
      return covered;
    }
    this.clear(run, run.count, span);
    return run.count;
  }

  /**
   * A table that has become empty: its entry is cleared, intermediate levels are invalidated without level hint, the page is given back.
   */
  leave(run: Run): number {
    const { t } = this;
    if (t.countAt(run.child) !== 0) {
      return 0;
    }
    writeEntry(t, run.word, 0, 0, run.level, run.address, false);
    emitSteps(t, t.format.tlbi.table, run.address, undefined, t.plan.span[levelIndex(run.level)]);
    t.givePage(run.child, false);
    return 0;
  }

  private covers(address: number, level: Level): boolean {
    return address >= this.range.start && address + this.t.plan.span[levelIndex(level)] <= this.range.end;
  }

  private clear(run: Run, count: number, span: number): void {
    const { t } = this;
    const { words } = t.memory;
    if (t.sink === undefined) {
      words.fill(0, run.word, run.word + 2 * count);
      t.count(run.word, -count);
      return;
    }
    for (let i = 0; i < count;) {
      const word = run.word + 2 * i;
      const n = run.kind === ENTRY.leaf ? uniformRun(t.plan, words, word, count - i, run.level) : count - i;
      const address = run.address + i * span;
      const after = run.kind === ENTRY.leaf ? this.leafEffects(words[word], words[word + 1], run.level, address, span) : [];
      const old = words.slice(word, word + 2 * n);
      words.fill(0, word, word + 2 * n);
      t.count(word, -n);
      emitWrite(t, word, n, run.level, address, old, { after });
      i += n;
    }
  }

  private leafEffects(lo: number, hi: number, level: Level, address: number, span: number): EntryEffect[] {
    const { t, options } = this;
    const tlbi = this.tlbi ? steps(t.format.tlbi.leaf, address, level, span) : [];
    const cmo = options.skip?.cmo === true ? [] : unmapMaintenance(t, lo, hi, level, span);
    return [...tlbi, ...cmo];
  }
}

/**
 * Unmaps a range and frees the tables that it empties (never the entry tables). Annotations are cleared too.
 *
 * exact: exactly the range; a block that sticks out is split first (`pool.exhausted`, nothing changed, where that lacks a page).
 * linux: a block that the range touches goes whole; the rest of it faults again (kvm_pgtable_stage2_unmap).
 *
 * TLB: each leaf is invalidated by its own sequence (`tlbi: 'each'`), or the range at the end (`deferred`; freed tables still at once), or
 * not at all.
 * Cache: each cacheable leaf is cleaned and invalidated to PoC after its invalidation, without FEAT_S2FWB; while that is owed nothing can
 * be deferred, and `deferred` is the same as `each`. In linux mode it is so too without range invalidation (stage2_unmap_defer_tlb_flush).
 */
export function unmap(t: Table, ia: InputAddress, size: number, options: UnmapOptions): Outcome<undefined> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const linux = options.mode === 'linux';
  const failure = linux ? undefined : checkStraddle(t, range);
  if (failure !== undefined) {
    return failure;
  }
  const deferred = options.tlbi === 'deferred' && mayDefer(t, options);
  const end = walk(t, range.start, range.end, new Unmap(t, range, options, linux, !deferred && options.tlbi !== 'none'));
  if (end !== undefined) {
    return end;
  }
  if (deferred) {
    emitSteps(t, t.format.tlbi.range, range.start, undefined, range.end - range.start);
  }
  return DONE;
}

function mayDefer(t: Table, options: UnmapOptions): boolean {
  const ranges = t.format.tlbi.range.some((step) => step.type === 'tlbi' && step.takes === 'range');
  const cleans = t.format.stage === 2 && t.coherence.fwb !== true;
  return options.mode === 'linux' ? ranges && !cleans : !cleans || options.skip?.cmo === true;
}

/** Only the entries at the two ends of the range can stick out of it; what lies between is not read. */
function checkStraddle(t: Table, range: { readonly start: number; readonly end: number }): Failure | undefined {
  const { start, end } = range;
  const first = blockAt(t, start);
  const last = blockAt(t, end - t.plan.pageBytes);
  let pages = pagesToIsolate(t, first, start, end);
  if (last.start !== first.start) {
    pages += pagesToIsolate(t, last, start, end);
  }
  return t.needPages(pages);
}

interface Block {
  readonly level: Level;
  readonly start: number;
  readonly leaf: boolean;
}

function blockAt(t: Table, ia: number): Block {
  const at = newLookup();
  lookup(t, ia, at);
  const li = levelIndex(at.level);
  return { level: at.level, start: Math.floor(ia * t.plan.inverse[li]) * t.plan.span[li], leaf: at.kind === ENTRY.leaf };
}

function pagesToIsolate(t: Table, block: Block, start: number, end: number): number {
  const stop = block.start + t.plan.span[levelIndex(block.level)];
  if (!block.leaf || (block.start >= start && stop <= end)) {
    return 0;
  }
  return tablesBelow(t.plan, EVERY_LEVEL, block.level, Math.max(block.start, start), Math.min(stop, end));
}
