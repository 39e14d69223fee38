import type { TableMemory } from '@granule/contract';

const BASE = 0x4000_0000;

/** Table memory in one fixed array, first fit; as little as the suites need. */
export class TestMemory implements TableMemory {
  readonly pageShift: number;
  readonly words: Uint32Array;
  readonly counts: Int32Array;
  readonly firstPage: number;
  readonly contiguousPages: number;
  taken = 0;
  private readonly used: boolean[];

  constructor({ pageShift, pages }: { readonly pageShift: number; readonly pages: number }) {
    this.pageShift = pageShift;
    this.words = new Uint32Array(pages * 2 ** (pageShift - 2));
    this.counts = new Int32Array(pages);
    this.firstPage = BASE / 2 ** pageShift;
    this.contiguousPages = pages;
    this.used = Array.from({ length: pages }, () => false);
  }

  get free(): number {
    return this.contiguousPages - this.taken;
  }

  wordOf(pa: number, bytes: number): number {
    const word = (pa - BASE) / 4;
    return word >= 0 && word + bytes / 4 <= this.words.length ? word : -1;
  }

  addressOf(word: number): number {
    const page = Math.floor(word / 2 ** (this.pageShift - 2));
    return BASE + page * 2 ** this.pageShift;
  }

  take(pages: number): number {
    for (let i = 0; i + pages <= this.used.length; i += pages) {
      if (this.used.slice(i, i + pages).every((each) => !each)) {
        this.used.fill(true, i, i + pages);
        this.counts.fill(0, i, i + pages);
        this.taken += pages;
        return BASE + i * 2 ** this.pageShift;
      }
    }
    return -1;
  }

  give(pa: number, pages: number): void {
    const i = (pa - BASE) / 2 ** this.pageShift;
    this.used.fill(false, i, i + pages);
    this.counts.fill(0, i, i + pages);
    this.taken -= pages;
  }
}
