import type { Outcome } from '@granule/contract';
import { DONE, ENTRY, levelIndex, refused } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Skip } from './break-before-make.js';
import { replaceEntry } from './break-before-make.js';
import { type LeafAt, attributeBits, fillLeaves, placeOutput, plainRun } from './leaf-runs.js';
import type { Table } from './table.js';
import { emitWrite, rangeOf } from './table.js';
import type { Run, Visitor } from './walk.js';
import { STOP, walk } from './walk.js';

/**
 * Puts a full table in place of one block: leaves of `toLevel`, same output, same attributes. The new subtree is complete before the block
 * is broken, so nothing that was mapped is missing afterwards, and one break is enough. `attributes`: other attribute bits than the
 * block's.
 *
 * Source: Linux stage2_split_walker.
 */
export function splitEntry(
  t: Table,
  word: number,
  level: Level,
  address: InputAddress,
  toLevel: Level,
  skip?: Skip,
  attributes?: LeafAt,
): void {
  const { plan, memory } = t;
  const lo = memory.words[word];
  const hi = memory.words[word + 1];
  const oa = plan.leafOutput(lo, hi, levelIndex(level));
  const child = buildSubtree(t, attributes ?? attributeBits(plan, lo, hi, level), oa, (level + 1) as Level, address, toLevel);
  const entry = t.descriptorFor(child, t.tableBits);
  replaceEntry(t, word, level, address, entry.lo, entry.hi, { ...skip, cmo: true });
}

/** A table of `level` that maps its whole span to `oa` by leaves of `toLevel`; not linked anywhere. Answers its first word. */
export function buildSubtree(
  t: Table,
  bits: { readonly lo: number; readonly hi: number },
  oa: number,
  level: Level,
  address: number,
  toLevel: Level,
): number {
  const { plan, memory } = t;
  const table = t.takePage();
  const span = plan.span[levelIndex(level)];
  if (level === toLevel) {
    fillTable(t, table, bits, oa, level);
  } else {
    for (let i = 0; i < plan.tableEntries; i++) {
      const child = buildSubtree(t, bits, oa + i * span, (level + 1) as Level, address + i * span, toLevel);
      const entry = t.descriptorFor(child, t.tableBits);
      memory.words[table + 2 * i] = entry.lo;
      memory.words[table + 2 * i + 1] = entry.hi;
    }
  }
  t.count(table, plan.tableEntries);
  if (t.sink !== undefined) {
    emitWrite(t, table, plan.tableEntries, level, address, new Uint32Array(plan.pageWords));
  }
  return table;
}

function fillTable(t: Table, table: number, bits: { readonly lo: number; readonly hi: number }, oa: number, level: Level): void {
  const { plan, memory } = t;
  const n = plan;
  const li = levelIndex(level);
  const lo = ((bits.lo & ~n.leafOaLo[li]) | n.leafType[li]) >>> 0;
  const hi = (bits.hi & ~n.leafOaHi[li]) >>> 0;
  const span = plan.span[li];
  for (let i = 0; i < plan.tableEntries;) {
    const count = plainRun(n, oa + i * span, plan.tableEntries - i, span);
    const first = placeOutput(n, lo, hi, oa + i * span);
    fillLeaves(memory.words, table + 2 * i, count, first.lo, first.hi, span);
    i += count;
  }
}

/** Table pages in the subtree that {@link splitEntry} makes. */
export function subtreePages(t: Table, level: Level, toLevel: Level): number {
  let pages = 0;
  for (let l = level as number, width = 1; l < toLevel; l++, width *= t.plan.tableEntries) {
    pages += width;
  }
  return pages;
}

/** Counts the pages that splitting every block of the range takes. */
class SplitCheck implements Visitor {
  pages = 0;

  constructor(
    private readonly t: Table,
    private readonly toLevel: Level,
  ) {}

  visit(run: Run): number {
    if (run.kind === ENTRY.leaf && run.level < this.toLevel) {
      this.pages += run.count * subtreePages(this.t, run.level, this.toLevel);
    }
    return run.count;
  }
}

class SplitCommit implements Visitor {
  constructor(
    private readonly t: Table,
    private readonly toLevel: Level,
  ) {}

  visit(run: Run): number {
    if (run.kind !== ENTRY.leaf || run.level >= this.toLevel) {
      return run.count;
    }
    splitEntry(this.t, run.word, run.level, run.address, this.toLevel);
    return 0;
  }
}

/** Every block that meets the range becomes leaves of `toLevel`; refused `pool.exhausted` with nothing changed. */
export function splitExact(t: Table, ia: InputAddress, size: number, toLevel: Level): Outcome<undefined> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const check = new SplitCheck(t, toLevel);
  const failure = walk(t, range.start, range.end, check) ?? t.needPages(check.pages);
  if (failure !== undefined) {
    return failure;
  }
  return walk(t, range.start, range.end, new SplitCommit(t, toLevel)) ?? DONE;
}

/**
 * Eager splitting with a cache of pages: a block whose whole subtree fits in what is left becomes pages; else, with a page left, it is
 * split by one level and its children come next; with none left the walk stops.
 */
class LinuxSplit implements Visitor {
  exhausted = false;

  constructor(
    private readonly t: Table,
    private cache: number,
  ) {}

  visit(run: Run): number {
    if (run.kind !== ENTRY.leaf || run.level === 3) {
      return run.count;
    }
    const whole = subtreePages(this.t, run.level, 3);
    const left = Math.min(this.cache, this.t.memory.free);
    const toLevel = left >= whole ? 3 : ((run.level + 1) as Level);
    const pages = toLevel === 3 ? whole : 1;
    if (left < pages) {
      this.exhausted = true;
      return STOP;
    }
    this.cache -= pages;
    splitEntry(this.t, run.word, run.level, run.address, toLevel, undefined, protectionOf(this.t, run));
    return 0;
  }
}

/**
 * Attribute bits from permissions and software bits alone, as kvm_pgtable_stage2_pte_prot reads them; everything else is a new mapping's.
 */
function protectionOf(t: Table, run: Run): LeafAt | undefined {
  const { read, write, px, ux, software } = t.format.decodeLeaf(run.lo, run.hi, run.level);
  const bits = t.format.encodeLeaf({ read, write, px, ux, software }, 3);
  return bits.kind === 'done' ? attributeBits(t.plan, bits.value.lo, bits.value.hi, 3) : undefined;
}

/**
 * kvm_pgtable_stage2_split with `cache` pages; keeps what was split when they run out (`split.no-pages`, -ENOMEM). The new leaves have the
 * block's permissions and software bits, and otherwise what a new mapping has: a device block comes back Normal, an old one accessed
 * (stage2_split_walker carries `prot` only).
 */
export function splitLinux(t: Table, ia: InputAddress, size: number, cache: number): Outcome<undefined> {
  const range = rangeOf(t.plan, ia, size);
  if ('kind' in range) {
    return range;
  }
  const visitor = new LinuxSplit(t, cache);
  const failure = walk(t, range.start, range.end, visitor);
  if (failure !== undefined) {
    return failure;
  }
  return visitor.exhausted
    ? refused(
        'split.no-pages',
        `The split cache of ${String(cache)} pages, or the pool, was used up inside the range.`,
        'Linux stage2_split_walker: -ENOMEM',
      )
    : DONE;
}
