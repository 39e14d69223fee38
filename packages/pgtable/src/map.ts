import type { AttributeRequest, EntryEffect, Failure, MapOptions, Outcome } from '@granule/contract';
import { DONE, ENTRY, levelIndex, notModelled, refused } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { hex, isAligned } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Skip } from './break-before-make.js';
import { installTable, replaceEntry } from './break-before-make.js';
import { fillLeaves, placeOutput, plainRun } from './leaf-runs.js';
import type { Plan } from './plan.js';
import { splitEntry } from './split.js';
import type { Table } from './table.js';
import { emitSteps, emitWrite, mapMaintenance, rangeOf, writeEntry } from './table.js';
import type { Run, Visitor } from './walk.js';
import { STOP, walk } from './walk.js';

/** A mapping request, resolved: the leaf bits of each level that may hold a block, and where the range goes. */
export interface MapPlan {
  readonly start: number;
  readonly end: number;
  /** Output address of input address `a` is a + offset (may be negative). */
  readonly offset: number;
  /** Whether a leaf of this level may be used: the format has one, the request allows it, both addresses are aligned to it. */
  readonly leafAt: readonly boolean[];
  /** Leaf bits (type and attributes) by level index. */
  readonly lo: readonly number[];
  readonly hi: readonly number[];
}

/** The leaf bits of every level, and the levels at which the format has leaves. */
export interface LeafPatterns {
  readonly lo: readonly number[];
  readonly hi: readonly number[];
}

export function leafPatterns(t: Table, attributes: AttributeRequest): LeafPatterns | Failure {
  if (attributes.contiguous === true) {
    return notModelled(
      'map.contiguous',
      'attributes.contiguous asks for the contiguous bit, which is right only on whole aligned sets of entries, and this core keeps no such sets.',
      'DDI 0487 D8.7.1; Linux KVM never sets it',
    );
  }
  const lo = [0, 0, 0, 0, 0];
  const hi = [0, 0, 0, 0, 0];
  for (let level = 3 as Level; level >= t.plan.startLevel; level--) {
    if (t.plan.leafType[levelIndex(level)] === -1) {
      continue;
    }
    const bits = t.format.encodeLeaf(attributes, level);
    if (bits.kind !== 'done') {
      return bits;
    }
    lo[levelIndex(level)] = bits.value.lo;
    hi[levelIndex(level)] = bits.value.hi;
  }
  return { lo, hi };
}

export function planMap(
  t: Table,
  ia: InputAddress,
  size: number,
  output: OutputAddress,
  patterns: LeafPatterns,
  minLevel: Level,
): MapPlan | Failure {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const { start, end } = range;
  const first = t.format.encodeOutput(output, t.plan.pageShift);
  if (first.kind !== 'done') {
    return first;
  }
  const last = t.format.encodeOutput(output + (end - start) - t.plan.pageBytes, t.plan.pageShift);
  if (last.kind !== 'done') {
    return last;
  }
  return { start, end, offset: output - start, leafAt: usableLevels(t.plan, start, output, minLevel), lo: patterns.lo, hi: patterns.hi };
}

function usableLevels(plan: Plan, start: number, output: number, minLevel: Level): boolean[] {
  const misaligned = Math.abs(output - start);
  return [-1, 0, 1, 2, 3].map((level, li) => level >= minLevel && plan.leafType[li] !== -1 && isAligned(misaligned, plan.shift[li]));
}

/** Table pages that it takes to represent [from, to) below absent entries of `level`. */
export function tablesBelow(plan: Plan, leafAt: readonly boolean[], level: number, from: number, to: number): number {
  if (from >= to) {
    return 0;
  }
  const li = levelIndex(level);
  const span = plan.span[li];
  if (!leafAt[li]) {
    return Math.ceil(to / span) - Math.floor(from / span) + tablesBelow(plan, leafAt, level + 1, from, to);
  }
  const inner = Math.ceil(from / span) * span;
  const outer = Math.floor(to / span) * span;
  if (inner > outer) {
    return 1 + tablesBelow(plan, leafAt, level + 1, from, to);
  }
  const head = inner > from ? 1 + tablesBelow(plan, leafAt, level + 1, from, inner) : 0;
  return head + (outer < to ? 1 + tablesBelow(plan, leafAt, level + 1, outer, to) : 0);
}

/** First pass: refuses what the request must not replace and counts the tables that the second pass takes. Changes nothing. */
export class MapCheck implements Visitor {
  pages = 0;
  failure: Failure | undefined;
  /** Level of the table entry that a block will replace, while inside it: its children take no tables. */
  private replacing: Level | undefined;

  constructor(
    private readonly t: Table,
    private readonly m: MapPlan,
    private readonly replace: boolean,
  ) {}

  enter(run: Run): number {
    if (this.replacing === undefined && canBeLeaf(this.t, this.m, run.level, run.address)) {
      this.replacing = run.level;
    }
    return 0;
  }

  leave(run: Run): number {
    if (this.replacing === run.level) {
      this.replacing = undefined;
    }
    return 0;
  }

  visit(run: Run): number {
    if (run.kind !== ENTRY.leaf) {
      this.need(run.level, run.from, run.to);
      return run.count;
    }
    const span = this.t.plan.span[levelIndex(run.level)];
    for (let i = 0; i < run.count; i++) {
      if (!this.leaf(run.level, run.word + 2 * i, run.address + i * span)) {
        return STOP;
      }
    }
    return run.count;
  }

  private leaf(level: Level, word: number, address: number): boolean {
    const { t, m } = this;
    const lo = t.memory.words[word];
    const hi = t.memory.words[word + 1];
    const span = t.plan.span[levelIndex(level)];
    const there = t.plan.leafOutput(lo, hi, levelIndex(level));
    if (there !== address + m.offset) {
      if (!this.replace) {
        this.failure = wouldOverwrite(
          Math.max(address, m.start),
          there + Math.max(0, m.start - address),
          Math.max(address, m.start) + m.offset,
        );
        return false;
      }
    } else if (sameAttributes(m, level, lo, hi, there, t)) {
      return true;
    }
    if (!canBeLeaf(t, m, level, address)) {
      this.need(level, Math.max(address, m.start), Math.min(address + span, m.end));
    }
    return true;
  }

  private need(level: Level, from: number, to: number): void {
    if (this.replacing === undefined) {
      this.pages += tablesBelow(this.t.plan, this.m.leafAt, level, from, to);
    }
  }
}

function wouldOverwrite(address: number, there: number, wanted: number): Failure {
  return refused(
    'map.would-overwrite',
    `${hex(address)} already maps ${hex(there)}, which a mapping to ${hex(wanted)} would overwrite.`,
    'granule: map changes no output address unless told to replace',
  );
}

/** Whether the whole entry may be one leaf of the request. */
export function canBeLeaf(t: Table, m: MapPlan, level: Level, address: number): boolean {
  return m.leafAt[levelIndex(level)] && address >= m.start && address + t.plan.span[levelIndex(level)] <= m.end;
}

function sameAttributes(m: MapPlan, level: Level, lo: number, hi: number, there: number, t: Table): boolean {
  const li = levelIndex(level);
  const want = placeOutput(t.plan, m.lo[li], m.hi[li], there);
  return want.lo === lo && want.hi === hi;
}

/** Second pass: writes. Nothing in it can fail. */
export class MapCommit implements Visitor {
  constructor(
    protected readonly t: Table,
    protected readonly m: MapPlan,
    protected readonly skip: Skip,
    /** What follows every leaf that is written where none was. */
    protected readonly after: readonly EntryEffect[] = [],
  ) {}

  enter(run: Run): number {
    const { t, m } = this;
    if (canBeLeaf(t, m, run.level, run.address)) {
      const want = this.wanted(run.level, run.address);
      replaceEntry(t, run.word, run.level, run.address, want.lo, want.hi, this.skip);
    }
    return 0;
  }

  visit(run: Run): number {
    return run.kind === ENTRY.leaf ? this.leaves(run) : this.absent(run);
  }

  /** Zero or annotated entries: as many leaves as fit from the first on, or tables. */
  private absent(run: Run): number {
    const { t, m } = this;
    const span = t.plan.span[levelIndex(run.level)];
    if (canBeLeaf(t, m, run.level, run.address)) {
      const fitting = Math.min(run.count, Math.floor((m.end - run.address) / span));
      const count = plainRun(t.plan, run.address + m.offset, fitting, span);
      this.writeLeaves(run, count, span);
      return count;
    }
    if (t.sink === undefined && run.level === 2) {
      const filled = this.fillTables(run, span);
      if (filled > 0) {
        return filled;
      }
    }
    installTable(t, run.word, run.level, run.address, this.skip);
    return 0;
  }

  private writeLeaves(run: Run, count: number, span: number): void {
    const { t } = this;
    const words = t.memory.words;
    const want = this.wanted(run.level, run.address);
    const old = t.sink === undefined ? undefined : words.slice(run.word, run.word + 2 * count);
    fillLeaves(words, run.word, count, want.lo, want.hi, span);
    if (run.kind === ENTRY.zero) {
      t.count(run.word, count);
    }
    if (old !== undefined) {
      const before = this.skip.cmo === true ? [] : mapMaintenance(t, want.lo, want.hi, run.level, span);
      emitWrite(t, run.word, count, run.level, run.address, old, { release: true, before, after: this.after });
    }
  }

  /**
   * Whole page tables for entries of level 2 that lie in the range and are absent, filled in one loop each before they are linked. Only
   * where no effect is owed: with a sink the tables are installed empty and filled entry by entry, as Linux does. Answers how many entries
   * it dealt with.
   */
  private fillTables(run: Run, span: number): number {
    const { t, m } = this;
    const { plan, memory } = t;
    let address = run.address;
    if (address < m.start || plan.oaTopMask !== 0) {
      return 0;
    }
    const count = Math.min(run.count, Math.floor((m.end - address) / span), t.reserve.length + memory.free);
    for (let i = 0; i < count; i++) {
      const child = t.takePage();
      const want = placeOutput(plan, m.lo[4], m.hi[4], address + m.offset);
      fillLeaves(memory.words, child, plan.tableEntries, want.lo, want.hi, plan.pageBytes);
      t.count(child, plan.tableEntries);
      const entry = t.descriptorFor(child, t.tableBits);
      writeEntry(t, run.word + 2 * i, entry.lo, entry.hi, run.level, address, true);
      address += span;
    }
    return count;
  }

  /**
   * Existing leaves: left alone where they already say what is wanted, changed in place or by break-before-make, split where only a part is
   * meant.
   */
  protected leaves(run: Run): number {
    const { level, word, address, count } = run;
    const span = this.t.plan.span[levelIndex(level)];
    for (let i = 0; i < count; i++) {
      if (!this.leaf(level, word + 2 * i, address + i * span)) {
        return i;
      }
    }
    return count;
  }

  /** False: the entry is a table now, read it again. */
  private leaf(level: Level, word: number, address: number): boolean {
    const { t, m } = this;
    const lo = t.memory.words[word];
    const hi = t.memory.words[word + 1];
    const there = t.plan.leafOutput(lo, hi, levelIndex(level));
    const same = there === address + m.offset;
    if (same && sameAttributes(m, level, lo, hi, there, t)) {
      return true;
    }
    if (canBeLeaf(t, m, level, address)) {
      changeLeaf(t, word, level, address, this.wanted(level, address), this.skip);
      return true;
    }
    if (!same && address >= m.start && address + t.plan.span[levelIndex(level)] <= m.end) {
      installTable(t, word, level, address, this.skip);
    } else {
      splitEntry(t, word, level, address, (level + 1) as Level, this.skip);
    }
    return false;
  }

  protected wanted(level: Level, address: number): { readonly lo: number; readonly hi: number } {
    const li = levelIndex(level);
    return placeOutput(this.t.plan, this.m.lo[li], this.m.hi[li], address + this.m.offset);
  }
}

/** Rewrites a leaf in place where the architecture allows it, else by break-before-make. */
function changeLeaf(
  t: Table,
  word: number,
  level: Level,
  address: number,
  want: { readonly lo: number; readonly hi: number },
  skip: Skip,
): void {
  const lo = t.memory.words[word];
  const hi = t.memory.words[word + 1];
  if (t.format.mustBreak(lo, hi, want.lo, want.hi, level) !== undefined) {
    replaceEntry(t, word, level, address, want.lo, want.hi, skip);
    return;
  }
  writeEntry(t, word, want.lo, want.hi, level, address, false);
  if (skip.tlbi !== true) {
    emitSteps(t, t.format.tlbi.leaf, address, level, t.plan.span[levelIndex(level)]);
  }
}

/** What an exact map came to before it changes anything: the resolved request and the pages that it takes. */
export function checkMap(
  t: Table,
  ia: InputAddress,
  size: number,
  output: OutputAddress,
  patterns: LeafPatterns,
  options: MapOptions,
): { readonly m: MapPlan; readonly pages: number } | Failure {
  const m = planMap(t, ia, size, output, patterns, minimumLevel(t, options));
  if ('kind' in m) {
    return m;
  }
  const check = new MapCheck(t, m, options.over === 'replace');
  return walk(t, m.start, m.end, check) ?? check.failure ?? t.needPages(check.pages) ?? { m, pages: check.pages };
}

/**
 * Maps [ia, ia + size) to [output, …) by the largest blocks that fit (`pages`: by pages). Absent and annotated entries are mapped; leaves
 * that already map the same output keep it, with the new attributes (in place where `mustBreak` allows it, else by break-before-make; a
 * block is split where only a part of it changes); a table that a block covers is replaced. Another output address in the range: refused
 * `map.would-overwrite`, or replaced on request. Refused with nothing changed: also `pool.exhausted`. Ends with DSB ISHST (stage 1: and
 * ISB).
 */
export function mapExact(
  t: Table,
  ia: InputAddress,
  size: number,
  output: OutputAddress,
  patterns: LeafPatterns,
  options: MapOptions,
): Outcome<undefined> {
  const checked = checkMap(t, ia, size, output, patterns, options);
  if ('kind' in checked) {
    return checked;
  }
  commitMap(t, checked.m, options.skip ?? {});
  return DONE;
}

function commitMap(t: Table, m: MapPlan, skip: Skip): void {
  const failure = walk(t, m.start, m.end, new MapCommit(t, m, skip));
  if (failure !== undefined) {
    throw new Error(`a checked mapping failed: ${failure.sentence}`);
  }
  t.sink?.effect({ type: 'dsb', domain: 'ishst' });
  if (t.format.stage === 1) {
    t.sink?.effect({ type: 'isb' });
  }
}

function minimumLevel(t: Table, options: MapOptions): Level {
  return options.pages === true ? 3 : (options.minBlockLevel ?? t.plan.startLevel);
}
