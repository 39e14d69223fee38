import type { Failure } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { hex, toBigint } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Run } from '@granule/pgtable';
import { mappings, STOP, walk } from '@granule/pgtable';
import { addressOfWord, type AddressPrinter, addressPrinter, type RegimeTables } from '../image/regime-tables.js';
import { inherit, type Inherited, type Leaf, leafDescriber, NO_LIMITS } from './leaf.js';

/** Leaves of one level with equal attributes whose outputs follow each other; one leaf where runs are not merged. */
export interface Mapping {
  readonly start: InputAddress;
  /** Exclusive. */
  readonly end: InputAddress;
  readonly level: Level;
  readonly output: OutputAddress;
  /** The first descriptor. */
  readonly lo: number;
  readonly hi: number;
  readonly leaves: number;
  readonly above: Inherited;
  readonly leaf: Leaf;
}

/** Neighbouring entries that are not leaves: zero, or invalid with something in them (a note of software, a reserved encoding). */
export interface Hole {
  readonly start: InputAddress;
  readonly end: InputAddress;
  readonly level: Level;
  /** Of the first entry; zero for a run of zero entries. */
  readonly lo: number;
  readonly hi: number;
  readonly entries: number;
  /** The valid bit is set, yet the level has no such descriptor. */
  readonly reserved: boolean;
}

/** A table that an entry names. */
export interface TableEdge {
  readonly from: OutputAddress;
  readonly to: OutputAddress;
  /** Level of the table that is entered. */
  readonly level: Level;
  readonly index: number;
  readonly address: InputAddress;
  /** It was entered before. */
  readonly again: boolean;
}

/** Something wrong with the tables. `id` is stable. */
export interface Finding {
  readonly id: string;
  readonly sentence: string;
}

export interface MappingSink {
  readonly mapping: (mapping: Mapping) => void;
  readonly hole?: (hole: Hole) => void;
  readonly table?: (edge: TableEdge) => void;
}

export interface ScanOptions {
  /** Part of the input range; whole by default. Leaves that it cuts are reported whole. */
  readonly start?: InputAddress;
  readonly end?: InputAddress;
  /** Join neighbours; true by default. */
  readonly merge?: boolean;
  /**
   * How many tables may be entered again, on top of four times each table there is (a table mapped into itself for the kernel's own use
   * needs three), before the scan gives up; tables that refer to each other can be entered 2^36 times. Default 1024.
   */
  readonly revisits?: number;
}

/** What a scan counted. Index of the per-level arrays: level + 1. */
export interface Scan {
  readonly mappings: number;
  readonly leaves: readonly number[];
  /** Different tables by level; the entry tables are counted one by one. A table entered at two levels counts at the first. */
  readonly tables: readonly number[];
  readonly bytesMapped: number;
  readonly bytesOfTables: number;
  /** Entries that are invalid but not zero, reserved ones included. */
  readonly annotated: number;
  readonly findings: readonly Finding[];
  /** Findings beyond {@link MAX_FINDINGS}, which are counted only. */
  readonly moreFindings: number;
  /** The whole range was seen. */
  readonly complete: boolean;
}

export const MAX_FINDINGS = 100;
const MAX_REVISITS = 1024;

/**
 * Reads every mapping of a range in order. Bounded in time and memory on any image: a table that is entered again is a finding, and after
 * {@link ScanOptions.revisits} of them the scan stops.
 */
export function readMappings(tables: RegimeTables, sink: MappingSink, options: ScanOptions = {}): Scan {
  return new Scanner(tables, sink, options).scan();
}

type Lost = 'outside-memory' | 'page-limit';

class Scanner {
  readonly #tables: RegimeTables;
  readonly #sink: MappingSink;
  readonly #options: ScanOptions;
  readonly #describe: ReturnType<typeof leafDescriber>;
  readonly #print: AddressPrinter;
  readonly #pageShift: number;
  /** First words of the tables entered. */
  readonly #seen = new Set<number>();
  /** First word of the table now walked at each level, and the limits that the tables down to it set; by level + 1. */
  readonly #path = [-1, -1, -1, -1, -1];
  readonly #above: Inherited[] = [0, 0, 0, 0, 0];
  readonly #leaves = [0, 0, 0, 0, 0];
  readonly #tableCount = [0, 0, 0, 0, 0];
  readonly #findings: Finding[] = [];
  #moreFindings = 0;
  #pending: Mapping | undefined;
  #mappings = 0;
  #bytesMapped = 0;
  #annotated = 0;
  #revisits: number;
  #gaveUp = false;

  constructor(tables: RegimeTables, sink: MappingSink, options: ScanOptions) {
    this.#tables = tables;
    this.#sink = sink;
    this.#options = options;
    this.#describe = leafDescriber(tables);
    this.#print = addressPrinter(tables);
    this.#pageShift = tables.format.geometry.pageShift;
    this.#revisits = options.revisits ?? MAX_REVISITS;
  }

  scan(): Scan {
    const { geometry } = this.#tables.format;
    const { start = 0, end = 2 ** geometry.iaBits } = this.#options;
    this.#tableCount[geometry.startLevel + 1] = geometry.entryTables;
    const common = { enter: (run: Run) => this.#onEnter(run), lost: (run: Run, reason: Lost) => this.#onLost(run, reason) };
    const failure =
      this.#options.merge === false
        ? walk(this.#tables, start, end, {
            ...common,
            visit: (run) => (run.kind === ENTRY.leaf ? this.#eachLeaf(run) : this.#onOther(run), run.count),
          })
        : mappings(this.#tables, start, end, {
            ...common,
            leaves: (run, word, count, address) => this.#onLeaves(run, word, count, address),
            other: (run) => this.#onOther(run),
          });
    this.#flush();
    if (failure !== undefined) {
      this.#find(failure.id, failure.sentence);
    }
    return this.#result(failure);
  }

  #result(failure: Failure | undefined): Scan {
    const { geometry } = this.#tables.format;
    const below = this.#tableCount.reduce((sum, count) => sum + count, 0) - geometry.entryTables;
    return {
      mappings: this.#mappings,
      leaves: this.#leaves,
      tables: this.#tableCount,
      bytesMapped: this.#bytesMapped,
      bytesOfTables: geometry.entryBytes + below * 2 ** this.#pageShift,
      annotated: this.#annotated,
      findings: this.#findings,
      moreFindings: this.#moreFindings,
      complete: failure === undefined && !this.#gaveUp,
    };
  }

  #find(id: string, sentence: string): void {
    if (this.#findings.length < MAX_FINDINGS) {
      this.#findings.push({ id, sentence });
    } else {
      this.#moreFindings++;
    }
  }

  #span(level: Level): number {
    const { pageShift, stride } = this.#tables.format.geometry;
    return 2 ** (pageShift + stride * (3 - level));
  }

  #onLeaves(run: Run, word: number, count: number, address: InputAddress): number {
    const { level } = run;
    const { words } = this.#tables.memory;
    const span = this.#span(level);
    this.#count(level, count, span);
    const next = this.#mapping(words[word], words[word + 1], level, address, count, span);
    const { format } = this.#tables;
    const last = format.leafOutput(words[word + 2 * count - 2], words[word + 2 * count - 1], level);
    this.#checkOutput(next, last + span);
    this.#join(next);
    return 0;
  }

  #count(level: Level, leaves: number, span: number): void {
    this.#leaves[level + 1] += leaves;
    this.#bytesMapped += leaves * span;
  }

  #eachLeaf({ level, word, count, address }: Run): void {
    const { words } = this.#tables.memory;
    const span = this.#span(level);
    this.#count(level, count, span);
    for (let i = 0; i < count; i++) {
      const mapping = this.#mapping(words[word + 2 * i], words[word + 2 * i + 1], level, address + i * span, 1, span);
      this.#checkOutput(mapping, mapping.output + span);
      this.#emit(mapping);
    }
  }

  #mapping(lo: number, hi: number, level: Level, start: InputAddress, leaves: number, span: number): Mapping {
    const above = this.#above[level + 1];
    const output = this.#tables.format.leafOutput(lo, hi, level);
    const leaf = this.#describe(lo, hi, level, above);
    return { start, end: start + leaves * span, level, output, lo, hi, leaves, above, leaf };
  }

  /** Adds to the pending mapping what continues it; the describer answers one object for equal attributes. */
  #join(next: Mapping): void {
    const p = this.#pending;
    if (p?.leaf === next.leaf && p.end === next.start && p.level === next.level && p.output + (p.end - p.start) === next.output) {
      this.#pending = { ...p, end: next.end, leaves: p.leaves + next.leaves };
      return;
    }
    this.#flush();
    this.#pending = next;
  }

  #flush(): void {
    const mapping = this.#pending;
    this.#pending = undefined;
    if (mapping !== undefined) {
      this.#emit(mapping);
    }
  }

  #emit(mapping: Mapping): void {
    this.#mappings++;
    this.#sink.mapping(mapping);
  }

  #checkOutput(mapping: Mapping, end: OutputAddress): void {
    const { oaBits } = this.#tables.format.geometry;
    if (end > 2 ** oaBits) {
      const where = `The leaf for ${this.#print(mapping.start)} (level ${mapping.level}) maps ${hex(mapping.output)}`;
      this.#find('leaf.beyond-output-size', `${where}, beyond the output size of ${oaBits} bits.`);
    }
  }

  #onOther(run: Run): number {
    if (run.kind !== ENTRY.annotated) {
      if (this.#sink.hole !== undefined) {
        this.#flush();
        const end = run.address + run.count * this.#span(run.level);
        this.#sink.hole({ start: run.address, end, level: run.level, lo: 0, hi: 0, entries: run.count, reserved: false });
      }
      return 0;
    }
    this.#flush();
    this.#annotated += run.count;
    const { words } = this.#tables.memory;
    for (let i = 0; i < run.count;) {
      const at = run.word + 2 * i;
      let same = 1;
      while (i + same < run.count && words[at + 2 * same] === words[at] && words[at + 2 * same + 1] === words[at + 1]) {
        same++;
      }
      this.#annotatedHole(run, i, same, words[at], words[at + 1]);
      i += same;
    }
    return 0;
  }

  #annotatedHole(run: Run, index: number, entries: number, lo: number, hi: number): void {
    const span = this.#span(run.level);
    const start = run.address + index * span;
    const reserved = lo % 2 === 1;
    if (reserved) {
      const count = entries === 1 ? 'The entry' : `${entries} entries`;
      const value = hex(toBigint(lo, hi));
      this.#find(
        'entry.reserved',
        `${count} for ${this.#print(start)} (level ${run.level}), ${value}: valid, but this level has no such descriptor.`,
      );
    }
    this.#sink.hole?.({ start, end: start + entries * span, level: run.level, lo, hi, entries, reserved });
  }

  #onEnter(run: Run): number {
    const level = (run.level + 1) as Level;
    this.#path[run.level + 1] = run.table;
    this.#above[level + 1] = inherit(this.#above[run.level + 1] ?? NO_LIMITS, this.#tables.format.decodeTable(run.lo, run.hi));
    if (run.child < 0) {
      return 0;
    }
    const again = this.#seen.has(run.child) || this.#path.slice(0, level + 1).includes(run.child);
    if (this.#sink.table !== undefined) {
      this.#flush();
      const { memory } = this.#tables;
      const to = this.#tables.format.tableOutput(run.lo, run.hi);
      this.#sink.table({
        from: addressOfWord(memory, run.table, this.#pageShift),
        to,
        level,
        index: run.index,
        address: run.address,
        again,
      });
    }
    if (!again) {
      this.#seen.add(run.child);
      this.#tableCount[level + 1]++;
      return 0;
    }
    return this.#onRevisit(run, level);
  }

  /**
   * The scan goes on below a table that it has seen, since its leaves count at every place where it hangs, until there have been too many.
   */
  #onRevisit(run: Run, level: Level): number {
    const table = hex(this.#tables.format.tableOutput(run.lo, run.hi));
    const entry = `the entry for ${this.#print(run.address)} (level ${run.level})`;
    if (this.#path.slice(0, level + 1).includes(run.child)) {
      this.#find('table.loop', `The table at ${table} contains itself: ${entry} names it again.`);
    } else {
      this.#find('table.shared', `The table at ${table} is used twice: ${entry} names it too.`);
    }
    if (this.#revisits-- + 4 * this.#seen.size > 0) {
      return 0;
    }
    this.#gaveUp = true;
    this.#find('table.too-many-revisits', `The scan stopped at ${entry}: the tables refer to each other over and over.`);
    return STOP;
  }

  #onLost(run: Run, reason: Lost): number {
    const table = hex(this.#tables.format.tableOutput(run.lo, run.hi));
    const entry = `the entry for ${this.#print(run.address)} (level ${run.level})`;
    if (reason === 'page-limit') {
      this.#gaveUp = true;
      this.#find(
        'table.page-limit',
        `The scan stopped at the table at ${table}, which ${entry} names: the limit of loaded table pages is reached.`,
      );
      return STOP;
    }
    this.#find('table.outside-memory', `The table at ${table}, which ${entry} names, is not in the image.`);
    this.#flush();
    this.#sink.hole?.({
      start: run.address,
      end: run.address + this.#span(run.level),
      level: run.level,
      lo: 0,
      hi: 0,
      entries: 1,
      reserved: false,
    });
    return 0;
  }
}
