import type { ByteSource } from '@granule/contract';
import { strFromU8 } from 'fflate';

const PIECE_BYTES = 2 ** 16;
/** A line of the trace buffer fits in TRACE_SEQ_BUFFER_SIZE (8 KiB, linux/trace_seq.h) and a little. */
const MAX_LINE = 16384;
const NEWLINE = 10;

/** A whole text (UTF-8), without a byte order mark. */
export function textOf(source: ByteSource): string {
  const bytes = new Uint8Array(source.size);
  const got = source.read(0, bytes);
  return strFromU8(bytes.subarray(0, got)).replace(/^\u{feff}/u, '');
}

/** The lines of a text (UTF-8), read piece by piece, without their ends. Of a longer line than 16 KiB only the beginning is given. */
export function* linesOf(source: ByteSource | string): Generator<string> {
  if (typeof source === 'string') {
    yield* linesOfText(source);
    return;
  }
  const piece = new Uint8Array(PIECE_BYTES);
  let rest = new Uint8Array(0);
  for (let offset = 0; offset < source.size; ) {
    const got = source.read(offset, piece);
    if (got === 0) {
      break;
    }
    offset += got;
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0 && end < got; end = piece.indexOf(NEWLINE, start)) {
      yield lineOf(rest, piece.subarray(start, end));
      rest = new Uint8Array(0);
      start = end + 1;
    }
    if (rest.length < MAX_LINE) {
      rest = joined(rest, piece.subarray(start, got));
    }
  }
  if (rest.length > 0) {
    yield lineOf(rest, new Uint8Array(0));
  }
}

function* linesOfText(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    yield withoutReturn(text.slice(start, Math.min(end, start + MAX_LINE)));
    start = end + 1;
  }
}

function lineOf(rest: Uint8Array, last: Uint8Array): string {
  const bytes = rest.length === 0 ? last : joined(rest, last);
  return withoutReturn(strFromU8(bytes.subarray(0, MAX_LINE)));
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
