import { type Outcome, done, refused } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { hex, parseSize, parseWord } from '@granule/geometry/bits';
import type { Tables } from '@granule/pgtable';

const TOP = 2n ** 64n;

/** First address that these tables translate: 0, or 2^64 − 2^iaBits of an upper range. */
export function firstAddress(tables: Tables): bigint {
  const { upper, geometry } = tables.format;
  return upper ? TOP - 2n ** BigInt(geometry.iaBits) : 0n;
}

/** The offset of a 64-bit address from the start of the range of these tables; undefined where it is outside. */
export function offsetIn(tables: Tables, address: bigint): InputAddress | undefined {
  const offset = address - firstAddress(tables);
  return offset >= 0n && offset < 2n ** BigInt(tables.format.geometry.iaBits) ? Number(offset) : undefined;
}

/** 64-bit addresses, half-open; `end` may be 2^64. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** The part of a range that these tables translate, as offsets; undefined where there is none. */
export function clip(tables: Tables, range: AddressRange): { readonly start: InputAddress; readonly end: InputAddress } | undefined {
  const first = firstAddress(tables);
  const size = 2n ** BigInt(tables.format.geometry.iaBits);
  const start = range.start > first ? range.start - first : 0n;
  const end = range.end < first + size ? range.end - first : size;
  return start < end ? { start: Number(start), end: Number(end) } : undefined;
}

/**
 * `A-B` (half-open) or `A+LENGTH`, numbers as `0x…` or decimal, the length with K, M, G too. Refused: `range.syntax`, `range.empty`.
 */
export function parseRange(text: string): Outcome<AddressRange> {
  const match = /^([^-+]+)([-+])([^-+]+)$/.exec(text);
  const start = match === null ? undefined : parseWord(match[1]);
  const size = match?.[2] === '+' ? parseSize(match[3]) : undefined;
  const end = size !== undefined && start !== undefined ? start + BigInt(size) : match?.[2] === '-' ? parseWord(match[3]) : undefined;
  if (start === undefined || end === undefined) {
    return refused('range.syntax', `The range ${text} is neither START-END nor START+LENGTH.`, 'granule dump --range');
  }
  if (end <= start) {
    return refused('range.empty', `The range ${text} is empty: ${hex(end)} is not above ${hex(start)}.`, 'granule dump --range');
  }
  return done({ start, end });
}
