/** Pages to one word of a KVM dirty bitmap. */
export const WORD_PAGES = 64;

/** One dirty bitmap: a bit a page, read and cleared by words of 64 pages. */
export class DirtyBitmap {
  readonly pages: number;
  /** Two halves a word, low first. */
  readonly #halves: Uint32Array;

  constructor(pages: number) {
    this.pages = pages;
    this.#halves = new Uint32Array(2 * Math.ceil(pages / WORD_PAGES));
  }

  get words(): number {
    return this.#halves.length / 2;
  }

  mark(page: number): void {
    this.#halves[Math.floor(page / 32)] |= 1 << (page % 32);
  }

  has(page: number): boolean {
    return (this.#halves[Math.floor(page / 32)] & (1 << (page % 32))) !== 0;
  }

  fill(): void {
    this.#halves.fill(0xffff_ffff, 0, Math.floor(this.pages / 32));
    for (let page = this.pages - (this.pages % 32); page < this.pages; page++) {
      this.mark(page);
    }
  }

  /** One word as two halves. */
  word(index: number): readonly [lo: number, hi: number] {
    return [this.#halves[2 * index] >>> 0, this.#halves[2 * index + 1] >>> 0];
  }

  /** Clears these bits of a word; answers those that were set. */
  clear(index: number, lo: number, hi: number): readonly [lo: number, hi: number] {
    const had = this.word(index);
    this.#halves[2 * index] &= ~lo;
    this.#halves[2 * index + 1] &= ~hi;
    return [(had[0] & lo) >>> 0, (had[1] & hi) >>> 0];
  }

  copy(): DirtyBitmap {
    const copy = new DirtyBitmap(this.pages);
    copy.#halves.set(this.#halves);
    return copy;
  }

  /** Numbers of the marked pages, ascending. */
  list(): readonly number[] {
    const pages: number[] = [];
    for (let half = 0; half < this.#halves.length; half++) {
      for (let bits = this.#halves[half]; bits !== 0; bits &= bits - 1) {
        pages.push(32 * half + (31 - Math.clz32(bits & -bits)));
      }
    }
    return pages;
  }
}

/** First and last set bit of a word (__ffs, __fls); undefined where none is. */
export function bounds(lo: number, hi: number): readonly [first: number, last: number] | undefined {
  if ((lo | hi) === 0) {
    return undefined;
  }
  const first = lo !== 0 ? 31 - Math.clz32(lo & -lo) : 63 - Math.clz32(hi & -hi);
  return [first, hi !== 0 ? 63 - Math.clz32(hi) : 31 - Math.clz32(lo)];
}
