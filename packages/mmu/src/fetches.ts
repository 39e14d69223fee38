import type { Level } from '@granule/geometry';
import { fromHalves, type OutputAddress } from '@granule/geometry/bits';
import { levelOfTag, stageOfTag } from './levels.js';

/** The most fetches of a two-stage walk with five levels each: 5 · (5 + 1) + 5. */
export const MAX_FETCHES = 35;

/** One descriptor fetch. */
export interface Fetch {
  readonly stage: 1 | 2;
  readonly level: Level;
  /** Address before stage 2 (an IPA for stage 1 of a guest), and the physical one. */
  readonly address: OutputAddress;
  readonly physical: OutputAddress;
  /** The descriptor, whatever the byte order of memory; unsigned halves. */
  readonly lo: number;
  readonly hi: number;
}

/** A fetch as a walk notes it, in signed halves: integers in a chain of objects are written without a check of bounds. */
class Row {
  tag = 0;
  addressLo = 0;
  addressHi = 0;
  physicalLo = 0;
  physicalHi = 0;
  lo = 0;
  hi = 0;
  declare readonly index: number;
  /** The row after it; after the last possible one, itself. */
  declare readonly next: Row;

  constructor(index: number, next: Row | undefined) {
    this.index = index;
    this.next = next ?? this;
  }
}

/** Descriptor fetches of one translation in order. They are noted as integers, and made values when one asks. */
export class FetchLog {
  /** Where the next one goes. */
  #row: Row;
  readonly #first: Row;

  constructor() {
    let row = new Row(MAX_FETCHES, undefined);
    for (let index = MAX_FETCHES - 1; index >= 0; index -= 1) row = new Row(index, row);
    this.#first = row;
    this.#row = row;
  }

  get count(): number {
    return this.#row.index;
  }

  /** Fetch `index`, 0 … count − 1, as a value that stays. */
  at(index: number): Fetch {
    let row = this.#first;
    while (row.index < index) row = row.next;
    const { tag, addressLo, addressHi, physicalLo, physicalHi, lo, hi } = row;
    const address = fromHalves(addressLo, addressHi);
    return { stage: stageOfTag(tag), level: levelOfTag(tag), address, physical: fromHalves(physicalLo, physicalHi), lo: lo >>> 0, hi: hi >>> 0 };
  }

  all(): readonly Fetch[] {
    return Array.from({ length: this.count }, (_, index) => this.at(index));
  }

  /** Forgets every fetch. */
  clear(): void {
    this.#row = this.#first;
  }

  /** Appends a fetch, all halves signed. */
  add(tag: number, addressLo: number, addressHi: number, physicalLo: number, physicalHi: number, lo: number, hi: number): void {
    const row = this.#row;
    row.tag = tag;
    row.addressLo = addressLo;
    row.addressHi = addressHi;
    row.physicalLo = physicalLo;
    row.physicalHi = physicalHi;
    row.lo = lo;
    row.hi = hi;
    this.#row = row.next;
  }
}
