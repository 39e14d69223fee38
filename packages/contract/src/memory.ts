import type { OutputAddress } from '@granule/geometry/bits';

/**
 * Table pages in one flat arena of 32-bit words, little-endian halves: descriptor i of a table is words[w + 2i] (low) and words[w + 2i + 1]
 * (high), where w is the table's first word.
 *
 * Contiguous part: the page at physical page number p (address / 2^pageShift) with 0 ≤ p − firstPage < contiguousPages starts at word
 * (p − firstPage) · 2^(pageShift − 2); hot paths compute that themselves. Every other address goes through {@link wordOf}, which may load a
 * page of an image. `words` and `counts` are replaced when the arena grows: read them again after `take` and `wordOf`.
 */
export interface TableMemory {
  readonly pageShift: number;
  readonly words: Uint32Array;
  /** For each arena page the number of entries in it that are not zero. The core keeps it; {@link take} gives 0. */
  readonly counts: Int32Array;
  readonly firstPage: number;
  readonly contiguousPages: number;
  /**
   * First word of the `bytes` bytes at `pa` (8-byte aligned, inside one page), loading the page if it is an image's.
   * −1: not memory; −2: the memory's own limit of loaded pages is reached.
   */
  wordOf(pa: OutputAddress, bytes: number): number;
  /** Physical address of the page that holds this word. */
  addressOf(word: number): OutputAddress;
  /**
   * Takes 1…16 contiguous zeroed pages, aligned to their size. Returns their physical address, or −1 (nothing changed) where the pool is
   * exhausted.
   */
  take(pages: number): OutputAddress;
  /** How many single pages could still be taken; a caller may prepare against it. Infinity: unbounded. */
  readonly free: number;
  /** Gives pages back. They must be zeroed; counts are reset. */
  give(pa: OutputAddress, pages: number): void;
  /** Pages now taken. */
  readonly taken: number;
}

/** Bytes on demand, synchronous: a file, a Blob read beforehand, an inflated buffer. Offsets are exact integers. */
export interface ByteSource {
  readonly size: number;
  /** Fills `into` from `offset`; returns how many bytes there were. */
  read(offset: number, into: Uint8Array): number;
}

/** Physical memory to read from: an image, live table memory, or a view through another translation. */
export interface PhysicalReader {
  /** Fills `into` with the bytes at `pa`. False, and `into` unspecified, where any byte is not memory. */
  read(pa: OutputAddress, into: Uint8Array): boolean;
}
