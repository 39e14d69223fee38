import { DONE, done, refused, type ByteSource, type Outcome, type PhysicalReader } from '@granule/contract';
import { alignDown, formatSize, hex, MAX_ADDRESS, type OutputAddress } from '@granule/geometry/bits';

/** A range of physical memory: the first `fileBytes` bytes are in `source` from `offset` on, the rest are zero (as p_filesz and p_memsz of a PT_LOAD). */
export interface Segment {
  readonly pa: OutputAddress;
  /** Size in memory, bytes. */
  readonly bytes: number;
  /** Bytes that the source has; 0 … `bytes`. */
  readonly fileBytes: number;
  readonly source: ByteSource;
  readonly offset: number;
}

export interface SparseMemoryOptions {
  /** Bytes that writes may make private at most, in pages of 4 KiB; default 1 GiB. */
  readonly maxWritten?: number;
}

const PAGE_SHIFT = 12;
const PAGE = 4096;
const NOTHING: ByteSource = { size: 0, read: () => 0 };
const SOURCE = 'ELF gABI, program header: p_paddr, p_filesz, p_memsz';

/**
 * Physical memory with holes. What it holds comes from segments, read when asked for; writes go to private 4 KiB pages, the sources are never written.
 * Segments may adjoin (a read runs across them) but not overlap: two contents for one address have no right answer, so that is refused.
 */
export class SparseMemory implements PhysicalReader {
  readonly maxWritten: number;
  #segments: Segment[] = [];
  readonly #written = new Map<OutputAddress, Uint8Array>();
  #hint = 0;

  constructor(options: SparseMemoryOptions = {}) {
    this.maxWritten = options.maxWritten ?? 2 ** 30;
  }

  /** In ascending order. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /**
   * Adds segments, all or none; empty ones are dropped. Refused: `image.overlapping-segments`, `image.beyond-address-space` (past 2^52), `image.bad-segment`
   * (sizes that are not integers, more bytes in the file than in memory, bytes outside the source).
   */
  add(segments: readonly Segment[]): Outcome<undefined> {
    const bad = segments.map(segmentProblem).find((problem) => problem !== undefined);
    if (bad !== undefined) {
      return bad;
    }
    const all = [...this.#segments, ...segments.filter(({ bytes }) => bytes > 0)].sort((a, b) => a.pa - b.pa);
    for (let i = 1; i < all.length; i += 1) {
      const end = all[i - 1].pa + all[i - 1].bytes;
      if (all[i].pa < end) {
        return refused(
          'image.overlapping-segments',
          `The segment at ${hex(all[i].pa)} begins before the one at ${hex(all[i - 1].pa)} ends (${hex(end)}).`,
          SOURCE,
        );
      }
    }
    this.#segments = all;
    return DONE;
  }

  /** Adds memory that reads as zero until it is written. Refused as {@link add}. */
  addZeroed(pa: OutputAddress, bytes: number): Outcome<undefined> {
    return this.add([{ pa, bytes, fileBytes: 0, source: NOTHING, offset: 0 }]);
  }

  /** Whether all of [pa, pa + bytes) is memory. */
  has(pa: OutputAddress, bytes: number): boolean {
    let at = pa;
    for (let i = this.#find(at); at < pa + bytes; i += 1) {
      const segment = this.#segments[i];
      if (segment === undefined || at < segment.pa || at >= segment.pa + segment.bytes) {
        return false;
      }
      at = segment.pa + segment.bytes;
    }
    return true;
  }

  read(pa: OutputAddress, into: Uint8Array): boolean {
    let at = pa;
    const end = pa + into.length;
    for (let i = this.#find(at); at < end; i += 1) {
      const segment = this.#segments[i];
      if (segment === undefined || at < segment.pa || at >= segment.pa + segment.bytes) {
        return false;
      }
      const stop = Math.min(end, segment.pa + segment.bytes);
      if (!readSegment(segment, at - segment.pa, into.subarray(at - pa, stop - pa))) {
        return false;
      }
      at = stop;
    }
    if (this.#written.size > 0) {
      this.#overlay(pa, into);
    }
    return true;
  }

  /** Refused with nothing written: `memory.not-memory` where a byte of the range is none, `memory.over-limit` beyond `maxWritten`. */
  write(pa: OutputAddress, bytes: Uint8Array): Outcome<undefined> {
    if (!this.has(pa, bytes.length)) {
      return refused('memory.not-memory', `The ${bytes.length} bytes at ${hex(pa)} are not all memory.`, 'SparseMemory.write');
    }
    const pages = this.#pagesOf(pa, bytes.length);
    const fresh = pages.filter((page) => !this.#written.has(page));
    if ((this.#written.size + fresh.length) * PAGE > this.maxWritten) {
      const limit = formatSize(this.maxWritten);
      return refused('memory.over-limit', `Writing at ${hex(pa)} would make more than ${limit} of memory private.`, 'SparseMemory.write');
    }
    for (const page of fresh) {
      this.#written.set(page, this.#pageContent(page));
    }
    for (const page of pages) {
      const from = Math.max(pa, page);
      const to = Math.min(pa + bytes.length, page + PAGE);
      this.#written.get(page)!.set(bytes.subarray(from - pa, to - pa), from - page);
    }
    return DONE;
  }

  /** Index of the segment that holds pa, or of any other where none does. */
  #find(pa: OutputAddress): number {
    const hint = this.#segments[this.#hint];
    if (hint !== undefined && pa >= hint.pa && pa < hint.pa + hint.bytes) {
      return this.#hint;
    }
    let low = 0;
    let high = this.#segments.length;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#segments[middle].pa <= pa) low = middle;
      else high = middle;
    }
    this.#hint = low;
    return low;
  }

  #pagesOf(pa: OutputAddress, bytes: number): OutputAddress[] {
    const pages: OutputAddress[] = [];
    for (let page: OutputAddress = alignDown(pa, PAGE_SHIFT); page < pa + bytes; page += PAGE) {
      pages.push(page);
    }
    return pages;
  }

  /** The page as the segments have it; where it is not memory, zero. */
  #pageContent(page: OutputAddress): Uint8Array {
    const content = new Uint8Array(PAGE);
    for (let i = this.#find(page); i < this.#segments.length && this.#segments[i].pa < page + PAGE; i += 1) {
      const { pa, bytes } = this.#segments[i];
      const from = Math.max(pa, page);
      const to = Math.min(pa + bytes, page + PAGE);
      if (from < to) {
        readSegment(this.#segments[i], from - pa, content.subarray(from - page, to - page));
      }
    }
    return content;
  }

  #overlay(pa: OutputAddress, into: Uint8Array): void {
    for (const page of this.#pagesOf(pa, into.length)) {
      const content = this.#written.get(page);
      if (content !== undefined) {
        const from = Math.max(pa, page);
        into.set(content.subarray(from - page, Math.min(pa + into.length, page + PAGE) - page), from - pa);
      }
    }
  }
}

/** A memory of these segments. Refused as {@link SparseMemory.add}. */
export function sparseMemory(segments: readonly Segment[], options?: SparseMemoryOptions): Outcome<SparseMemory> {
  const memory = new SparseMemory(options);
  const added = memory.add(segments);
  return added.kind === 'done' ? done(memory) : added;
}

/** False where the source gives less than the segment promises. */
function readSegment(segment: Segment, from: number, into: Uint8Array): boolean {
  const stored = Math.min(Math.max(segment.fileBytes - from, 0), into.length);
  into.fill(0, stored);
  return stored === 0 || segment.source.read(segment.offset + from, into.subarray(0, stored)) === stored;
}

function segmentProblem({ pa, bytes, fileBytes, offset, source }: Segment): Outcome<undefined> | undefined {
  if (![pa, bytes, fileBytes, offset].every((each) => Number.isSafeInteger(each) && each >= 0)) {
    return refused('image.bad-segment', `The segment at ${pa} has an address, size or offset that is not an integer from 0.`, SOURCE);
  }
  if (pa + bytes > MAX_ADDRESS) {
    return refused('image.beyond-address-space', `The segment at ${hex(pa)} with ${hex(bytes)} bytes ends beyond 2^52.`, SOURCE);
  }
  if (fileBytes > bytes || offset + fileBytes > source.size) {
    const where = `offset ${hex(offset)}, of a source of ${hex(source.size)}`;
    return refused('image.bad-segment', `The segment at ${hex(pa)} with ${hex(bytes)} bytes takes ${hex(fileBytes)} from ${where}.`, SOURCE);
  }
  return undefined;
}
