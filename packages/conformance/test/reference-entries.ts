import type { Effect, EntryKind, Format, Outcome, PageTableOptions, TableMemory, TlbiStep, Words } from '@granule/contract';
import { ENTRY, refused } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import type { CoreFault } from './mutants/cores.js';

export const SOURCE = 'reference core of the conformance tests';

class PoolExhausted extends Error {}

export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A table in memory: where it is, and what its first entry covers. */
export interface TableAt {
  readonly pa: number;
  readonly level: Level;
  readonly base: number;
  readonly entries: number;
}

/** One entry of a table, as read. */
export interface At extends Words {
  readonly table: TableAt;
  readonly index: number;
  readonly level: Level;
  readonly start: number;
  readonly end: number;
  readonly kind: EntryKind;
}

/** What the operations of the reference core have in common: reading and writing entries, splitting, undoing. */
export class ReferenceEntries {
  readonly format: Format;
  readonly memory: TableMemory;
  readonly root: number;
  protected effects: Effect[] = [];
  protected takes: number[] = [];
  protected frees: number[] = [];
  protected wouldTake = 0;
  protected readonly spans: readonly number[];

  constructor(protected readonly options: PageTableOptions, root: number, protected readonly fault: CoreFault | undefined) {
    this.format = options.format;
    this.memory = options.memory;
    this.root = root;
    this.spans = ([-1, 0, 1, 2, 3] as const).map((level) => 2 ** levelShift(this.format.geometry.granule, level));
  }

  protected span(level: Level): number {
    return this.spans[level + 1];
  }

  protected get top(): TableAt {
    const { startLevel, rootEntries } = this.format.geometry;
    return { pa: this.root, level: startLevel, base: 0, entries: rootEntries };
  }

  protected read(table: TableAt, index: number): At {
    const word = this.memory.wordOf(table.pa + 8 * index, 8);
    const lo = this.memory.words[word];
    const hi = this.memory.words[word + 1];
    const start = table.base + index * this.span(table.level);
    const kind = this.format.kind(
      lo,
      hi,
      this.fault === 'kind-of-next-level' && table.level < 3 ? ((table.level + 1) as Level) : table.level,
    );
    return { table, index, level: table.level, start, end: start + this.span(table.level), lo, hi, kind };
  }

  protected child(at: At): TableAt {
    const entries = 2 ** this.format.geometry.stride;
    return { pa: this.format.tableOutput(at.lo, at.hi), level: (at.level + 1) as Level, base: at.start, entries };
  }

  /** Entries of a table that meet the range. */
  protected *entries(table: TableAt, range: Range): Generator<At> {
    const span = this.span(table.level);
    const first = Math.max(0, Math.floor((range.start - table.base) / span));
    const last = Math.min(table.entries, Math.ceil((range.end - table.base) / span));
    for (let i = first; i < last; i++) {
      yield this.read(table, i);
    }
  }

  /** Leaves that meet the range, in order. */
  protected *leaves(table: TableAt, range: Range): Generator<At> {
    for (const at of this.entries(table, range)) {
      if (at.kind === ENTRY.leaf) {
        yield at;
      } else if (at.kind === ENTRY.table) {
        yield* this.leaves(this.child(at), range);
      }
    }
  }

  protected count(pa: number, delta: number): void {
    this.memory.counts[Math.floor(this.memory.wordOf(pa, 8) / 2 ** (this.memory.pageShift - 2))] += delta;
  }

  protected countOf(pa: number): number {
    return this.memory.counts[Math.floor(this.memory.wordOf(pa, 8) / 2 ** (this.memory.pageShift - 2))];
  }

  protected emit(effect: Effect): void {
    this.effects.push(effect);
  }

  protected steps(sequence: readonly TlbiStep[], address: number): void {
    for (const each of sequence) {
      if (each.type !== 'tlbi') {
        this.emit(each);
      } else if (this.fault !== 'tlbi-missing') {
        this.emit({ type: 'tlbi', op: each.op, ...(each.takes === 'nothing' ? {} : { address }) });
      }
    }
  }

  protected store(at: At, lo: number, hi: number): void {
    const { words } = this.memory;
    const word = this.memory.wordOf(at.table.pa + 8 * at.index, 8);
    const old = words.slice(word, word + 2);
    words[word] = lo;
    words[word + 1] = hi;
    const delta = Number((lo | hi) !== 0) - Number((old[0] | old[1]) !== 0);
    this.count(at.table.pa + 8 * at.index, this.fault === 'count-not-dropped' && delta < 0 ? 0 : delta);
    if (this.fault === 'write-not-told' && at.level < 3) {
      return;
    }
    const address = this.fault === 'write-names-the-table' ? at.table.base : at.start;
    const told = this.fault === 'write-tells-stale-old' ? new Uint32Array([lo, hi]) : old;
    this.emit({
      type: 'write',
      table: at.table.pa,
      level: at.level,
      index: at.index,
      count: 1,
      address,
      old: told,
      new: words.slice(word, word + 2),
      release: true,
    });
  }

  /** Writes an entry, by break-before-make where the format asks for it; a table that goes is freed. */
  protected replace(at: At, lo: number, hi: number): void {
    const { lo: oldLo, hi: oldHi } = this.read(at.table, at.index);
    if (oldLo === lo && oldHi === hi) {
      return;
    }
    const invalid = this.format.kind(lo, hi, at.level) < ENTRY.leaf;
    const breaks = this.format.mustBreak(oldLo, oldHi, lo, hi, at.level) !== undefined;
    if (at.kind >= ENTRY.leaf && breaks && this.fault !== 'break-missing') {
      this.store(at, this.format.locked.lo, this.format.locked.hi);
      this.steps(at.kind === ENTRY.leaf ? this.format.tlbi.leaf : this.format.tlbi.table, at.start);
    }
    this.store(at, lo, hi);
    if (at.kind >= ENTRY.leaf && invalid) {
      this.steps(at.kind === ENTRY.leaf ? this.format.tlbi.leaf : this.format.tlbi.table, at.start);
    }
    if (at.kind === ENTRY.table) {
      this.release({ ...this.child(at) });
    }
  }

  /** Zeroes and frees an unreachable table and all below. */
  protected release(table: TableAt): void {
    for (let i = 0; i < table.entries; i++) {
      const at = this.read(table, i);
      if (at.kind === ENTRY.table) {
        this.release(this.child(at));
      }
    }
    const word = this.memory.wordOf(table.pa, 8 * table.entries);
    if (this.fault !== 'freed-page-not-zeroed') {
      this.memory.words.fill(0, word, word + 2 * table.entries);
    }
    this.frees.push(table.pa);
    this.emit({ type: 'free', table: table.pa, pages: 1, deferred: false });
  }

  protected newTable(): number {
    const pa = this.memory.take(1);
    if (pa < 0) {
      throw new PoolExhausted();
    }
    this.takes.push(pa);
    this.emit({ type: 'take', table: pa, pages: 1 });
    return pa;
  }

  protected or(a: Words, b: Words): Words {
    return { lo: (a.lo | b.lo) >>> 0, hi: (a.hi | b.hi) >>> 0 };
  }

  protected value<T>(outcome: Outcome<T>): T {
    if (outcome.kind !== 'done') {
      throw new Error(`the format answers ${outcome.kind}`);
    }
    return outcome.value;
  }

  protected output(oa: number): Words {
    return this.value(this.format.encodeOutput(oa, this.format.geometry.pageShift));
  }

  protected link(at: At, pa: number): TableAt {
    const word = this.or(this.value(this.format.encodeTable()), this.output(pa));
    this.replace(at, word.lo, word.hi);
    return this.child(this.read(at.table, at.index));
  }

  /** A table of the same leaves one level down, in place of a block. */
  protected splitBlock(at: At): TableAt {
    const pa = this.newTable();
    const level = (at.level + 1) as Level;
    const table = { pa, level, base: at.start, entries: 2 ** this.format.geometry.stride };
    const attributes = this.format.decodeLeaf(at.lo, at.hi, at.level);
    const bits = this.value(this.format.encodeLeaf(this.fault === 'split-loses-af' ? { ...attributes, af: false } : attributes, level));
    const oa = this.format.leafOutput(at.lo, at.hi, at.level);
    for (let i = 0; i < table.entries; i++) {
      const word = this.or(bits, this.output(this.fault === 'split-repeats-output' ? oa : oa + i * this.span(level)));
      this.store(this.read(table, i), word.lo, word.hi);
    }
    return this.link(at, pa);
  }

  /** Runs an operation; what it did is undone where the pool runs out. */
  protected attempt<T>(body: () => Outcome<T>, dry = false): Outcome<T> {
    const words = this.memory.words.slice();
    const counts = this.memory.counts.slice();
    const undo = (): void => {
      this.memory.words.set(words);
      this.finish(this.takes);
      this.memory.counts.set(counts);
    };
    try {
      const outcome = body();
      if (dry) {
        this.wouldTake = this.takes.length;
        undo();
        return outcome;
      }
      this.finish(this.frees);
      this.effects.forEach((each) => this.options.sink?.effect(each));
      return outcome;
    } catch (error) {
      if (!(error instanceof PoolExhausted)) {
        throw error;
      }
      if (this.fault === 'refused-half-done') {
        this.finish(this.frees);
        this.effects.forEach((each) => this.options.sink?.effect(each));
      } else {
        undo();
      }
      return refused('pool.exhausted', 'The pool has no table page left.', SOURCE);
    } finally {
      this.effects = [];
      this.takes = [];
      this.frees = [];
    }
  }

  protected finish(pages: readonly number[]): void {
    pages.forEach((pa) => this.memory.give(pa, 1));
  }
}
