import type { PhysicalReader, TableMemory } from '@granule/contract';
import { hex, pow2, shiftDown, type OutputAddress } from '@granule/geometry/bits';
import { wordsFromBytes } from './bytes.js';
import { countEntries } from './check.js';

export interface ImageTablesOptions {
  /** log2 of the page size in bytes, 12…16: the granule of the tables that are read. */
  readonly pageShift: number;
  /** Pages to load at most; default as many as 512 MiB hold. */
  readonly maxPages?: number;
}

const DEFAULT_BYTES = 2 ** 29;
/** Below one entry nothing is asked for. */
const ENTRY_BYTES = 8;

/**
 * The tables of an image, read on demand: {@link wordOf} loads the page that holds the address and keeps it. Nothing is contiguous. Where the image holds only
 * part of a page, the bytes asked for must all be there (else −1), and the rest of the page reads as zero. Entries may be changed in place, the
 * image stays as it is; pages are neither taken (−1) nor given back (throws).
 */
export class ImageTables implements TableMemory {
  readonly pageShift: number;
  readonly firstPage = 0;
  readonly contiguousPages = 0;
  readonly free = 0;
  readonly maxPages: number;
  words: Uint32Array;
  counts: Int32Array;
  readonly #reader: PhysicalReader;
  readonly #pageBytes: number;
  /** Slot of each page that is loaded, by page number. */
  readonly #slots = new Map<number, number>();
  /** Page number of each slot. */
  readonly #pages: number[] = [];
  /** Slots whose page the image holds in part only. */
  readonly #partial = new Set<number>();
  #latest = -1;
  #latestSlot = 0;
  #scratch = new Uint8Array(0);

  constructor(reader: PhysicalReader, options: ImageTablesOptions) {
    this.#reader = reader;
    this.pageShift = options.pageShift;
    this.#pageBytes = pow2(options.pageShift);
    this.maxPages = options.maxPages ?? DEFAULT_BYTES / this.#pageBytes;
    const room = Math.min(16, this.maxPages);
    this.words = new Uint32Array((room * this.#pageBytes) / 4);
    this.counts = new Int32Array(room);
  }

  /** Pages loaded so far. */
  get taken(): number {
    return this.#pages.length;
  }

  wordOf(pa: OutputAddress, bytes: number): number {
    const page = shiftDown(pa, this.pageShift);
    const slot = page === this.#latest ? this.#latestSlot : this.#slots.get(page);
    if (slot === undefined) {
      return this.#load(page, pa, bytes);
    }
    if (this.#partial.size > 0 && this.#partial.has(slot) && !this.#present(pa, bytes)) {
      return -1;
    }
    this.#latest = page;
    this.#latestSlot = slot;
    return (slot * this.#pageBytes + (pa - page * this.#pageBytes)) / 4;
  }

  addressOf(word: number): OutputAddress {
    return this.#pages[Math.floor((word * 4) / this.#pageBytes)] * this.#pageBytes;
  }

  take(): OutputAddress {
    return -1;
  }

  give(pa: OutputAddress): void {
    throw new Error(`an image takes no page back (${hex(pa)}): copy its tables into an arena first`);
  }

  #load(page: number, pa: OutputAddress, bytes: number): number {
    if (!this.#present(pa, bytes)) {
      return -1;
    }
    const slot = this.#pages.length;
    if (slot >= this.maxPages) {
      return -2;
    }
    const content = new Uint8Array(this.#pageBytes);
    const whole = this.#readParts(page * this.#pageBytes, content);
    this.#makeRoom(slot);
    const word = (slot * this.#pageBytes) / 4;
    wordsFromBytes(content, this.words, word);
    this.counts[slot] = countEntries(this.words, word, this.#pageBytes / 4);
    this.#slots.set(page, slot);
    this.#pages.push(page);
    if (!whole) {
      this.#partial.add(slot);
    }
    return word + (pa - page * this.#pageBytes) / 4;
  }

  #present(pa: OutputAddress, bytes: number): boolean {
    if (this.#scratch.length < bytes) {
      this.#scratch = new Uint8Array(bytes);
    }
    return this.#reader.read(pa, this.#scratch.subarray(0, bytes));
  }

  /** Whether all of it was there; by halves, down to one entry, where not. */
  #readParts(pa: OutputAddress, into: Uint8Array): boolean {
    if (this.#reader.read(pa, into)) {
      return true;
    }
    into.fill(0);
    if (into.length > ENTRY_BYTES) {
      const half = into.length / 2;
      this.#readParts(pa, into.subarray(0, half));
      this.#readParts(pa + half, into.subarray(half));
    }
    return false;
  }

  #makeRoom(slot: number): void {
    if (slot < this.counts.length) {
      return;
    }
    const room = Math.min(this.counts.length * 2, this.maxPages);
    const words = new Uint32Array((room * this.#pageBytes) / 4);
    words.set(this.words);
    this.words = words;
    const counts = new Int32Array(room);
    counts.set(this.counts);
    this.counts = counts;
  }
}

export function createImageTables(reader: PhysicalReader, options: ImageTablesOptions): ImageTables {
  return new ImageTables(reader, options);
}
