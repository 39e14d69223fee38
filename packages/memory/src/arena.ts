import type { TableMemory } from '@granule/contract';
import { hex, isAligned, MAX_ADDRESS, type OutputAddress } from '@granule/geometry/bits';

export interface TableArenaOptions {
  /** log2 of the page size in bytes, 12…16. */
  readonly pageShift: number;
  /** Physical address of the first page, a multiple of the page size and below 2^52; default 0x4000_0000. */
  readonly base?: OutputAddress;
  /** Pages to have room for at once; default 16. */
  readonly initialPages?: number;
  /** Pages that can be taken at most; default as many as 8 GiB hold. */
  readonly maxPages?: number;
}

/** Indices of words stay below 2^31, where the engines keep them as small integers. */
const MAX_WORDS = 2 ** 31;
const MAX_RUN = 16;
const DEFAULT_BASE = 0x4000_0000;

/**
 * Table pages in one growing arena at one physical range. All of the room is contiguous ({@link TableMemory.contiguousPages}); addresses never change, the
 * arrays do, by doubling. Single pages that were given back are reused, the latest first; before that the arena grows at its end. Taking and giving a
 * page costs no allocation and does not depend on how many there are.
 */
export class TableArena implements TableMemory {
  readonly pageShift: number;
  readonly firstPage: number;
  readonly maxPages: number;
  words: Uint32Array;
  counts: Int32Array;
  contiguousPages: number;
  taken = 0;
  readonly #pageBytes: number;
  /** Pages from here on were never taken. */
  #top = 0;
  /** 1: taken. */
  #state: Uint8Array;
  /** Free single pages below the top, a stack. */
  #singles: Int32Array;
  #singleCount = 0;
  /** Free runs of 2…16 pages by their length, each a stack of first pages. */
  readonly #runs: number[][] = Array.from({ length: MAX_RUN + 1 }, () => []);

  constructor(options: TableArenaOptions) {
    const { pageShift, base = DEFAULT_BASE, initialPages = 16 } = options;
    requireInteger('pageShift', pageShift, 12, 16);
    this.pageShift = pageShift;
    this.#pageBytes = 2 ** pageShift;
    const limit = MAX_WORDS / (this.#pageBytes / 4);
    this.maxPages = options.maxPages ?? limit;
    requireInteger('maxPages', this.maxPages, 1, limit);
    requireInteger('initialPages', initialPages, 1, limit);
    requireInteger('base', base, 0, MAX_ADDRESS - this.maxPages * this.#pageBytes);
    if (!isAligned(base, pageShift)) {
      throw new RangeError(`base ${hex(base)} is not a multiple of the page size, ${this.#pageBytes} bytes`);
    }
    this.firstPage = base / this.#pageBytes;
    const pages = Math.min(initialPages, this.maxPages);
    this.contiguousPages = pages;
    this.words = new Uint32Array((pages * this.#pageBytes) / 4);
    this.counts = new Int32Array(pages);
    this.#state = new Uint8Array(pages);
    this.#singles = new Int32Array(pages);
  }

  get free(): number {
    return this.maxPages - this.taken;
  }

  wordOf(pa: OutputAddress, bytes: number): number {
    const offset = pa - this.firstPage * this.#pageBytes;
    return offset >= 0 && offset + bytes <= this.contiguousPages * this.#pageBytes ? offset / 4 : -1;
  }

  addressOf(word: number): OutputAddress {
    return (this.firstPage + Math.floor((word * 4) / this.#pageBytes)) * this.#pageBytes;
  }

  isTaken(pa: OutputAddress): boolean {
    const page = Math.floor(pa / this.#pageBytes) - this.firstPage;
    return page >= 0 && page < this.#top && this.#state[page] === 1;
  }

  take(pages: number): OutputAddress {
    const page = pages === 1 ? this.#takeSingle() : this.#takeRun(pages);
    if (page < 0) {
      return -1;
    }
    this.taken += pages;
    for (let i = page; i < page + pages; i += 1) {
      this.#state[i] = 1;
    }
    return (this.firstPage + page) * this.#pageBytes;
  }

  /** The pages must be zero ({@link checkArena} verifies it); a page that is not taken is a mistake of the caller and throws. */
  give(pa: OutputAddress, pages: number): void {
    const page = (pa / this.#pageBytes - this.firstPage) | 0;
    for (let i = page; i < page + pages; i += 1) {
      if (this.#state[i] !== 1) {
        throw new RangeError(`page ${hex((this.firstPage + i) * this.#pageBytes)} is given back but was not taken`);
      }
    }
    for (let i = page; i < page + pages; i += 1) {
      this.#state[i] = 0;
      this.counts[i] = 0;
    }
    this.taken -= pages;
    if (pages === 1) {
      this.#pushSingle(page);
    } else {
      this.#runs[pages].push(page);
    }
  }

  /** Takes exactly this page; false where it is taken already or beyond the limit. Used to load saved pages; slow where the page was free before. */
  claim(pa: OutputAddress): boolean {
    const page = pa / this.#pageBytes - this.firstPage;
    if (!Number.isInteger(page) || page < 0 || page >= this.maxPages || (page < this.#top && this.#state[page] === 1)) {
      return false;
    }
    if (page < this.#top) {
      this.#withdraw(page, 1);
    } else {
      if (!this.#reserve(page + 1)) {
        return false;
      }
      this.#raiseTop(page, page + 1);
    }
    this.#state[page] = 1;
    this.taken += 1;
    return true;
  }

  #takeSingle(): number {
    if (this.#singleCount > 0) {
      this.#singleCount -= 1;
      return this.#singles[this.#singleCount];
    }
    if (this.#top < this.maxPages && this.#reserve(this.#top + 1)) {
      this.#top += 1;
      return this.#top - 1;
    }
    const run = this.#runs.find((each) => each.length > 0);
    if (run === undefined) {
      return -1;
    }
    const pages = this.#runs.indexOf(run);
    const page = run.pop()!;
    for (let i = page + pages - 1; i > page; i -= 1) {
      this.#pushSingle(i);
    }
    return page;
  }

  #takeRun(pages: number): number {
    requireInteger('pages', pages, 1, MAX_RUN);
    const reused = this.#runs[pages].pop();
    if (reused !== undefined) {
      return reused;
    }
    const page = this.#alignUp(this.#top, pages);
    if (page + pages <= this.maxPages && this.#reserve(page + pages)) {
      this.#raiseTop(page, page + pages);
      return page;
    }
    return this.#findRun(pages);
  }

  /** Last resort of a full pool: any aligned free pages, of runs of other lengths or single. */
  #findRun(pages: number): number {
    for (let page = this.#alignUp(0, pages); page + pages <= this.maxPages; page += pages) {
      if (this.#state.subarray(page, page + pages).every((state) => state === 0) && this.#reserve(page + pages)) {
        this.#raiseTop(Math.max(this.#top, page), Math.max(this.#top, page + pages));
        this.#withdraw(page, pages);
        return page;
      }
    }
    return -1;
  }

  #alignUp(page: number, pages: number): number {
    return Math.ceil((this.firstPage + page) / pages) * pages - this.firstPage;
  }

  /** The pages skipped between the top and `page` become free single pages. */
  #raiseTop(page: number, top: number): void {
    for (let i = page - 1; i >= this.#top; i -= 1) {
      this.#pushSingle(i);
    }
    this.#top = top;
  }

  #pushSingle(page: number): void {
    this.#singles[this.#singleCount] = page;
    this.#singleCount += 1;
  }

  /** Takes these free pages out of the lists; runs that are cut become single pages. */
  #withdraw(page: number, pages: number): void {
    this.#runs.forEach((run, length) => {
      const cut = run.filter((start) => start < page + pages && start + length > page);
      if (cut.length > 0) {
        this.#runs[length] = run.filter((start) => !cut.includes(start));
        cut.forEach((start) => {
          for (let i = start; i < start + length; i += 1) {
            this.#pushSingle(i);
          }
        });
      }
    });
    const kept = this.#singles.subarray(0, this.#singleCount).filter((each) => each < page || each >= page + pages);
    this.#singles.set(kept);
    this.#singleCount = kept.length;
  }

  /** Makes room for `pages` pages in all. False where the host has no memory left: nothing changed. */
  #reserve(pages: number): boolean {
    if (pages <= this.contiguousPages) {
      return true;
    }
    const room = Math.min(Math.max(pages, this.contiguousPages * 2), this.maxPages);
    let words: Uint32Array;
    try {
      words = new Uint32Array((room * this.#pageBytes) / 4);
    } catch {
      return false;
    }
    words.set(this.words.subarray(0, (this.#top * this.#pageBytes) / 4));
    this.words = words;
    this.counts = enlarged(this.counts, new Int32Array(room));
    this.#state = enlarged(this.#state, new Uint8Array(room));
    this.#singles = enlarged(this.#singles, new Int32Array(room));
    this.contiguousPages = room;
    return true;
  }
}

/** Table pages of its own at `base`; grows as pages are taken, up to `maxPages`. Options out of range are a mistake of the caller and throw. */
export function createTableArena(options: TableArenaOptions): TableArena {
  return new TableArena(options);
}

function enlarged<T extends Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

function requireInteger(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`${name} is ${value}, not an integer from ${low} to ${high}`);
  }
}
