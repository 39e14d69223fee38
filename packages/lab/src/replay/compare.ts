import { ENTRY } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { hex, toBigint } from '@granule/geometry/bits';
import { lookup, newLookup } from '@granule/pgtable';
import { type Hole, type Mapping, readMappings, type Scan } from '../dump/mappings.js';
import { inputName, type RegimeTables } from '../image/regime-tables.js';
import type { LiveTable, Touch } from './operations.js';
import type { Difference, LeafText, TableComparison } from './report.js';

/** Differences that a comparison lists; the rest is counted. */
const MAX_DIFFERENCES = 10;

/**
 * Compares the core's table with the kernel's, descriptor by descriptor: a leaf is equal where level and all 64 bits are. Where hardware
 * sets access flags (VTCR_EL2.HA), one that is set in the kernel's leaf alone is no difference of the operations; those are counted.
 */
export function compareTables(live: LiveTable, kernel: RegimeTables): TableComparison {
  return new Comparison(live, kernel).result();
}

/** Leaves that are equal, for a match by content. */
export function equalLeaves(live: LiveTable, kernel: RegimeTables): number {
  return new Comparison(live, kernel).equal;
}

class Comparison {
  equal = 0;
  #identical = 0;
  #hardwareAccessed = 0;
  #total = 0;
  #annotationsEqual = 0;
  #more = 0;
  readonly #differences: Difference[] = [];
  readonly #found = newLookup();
  readonly #live: LiveTable;
  readonly #kernel: RegimeTables;
  readonly #ours: RegimeTables;
  readonly #kernelScan: Scan;
  readonly #ourScan: Scan;

  constructor(live: LiveTable, kernel: RegimeTables) {
    this.#live = live;
    this.#kernel = kernel;
    const { memory, root, format } = live.table;
    this.#ours = { ...kernel, format, memory, root };
    this.#kernelScan = readMappings(kernel, {
      mapping: (theirs) => this.#leafOfKernel(theirs),
      hole: (hole) => this.#annotationsOfKernel(hole),
    }, { merge: false });
    this.#ourScan = readMappings(this.#ours, { mapping: (ours) => this.#leafOfOurs(ours) }, { merge: false });
  }

  result(): TableComparison {
    const { placed } = this.#live;
    const count = (counts: readonly number[]): number => counts.reduce((sum, each) => sum + each, 0);
    const ours = this.#ourScan;
    const kernel = this.#kernelScan;
    const annotations = { ours: ours.annotated, kernel: kernel.annotated, equal: this.#annotationsEqual };
    const sound = kernel.complete && kernel.findings.length === 0;
    const samePages = ours.tables.every((pages, i) => pages === kernel.tables[i]);
    const sameNotes = annotations.equal === annotations.ours && annotations.equal === annotations.kernel;
    return {
      name: this.#kernel.name,
      pgt: hex(placed.traced.pgt),
      root: hex(this.#kernel.root),
      rootFrom: placed.from,
      input: inputName(this.#kernel),
      ...(placed.shadow ? { shadow: true as const } : {}),
      mappings: {
        ours: count(ours.leaves),
        kernel: count(kernel.leaves),
        total: this.#total,
        equal: this.equal,
        identical: this.#identical,
      },
      hardwareAccessed: this.#hardwareAccessed,
      annotations,
      tablePages: { ours: ours.tables, kernel: kernel.tables },
      differences: this.#differences,
      moreDifferences: this.#more,
      findings: kernel.findings.map(({ sentence }) => sentence),
      exact: this.equal === this.#total && sound && samePages && sameNotes,
    };
  }

  #leafOfKernel(theirs: Mapping): void {
    const { start, level, lo, hi } = theirs;
    const at = this.#found;
    this.#total += 1;
    if (lookup(this.#ours, start, at) && at.kind === ENTRY.leaf && at.level === level) {
      if (at.lo === lo && at.hi === hi) {
        this.equal += 1;
        this.#identical += 1;
        return;
      }
      if (this.#onlyAccessed(theirs, at.lo, at.hi)) {
        this.equal += 1;
        this.#hardwareAccessed += 1;
        return;
      }
    }
    this.#differ(start, () => ({ ours: this.#leafAt(this.#ours, start), kernel: leafText(theirs) }));
  }

  /** The kernel's leaf is ours with the access flag set, and hardware may have set it. */
  #onlyAccessed({ lo, hi }: Mapping, ourLo: number, ourHi: number): boolean {
    const { afLo, afHi } = this.#kernel.format.numbers;
    return this.#kernel.hardwareAccessFlag && (ourLo | afLo) >>> 0 === lo && (ourHi | afHi) >>> 0 === hi;
  }

  #leafOfOurs(ours: Mapping): void {
    const at = this.#found;
    const there = lookup(this.#kernel, ours.start, at) && at.kind === ENTRY.leaf;
    if (there && at.level === ours.level) {
      return;
    }
    this.#total += 1;
    this.#differ(ours.start, () => ({ ours: leafText(ours), kernel: this.#leafAt(this.#kernel, ours.start) }));
  }

  #annotationsOfKernel({ start, end, entries, level, lo, hi }: Hole): void {
    const at = this.#found;
    for (let i = 0; (lo !== 0 || hi !== 0) && i < entries; i++) {
      const address = start + (i * (end - start)) / entries;
      if (lookup(this.#ours, address, at) && at.level === level && at.lo === lo && at.hi === hi) {
        this.#annotationsEqual += 1;
      }
    }
  }

  #leafAt(tables: RegimeTables, start: InputAddress): LeafText | undefined {
    let leaf: LeafText | undefined;
    const page = 2 ** tables.format.geometry.pageShift;
    readMappings(tables, { mapping: (each) => (leaf ??= leafText(each)) }, { merge: false, start, end: start + page });
    return leaf;
  }

  #differ(start: InputAddress, leaves: () => Record<'ours' | 'kernel', LeafText | undefined>): void {
    if (this.#differences.length === MAX_DIFFERENCES) {
      this.#more += 1;
      return;
    }
    const { ours, kernel } = leaves();
    const cause = lastTouch(this.#live.touches, start);
    this.#differences.push({
      address: hex(start),
      ...(ours === undefined ? {} : { ours }),
      ...(kernel === undefined ? {} : { kernel }),
      ...(cause === undefined ? {} : { cause: { operation: cause.operation, trace: cause.trace, line: cause.line } }),
    });
  }
}

function leafText({ level, output, leaf, lo, hi, end, start }: Mapping): LeafText {
  const { permissions, type, attributes } = leaf;
  return { level, bytes: end - start, output: hex(output), permissions, type, attributes, descriptor: hex(toBigint(lo, hi)) };
}

function lastTouch(touches: readonly Touch[], address: InputAddress): Touch | undefined {
  return touches.findLast(({ start, end }) => start <= address && address < end);
}
