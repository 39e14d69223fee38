import type { EntryKind, Failure, Format, TableMemory } from '@granule/contract';
import { ENTRY, levelIndex, refused } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { leafEnd } from './leaf-runs.js';
import type { Plan } from './plan.js';
import { planOf } from './plan.js';

/** A translation table as a walk needs it. */
export interface Tables {
  readonly format: Format;
  readonly memory: TableMemory;
  /** Physical address of the entry table(s). */
  readonly root: OutputAddress;
  /**
   * True: no entry of these tables is annotated or reserved, so that a level-3 table with as many non-zero entries as it has is all leaves
   * and need not be read to know it. An image cannot tell.
   */
  readonly unannotated?: boolean;
}

/**
 * Neighbouring entries of one kind in one table, inside the range that is walked; a table entry is always a run of one. One object is
 * reused for a whole walk: read it, do not keep it.
 */
export interface Run {
  kind: EntryKind;
  level: Level;
  /** First word of the table in `memory.words`. */
  table: number;
  /** First entry's index in the table, and its first word. */
  index: number;
  word: number;
  count: number;
  /** Input address of the first entry. */
  address: InputAddress;
  /** The part of the run inside the walked range. */
  from: InputAddress;
  to: InputAddress;
  /** The first entry as it was read. */
  lo: number;
  hi: number;
  /** Table entries: first word of the next table. */
  child: number;
}

/** Stop the walk. */
export const STOP = -1;

export interface Visitor {
  /**
   * A run of zero, annotated or leaf entries. Answers how many entries it dealt with (`run.count`: all; fewer: the rest is read again and
   * comes as another run; 0: read this entry again, it is a table now), or {@link STOP}.
   */
  visit(run: Run): number;
  /**
   * A table entry, before its table is walked; afterwards the entry is read again, and the walk descends if it still is a table and passes
   * over it otherwise. Answers STOP to stop.
   */
  enter?(run: Run): number;
  /** The same table entry, after its table was walked. */
  leave?(run: Run): number;
  /**
   * A table entry whose table is not in memory (or the memory's page limit is reached). Answers STOP to stop, anything else to pass over
   * it. Absent: stop.
   */
  lost?(run: Run, reason: 'outside-memory' | 'page-limit'): number;
}

/** How a walk ended: undefined, or why it could not go on. A visitor that answers STOP ends a walk without a failure. */
export type WalkEnd = Failure | undefined;

/** Tables that one walk may enter unless told otherwise; a hostile image can make 2^36 of one page. */
export const TABLE_BUDGET = 2 ** 22;

/**
 * Visits every run of [start, end) in order, once per run, descending into tables. The range must lie inside the format's input size; it
 * need not be aligned. No TLB or cache maintenance of its own.
 *
 * Source: Linux __kvm_pgtable_walk (arch/arm64/kvm/hyp/pgtable.c), with runs in place of entries.
 */
export function walk(tables: Tables, start: InputAddress, end: InputAddress, visitor: Visitor, budget: number = TABLE_BUDGET): WalkEnd {
  const plan = planOf(tables.format);
  const rootWord = tables.memory.wordOf(tables.root, Math.min(plan.rootEntries * 8, plan.pageBytes)) | 0;
  if (rootWord < 0) {
    return lostTable(tables.root, plan.startLevel, rootWord, 'the entry table');
  }
  const w: Walk = {
    plan,
    memory: tables.memory,
    unannotated: tables.unannotated === true,
    start,
    end,
    visitor,
    run: newRun(),
    budget,
    allowed: budget,
    failure: undefined,
  };
  walkEntryTables(w, tables.root, rootWord);
  return w.failure;
}

interface Walk {
  readonly plan: Plan;
  readonly memory: TableMemory;
  readonly unannotated: boolean;
  readonly start: number;
  readonly end: number;
  readonly visitor: Visitor;
  readonly run: Run;
  /** Tables that may still be entered, of `allowed`. */
  budget: number;
  readonly allowed: number;
  failure: Failure | undefined;
}

function newRun(): Run {
  return { kind: ENTRY.zero, level: 3, table: 0, index: 0, word: 0, count: 0, address: 0, from: 0, to: 0, lo: 0, hi: 0, child: 0 };
}

/** Concatenated entry tables are one table where the memory holds them side by side, and are walked page by page where it does not. */
function walkEntryTables(w: Walk, root: OutputAddress, rootWord: number): void {
  const { plan, memory } = w;
  const bytes = plan.rootEntries * 8;
  if (bytes <= plan.pageBytes || memory.contiguousPages > 0) {
    walkTable(w, plan.startLevel, rootWord, plan.rootEntries, 0);
    return;
  }
  const tableSpan = plan.span[levelIndex(plan.startLevel)] * plan.tableEntries;
  for (let i = 0; i * plan.pageBytes < bytes; i++) {
    const base = i * tableSpan;
    if (base >= w.end || base + tableSpan <= w.start) {
      continue;
    }
    const word = memory.wordOf(root + i * plan.pageBytes, plan.pageBytes) | 0;
    if (word < 0) {
      w.failure = lostTable(root + i * plan.pageBytes, plan.startLevel, word, 'a concatenated entry table');
      return;
    }
    if (!walkTable(w, plan.startLevel, word, plan.tableEntries, base)) {
      return;
    }
  }
}

/** Walks the part of one table that lies in the range; false: the walk is over. */
function walkTable(w: Walk, level: Level, table: number, entries: number, base: number): boolean {
  const { run, visitor, memory } = w;
  const li = levelIndex(level);
  const { inverse, span } = w.plan;
  // Integers by `| 0`: word indices that engines hold as doubles make the loops over words four times as slow.
  let i = w.start > base ? ((w.start - base) * inverse[li]) | 0 : 0;
  const stop = w.end - base >= entries * span[li] ? entries : Math.ceil((w.end - base) * inverse[li]) | 0;
  while (i < stop) {
    readRun(w, li, table, i, stop, base + i * span[li]);
    run.level = level;
    if (run.kind === ENTRY.table) {
      if (!walkTableEntry(w, level, table, i, base + i * span[li])) {
        return false;
      }
      i++;
      continue;
    }
    run.from = run.address > w.start ? run.address : w.start;
    run.to = Math.min(run.address + run.count * span[li], w.end);
    const consumed = visitor.visit(run);
    if (consumed < 0) {
      return false;
    }
    i += consumed;
    if (consumed === 0 && !isTableAt(w, li, memory.words[table + 2 * i])) {
      throw new Error('a visitor asked to read an entry again without having made it a table');
    }
  }
  return true;
}

function isTableAt(w: Walk, li: number, lo: number): boolean {
  return (lo & w.plan.typeMask[li]) === w.plan.tableType[li];
}

/** enter, descend if it still is a table, leave. False: the walk is over. */
function walkTableEntry(w: Walk, level: Level, table: number, i: number, address: number): boolean {
  const { visitor, run, memory } = w;
  if (visitor.enter !== undefined) {
    run.child = childWord(w, run.lo, run.hi);
    setSpan(w, level, address);
    if (visitor.enter(run) < 0) {
      return false;
    }
  }
  const word = table + 2 * i;
  const lo = memory.words[word];
  const hi = memory.words[word + 1];
  if (!isTableAt(w, levelIndex(level), lo)) {
    return true;
  }
  const child = childWord(w, lo, hi);
  if (child < 0) {
    setEntry(w, level, table, i, lo, hi, address);
    return passLost(w, child);
  }
  if (w.budget-- <= 0) {
    w.failure = refused(
      'walk.too-many-tables',
      `The walk entered as many tables as it may (${String(w.allowed)}): the tables refer to each other over and over.`,
      'granule: bounded time on hostile images',
    );
    return false;
  }
  if (!walkTable(w, (level + 1) as Level, child, w.plan.tableEntries, address)) {
    return false;
  }
  if (visitor.leave === undefined) {
    return true;
  }
  setEntry(w, level, table, i, lo, hi, address);
  run.child = child;
  return visitor.leave(run) >= 0;
}

function setEntry(w: Walk, level: Level, table: number, index: number, lo: number, hi: number, address: number): void {
  const { run } = w;
  run.kind = ENTRY.table;
  run.level = level;
  run.table = table;
  run.index = index;
  run.word = table + 2 * index;
  run.count = 1;
  run.address = address;
  run.lo = lo;
  run.hi = hi;
  setSpan(w, level, address);
}

function setSpan(w: Walk, level: Level, address: number): void {
  w.run.from = Math.max(address, w.start);
  w.run.to = Math.min(address + w.plan.span[levelIndex(level)], w.end);
}

function passLost(w: Walk, reason: number): boolean {
  const { run } = w;
  const pa = w.plan.tableOutput(run.lo, run.hi);
  if (w.visitor.lost === undefined) {
    w.failure = lostTable(pa, (run.level + 1) as Level, reason, `the table that the entry for ${hex(run.address)} names`);
    return false;
  }
  return w.visitor.lost(run, reason === -2 ? 'page-limit' : 'outside-memory') >= 0;
}

function lostTable(pa: OutputAddress, level: Level, reason: number, what: string): Failure {
  return reason === -2
    ? refused(
        'walk.page-limit',
        `The limit of loaded table pages is reached at ${hex(pa)}, ${what} (level ${String(level)}).`,
        'granule: bounded memory on hostile images',
      )
    : refused(
        'walk.table-outside-memory',
        `The table at ${hex(pa)}, ${what} (level ${String(level)}), is not in memory.`,
        'DDI 0487 D8.2: a walk reads memory',
      );
}

/** First word of the table that a table descriptor names; negative as {@link TableMemory.wordOf}. */
function childWord(w: Walk, lo: number, hi: number): number {
  return tableWord(w.memory, w.plan, lo, hi);
}

export function tableWord(memory: TableMemory, plan: Plan, lo: number, hi: number): number {
  const high = hi & plan.tableOaHi;
  if (high <= plan.smallHigh && (lo & plan.oaTopMask) === 0) {
    const slot = (((high << plan.highShift) | ((lo & plan.tableOaLo) >>> plan.pageShift)) - memory.firstPage) | 0;
    if (slot >= 0 && slot < memory.contiguousPages) {
      return slot << plan.wordShift;
    }
  }
  return memory.wordOf(plan.tableOutput(lo, hi), plan.pageBytes) | 0;
}

/** Fills the run that starts at entry `i`: its kind, and how far neighbours of the same kind reach (a table is alone). */
function readRun(w: Walk, li: number, table: number, i: number, stop: number, address: number): void {
  const run = w.run;
  const words = w.memory.words;
  const n = w.plan;
  const mask = n.typeMask[li];
  const at = table + 2 * i;
  const end = table + 2 * stop;
  const lo = words[at];
  const hi = words[at + 1];
  run.lo = lo;
  run.hi = hi;
  run.table = table;
  run.index = i;
  run.word = at;
  run.address = address;
  const type = lo & mask;
  if (type === n.tableType[li]) {
    run.kind = ENTRY.table;
    run.count = 1;
  } else if (type === n.leafType[li]) {
    run.kind = ENTRY.leaf;
    run.count = fullOfLeaves(w, li, table) ? (stop - i) | 0 : (leafEnd(words, at, end, mask, type) - at) >> 1;
  } else if (lo === 0 && hi === 0) {
    run.kind = ENTRY.zero;
    run.count = (zeroEnd(words, at, end) - at) >> 1;
  } else {
    run.kind = ENTRY.annotated;
    run.count = (annotatedEnd(words, at, end, mask, n.leafType[li], n.tableType[li]) - at) >> 1;
  }
}

function fullOfLeaves(w: Walk, li: number, table: number): boolean {
  return w.unannotated && li === 4 && w.memory.counts[table >>> w.plan.wordShift] === w.plan.tableEntries;
}

function zeroEnd(words: Uint32Array, at: number, end: number): number {
  while (at < end && (words[at] | words[at + 1]) === 0) {
    at += 2;
  }
  return at;
}

function annotatedEnd(words: Uint32Array, at: number, end: number, mask: number, leaf: number, table: number): number {
  while (at < end && (words[at] | words[at + 1]) !== 0 && (words[at] & mask) !== leaf && (words[at] & mask) !== table) {
    at += 2;
  }
  return at;
}
