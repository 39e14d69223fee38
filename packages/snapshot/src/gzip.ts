import { done, refused, type ByteSource, type Outcome } from '@granule/contract';
import { formatSize } from '@granule/geometry/bits';
import { Gunzip } from 'fflate';

export interface InflateOptions {
  /** Bytes that may come out at most; default 1 GiB. */
  readonly limit?: number;
}

const DEFAULT_LIMIT = 2 ** 30;
/** Deflate expands at most 1032 times, so one piece of input gives at most 33 MiB. */
const INPUT_BYTES = 2 ** 15;
const CHUNK_BYTES = 2 ** 20;
const TRAILER_BYTES = 8;
/** Pieces of input that may pass without a byte of content looked at: a header has a name and a comment, not a file. */
const MAX_HEADER_PIECES = 4;
const SOURCE = 'RFC 1952';

export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/**
 * The content of a gzip file, inflated piece by piece; several members follow each other as one. Refused: `gzip.over-limit` (as soon as it is passed; what has
 * come out by then is dropped), `gzip.corrupt` (torn, damaged, or CRC-32 or size differ from the trailer).
 */
export function inflate(source: ByteSource, options: InflateOptions = {}): Outcome<ByteSource> {
  const limit = options.limit ?? DEFAULT_LIMIT;
  const output = new Chunks();
  let member = new Checksum();
  let sound = true;
  let idle = 0;
  const gunzip = new Gunzip((data) => {
    idle = 0;
    output.append(data, limit);
    member.add(data);
  });
  gunzip.onmember = (offset) => {
    sound &&= member.matches(source, offset);
    member = new Checksum();
  };
  const input = new Uint8Array(INPUT_BYTES);
  for (let offset = 0; offset < source.size && sound; ) {
    const got = source.read(offset, input);
    offset += got;
    idle += 1;
    try {
      gunzip.push(input.slice(0, got), offset >= source.size || got === 0);
    } catch {
      return corrupt();
    }
    if (output.size > limit) {
      return refused('gzip.over-limit', `The file inflates to more than the limit of ${formatSize(limit)}.`, SOURCE);
    }
    if (got === 0 || idle > MAX_HEADER_PIECES) {
      return corrupt();
    }
  }
  return sound && member.matches(source, source.size) ? done(output) : corrupt();
}

function corrupt(): Outcome<never> {
  return refused('gzip.corrupt', 'The gzip file is torn or damaged: it does not inflate to what its trailer promises.', SOURCE);
}

/** Bytes in pieces of one size, so that growing copies nothing. */
class Chunks implements ByteSource {
  size = 0;
  readonly #chunks: Uint8Array[] = [];

  /** Keeps nothing beyond the limit; `size` passes it. */
  append(data: Uint8Array, limit: number): void {
    if (this.size + data.length > limit) {
      this.#chunks.length = 0;
      this.size = limit + 1;
      return;
    }
    for (let at = 0; at < data.length; ) {
      const used = this.size % CHUNK_BYTES;
      if (used === 0) {
        this.#chunks.push(new Uint8Array(CHUNK_BYTES));
      }
      const part = data.subarray(at, at + CHUNK_BYTES - used);
      this.#chunks[this.#chunks.length - 1].set(part, used);
      this.size += part.length;
      at += part.length;
    }
  }

  read(offset: number, into: Uint8Array): number {
    const bytes = Math.max(Math.min(into.length, this.size - offset), 0);
    for (let at = 0; at < bytes; ) {
      const from = (offset + at) % CHUNK_BYTES;
      const part = this.#chunks[Math.floor((offset + at) / CHUNK_BYTES)].subarray(from, from + bytes - at);
      into.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

/** CRC-32 of RFC 1952 §8, reflected polynomial 0xEDB88320. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    crc = (crc & 1) === 0 ? crc >>> 1 : 0xedb88320 ^ (crc >>> 1);
  }
  return crc;
});

/** CRC-32 and size of one member's content. */
class Checksum {
  #crc = 0xffffffff;
  #size = 0;

  add(data: Uint8Array): void {
    let crc = this.#crc;
    for (const byte of data) {
      crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
    }
    this.#crc = crc;
    this.#size += data.length;
  }

  /** Compares with the trailer that ends at `end`: CRC32, then the size modulo 2^32. */
  matches(source: ByteSource, end: number): boolean {
    const trailer = new Uint8Array(TRAILER_BYTES);
    if (end < TRAILER_BYTES || source.read(end - TRAILER_BYTES, trailer) < TRAILER_BYTES) {
      return false;
    }
    const view = new DataView(trailer.buffer);
    return view.getUint32(0, true) === ~this.#crc >>> 0 && view.getUint32(4, true) === this.#size % 2 ** 32;
  }
}
