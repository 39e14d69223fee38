import type {
  AttributeRequest,
  Change,
  Format,
  LookupResult,
  MapOptions,
  MappedRange,
  Outcome,
  PageTable,
  PageTableCore,
  Prepared,
  Refused,
  Words,
} from '@granule/contract';
import { DONE, done, ENTRY, levelIndex, refused, retry } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { CoreFault } from './mutants/cores.js';
import { ReferenceEntries, SOURCE, type At, type Range, type TableAt } from './reference-entries.js';

/**
 * A page-table core that is as simple as can be: one entry at a time, everything undone where the pool runs out. It exists to test the
 * suite: with a `fault` it does one thing wrong.
 */
class ReferenceTable extends ReferenceEntries implements PageTable {
  private range(ia: number, size: number): Range | Refused {
    const page = this.span(3);
    if (!Number.isInteger(ia) || !Number.isInteger(size) || ia < 0 || size < 0) {
      return refused('range.not-integer', 'Address and size are whole numbers.', SOURCE);
    }
    if (size === 0) {
      return refused('range.empty', 'Size 0 covers nothing.', SOURCE);
    }
    const start = Math.floor(ia / page) * page;
    const end = Math.ceil(((this.fault === 'end-rounded-from-the-byte' ? ia : start) + size) / page) * page;
    if (end > 2 ** this.format.geometry.iaBits) {
      return refused('range.beyond-ia', 'The range ends beyond the input size.', SOURCE);
    }
    return { start, end };
  }

  map(ia: number, size: number, output: number, attributes: AttributeRequest, options: MapOptions = {}): Outcome<undefined> {
    return this.mapOrTry(ia, size, output, attributes, options, false);
  }

  /** Maps and undoes it, to know whether it would go; sets as many pages aside as it took. */
  prepareMap(ia: number, size: number, output: number, attributes: AttributeRequest, options: MapOptions = {}): Outcome<Prepared> {
    const outcome = this.mapOrTry(ia, size, output, attributes, options, true);
    if (outcome.kind !== 'done') {
      return outcome;
    }
    const pages = Array.from({ length: this.wouldTake }, () => this.memory.take(1));
    const cancel = (): void => this.finish(pages.splice(this.fault === 'cancel-keeps-a-page' ? 1 : 0));
    return done({
      cancel,
      commit: () => {
        cancel();
        return this.map(ia, size, output, attributes, options);
      },
    });
  }

  private mapOrTry(
    ia: number,
    size: number,
    output: number,
    attributes: AttributeRequest,
    options: MapOptions,
    dry: boolean,
  ): Outcome<undefined> {
    const range = this.range(ia, size);
    if ('kind' in range) {
      return range;
    }
    const bits = this.format.encodeLeaf(attributes, 3);
    const { pageShift } = this.format.geometry;
    const ends = [output, output + (range.end - range.start) - 2 ** pageShift].map((oa) => this.format.encodeOutput(oa, pageShift));
    const bad = [bits, ...ends].find((each) => each.kind !== 'done');
    if (bad !== undefined) {
      return bad;
    }
    const offset = output - range.start;
    if (options.over !== 'replace' && this.fault !== 'overwrites') {
      for (const at of this.leaves(this.top, range)) {
        if (this.format.leafOutput(at.lo, at.hi, at.level) !== at.start + offset) {
          return refused('map.would-overwrite', 'The range maps another output address already.', SOURCE);
        }
      }
    }
    const minLevel = options.pages === true ? 3 : options.minBlockLevel ?? -1;
    const patterns = ([-1, 0, 1, 2, 3] as const)
      .map((level) => this.format.encodeLeaf(attributes, level))
      .map((each) => (each.kind === 'done' ? each.value : undefined));
    return this.attempt(() => {
      this.mapIn(this.top, range, offset, patterns, minLevel);
      return DONE;
    }, dry);
  }

  private mapIn(table: TableAt, range: Range, offset: number, patterns: readonly (Words | undefined)[], minLevel: number): void {
    for (const at of this.entries(table, range)) {
      const { level } = at;
      const bits = patterns[levelIndex(level)];
      const covered = at.start >= range.start && at.end <= range.end;
      const oa = at.start + offset;
      const aligned = oa % (this.fault === 'block-alignment' ? this.span(3) : this.span(level)) === 0;
      const wanted =
        bits !== undefined && oa >= 0
          ? this.or(bits, this.output(this.fault === 'block-alignment' ? oa - (oa % this.span(3)) : oa))
          : undefined;
      if (covered && wanted !== undefined && level >= minLevel && aligned) {
        if (this.fault !== 'annotation-stays' || at.kind !== ENTRY.annotated) {
          this.replace(at, wanted.lo, wanted.hi);
        }
        continue;
      }
      if (at.kind === ENTRY.leaf && at.lo === wanted?.lo && at.hi === wanted.hi) {
        continue;
      }
      this.mapIn(this.tableFor(at, covered && this.format.leafOutput(at.lo, at.hi, level) !== oa), range, offset, patterns, minLevel);
    }
  }

  private tableFor(at: At, drop: boolean): TableAt {
    if (at.kind === ENTRY.table) {
      return this.child(at);
    }
    return at.kind === ENTRY.leaf && !drop && this.fault !== 'rest-of-block-lost' ? this.splitBlock(at) : this.link(at, this.newTable());
  }

  unmap(ia: number, size: number): Outcome<undefined> {
    const range = this.range(ia, size);
    return 'kind' in range
      ? range
      : this.attempt(() => {
          this.unmapIn(this.top, range);
          return DONE;
        });
  }

  private unmapIn(table: TableAt, range: Range): void {
    for (const at of this.entries(table, range)) {
      const covered = at.start >= range.start && at.end <= range.end;
      if (at.kind === ENTRY.zero || (this.fault === 'unmap-keeps-annotations' && at.kind === ENTRY.annotated)) {
        continue;
      }
      if (at.kind !== ENTRY.table && (covered || this.fault === 'unmap-whole-blocks')) {
        this.replace(at, 0, 0);
        continue;
      }
      const child = at.kind === ENTRY.table ? this.child(at) : this.splitBlock(at);
      this.unmapIn(child, range);
      if (this.countOf(child.pa) === 0 && this.fault !== 'empty-tables-stay') {
        this.replace(this.read(at.table, at.index), 0, 0);
      }
    }
  }

  annotate(ia: number, size: number, type: number, value: bigint): Outcome<undefined> {
    const range = this.range(ia, size);
    const note = this.format.encodeAnnotation(type, value);
    if ('kind' in range || note.kind !== 'done') {
      return 'kind' in range ? range : (note as Refused);
    }
    return this.attempt(() => {
      this.annotateIn(this.top, range, note.value);
      return DONE;
    });
  }

  private annotateIn(table: TableAt, range: Range, note: Words): void {
    for (const at of this.entries(table, range)) {
      if (at.level === 3) {
        this.replace(at, note.lo, note.hi);
      } else {
        this.annotateIn(this.tableFor(at, at.start >= range.start && at.end <= range.end), range, note);
      }
    }
  }

  private change(range: Range, change: Change): Outcome<undefined> {
    return this.attempt(() => {
      for (const at of this.leaves(this.top, range)) {
        this.store(at, ((at.lo & ~change.loClear) | change.loSet) >>> 0, ((at.hi & ~change.hiClear) | change.hiSet) >>> 0);
        if (this.fault === 'first-leaf-only') {
          break;
        }
      }
      return DONE;
    });
  }

  writeProtect(ia: number, size: number): Outcome<undefined> {
    const range = this.range(ia, size);
    return 'kind' in range ? range : this.change(range, this.format.numbers.writeProtect);
  }

  age(ia: number, size: number, clear: boolean): Outcome<boolean> {
    const range = this.range(ia, size);
    if ('kind' in range) {
      return range;
    }
    const { afLo, afHi } = this.format.numbers;
    const young = [...this.leaves(this.top, range)].some((at) => ((at.lo & afLo) | (at.hi & afHi)) !== 0);
    if (clear || this.fault === 'age-always-clears') {
      this.change(range, { loClear: afLo, loSet: 0, hiClear: afHi, hiSet: 0 });
    }
    return done(this.fault === 'age-answers-the-opposite' ? !young : young);
  }

  private changeOne(ia: number, change: Outcome<Change>): Outcome<undefined> {
    const range = this.range(ia, 1);
    if ('kind' in range || change.kind !== 'done') {
      return 'kind' in range ? range : (change as Refused);
    }
    const [leaf] = this.leaves(this.top, range);
    return leaf === undefined ? retry('leaf.absent', 'There is no leaf at the address.', SOURCE) : this.change(range, change.value);
  }

  makeYoung(ia: number): Outcome<undefined> {
    const { afLo, afHi } = this.format.numbers;
    return this.changeOne(ia, done({ loClear: 0, loSet: afLo, hiClear: 0, hiSet: afHi }));
  }

  relaxPermissions(ia: number, add: Parameters<Format['relax']>[0]): Outcome<undefined> {
    return this.changeOne(ia, this.format.relax(this.fault === 'relax-adds-write' ? { ...add, write: true } : add));
  }

  split(ia: number, size: number, { toLevel = 3 }: { readonly toLevel?: Level } = {}): Outcome<undefined> {
    const range = this.range(ia, size);
    return 'kind' in range
      ? range
      : this.attempt(() => {
          this.splitIn(this.top, range, this.fault === 'split-one-level-short' ? toLevel - 1 : toLevel);
          return DONE;
        });
  }

  private splitIn(table: TableAt, range: Range, toLevel: number): void {
    for (const at of this.entries(table, range)) {
      if (at.kind === ENTRY.table || (at.kind === ENTRY.leaf && at.level < toLevel)) {
        this.splitIn(at.kind === ENTRY.table ? this.child(at) : this.splitBlock(at), range, toLevel);
      }
    }
  }

  merge(ia: number, size: number): Outcome<number> {
    const range = this.range(ia, size);
    return 'kind' in range ? range : this.attempt(() => done(this.mergeIn(this.top, range)));
  }

  private mergeIn(table: TableAt, range: Range): number {
    let freed = 0;
    for (const at of this.entries(table, range)) {
      if (at.kind !== ENTRY.table) {
        continue;
      }
      freed += this.mergeIn(this.child(at), range);
      const block = this.blockFor(this.child(at), at.level);
      if (block !== undefined) {
        this.replace(this.read(at.table, at.index), block.lo, block.hi);
        freed++;
      }
    }
    return this.fault === 'merge-answers-zero' ? 0 : freed;
  }

  private blockFor(table: TableAt, level: Level): Words | undefined {
    const span = this.span(table.level);
    const first = this.read(table, 0);
    const oa = this.format.leafOutput(first.lo, first.hi, table.level);
    if (
      this.format.numbers.leafType[levelIndex(level)] === -1 ||
      (oa % this.span(level) !== 0 && this.fault !== 'merge-ignores-alignment')
    ) {
      return undefined;
    }
    const attributes = this.format.decodeLeaf(first.lo, first.hi, table.level);
    const bits = this.value(this.format.encodeLeaf(attributes, table.level));
    for (let i = 0; i < table.entries; i++) {
      const at = this.read(table, i);
      const word = this.or(bits, this.output(oa + i * span));
      const equal =
        this.fault === 'merge-ignores-attributes'
          ? this.format.leafOutput(at.lo, at.hi, at.level) === oa + i * span
          : at.lo === word.lo && at.hi === word.hi;
      if (at.kind !== ENTRY.leaf || !equal) {
        return undefined;
      }
    }
    return this.or(this.value(this.format.encodeLeaf(attributes, level)), this.output(oa - (oa % this.span(level))));
  }

  lookup(ia: number, out: LookupResult): boolean {
    if (ia < 0 || ia >= 2 ** this.format.geometry.iaBits) {
      return false;
    }
    let table = this.top;
    for (;;) {
      const at = this.read(table, Math.floor((ia - table.base) / this.span(table.level)));
      if (at.kind === ENTRY.table) {
        table = this.child(at);
        continue;
      }
      const inside = this.fault === 'lookup-forgets-the-offset' ? 0 : ia - at.start;
      const output = at.kind === ENTRY.leaf ? this.format.leafOutput(at.lo, at.hi, at.level) + inside : 0;
      Object.assign(out, {
        kind: at.kind,
        level: at.level,
        lo: at.lo,
        hi: at.hi,
        word: this.memory.wordOf(table.pa + 8 * at.index, 8),
        output,
      });
      return true;
    }
  }

  query(ia: number, size: number, limit = Infinity): readonly MappedRange[] {
    const range = this.range(ia, size);
    if ('kind' in range) {
      return [];
    }
    const found = [...this.leaves(this.top, range)].filter(
      (at) => this.fault !== 'query-wants-whole-leaves' || (at.start >= range.start && at.end <= range.end),
    );
    return found.slice(0, this.fault === 'query-limit-off-by-one' ? limit + 1 : limit).map((at) => ({
      start: at.start,
      end: at.end,
      level: at.level,
      output: this.format.leafOutput(at.lo, at.hi, at.level),
      lo: at.lo,
      hi: at.hi,
    }));
  }

  flush(ia: number, size: number): Outcome<undefined> {
    const range = this.range(ia, size);
    return 'kind' in range ? range : DONE;
  }

  destroy(): void {
    for (let i = 0; i < this.top.entries; i++) {
      const at = this.read(this.top, i);
      if (at.kind === ENTRY.table && this.fault !== 'destroy-forgets-tables') {
        this.release(this.child(at));
      }
    }
    this.finish(this.frees);
    const word = this.memory.wordOf(this.root, 8 * this.top.entries);
    this.memory.words.fill(0, word, word + 2 * this.top.entries);
    this.memory.give(this.root, this.format.geometry.entryTables);
  }
}

/** The reference core, or one that does a single thing wrong. */
export function referenceCore(fault?: CoreFault): PageTableCore {
  return {
    create(options) {
      const { geometry } = options.format;
      if (options.memory.pageShift !== geometry.pageShift) {
        return refused('table.page-size', 'Memory and format have different page sizes.', SOURCE);
      }
      const root = options.memory.take(geometry.entryTables);
      if (root < 0) {
        return refused('pool.exhausted', 'The pool has no room for the entry tables.', SOURCE);
      }
      options.sink?.effect({ type: 'take', table: root, pages: geometry.entryTables });
      return done(new ReferenceTable(options, root, fault));
    },
  };
}
