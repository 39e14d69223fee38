/** Entries to have room for at first: most pages are written an entry at a time, and many are given back with few. */
const LEAST = 4;
const NONE = new Uint32Array();

/** Descriptors of a table page as they were last written; only those from the first to the last that were are kept, all others are zero. */
export class Content {
  /** The entry with which `words` begins. */
  private first = 0;
  private words = NONE;

  /** Entries [from, end) are kept. */
  get from(): number {
    return this.first;
  }

  get end(): number {
    return this.first + this.words.length / 2;
  }

  /** Lower and upper half of an entry, 0 where none was written. */
  lo(index: number): number {
    return index < this.first ? 0 : (this.words[2 * (index - this.first)] ?? 0);
  }

  hi(index: number): number {
    return index < this.first ? 0 : (this.words[2 * (index - this.first) + 1] ?? 0);
  }

  /** @param words two halves an entry, the lower one first */
  write(index: number, words: Uint32Array): void {
    const end = index + words.length / 2;
    if (index < this.first || end > this.end) {
      this.cover(index, end);
    }
    this.words.set(words, 2 * (index - this.first));
  }

  private cover(index: number, end: number): void {
    const { first, words } = this;
    const from = words === NONE ? index : Math.min(index, first);
    const to = words === NONE ? end : Math.max(end, this.end);
    const entries = 2 ** Math.ceil(Math.log2(Math.max(LEAST, to - from)));
    // Room is left on the side on which it grows.
    this.first = from < first ? Math.max(0, to - entries) : from;
    this.words = new Uint32Array(2 * entries);
    this.words.set(words, 2 * Math.max(0, first - this.first));
  }
}
