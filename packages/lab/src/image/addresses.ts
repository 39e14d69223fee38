import { type Format, type Outcome, type RegimeRoot, done, refused } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { hex, parseSize, parseWord } from '@granule/geometry/bits';
import type { Tables } from '@granule/pgtable';

/** Tables, and which of their addresses go through them. */
type PartialTables = Tables & Pick<RegimeRoot, 'range'>;

/** Bits of a virtual address: 32 in the PL1&0 regime, 64 otherwise. */
export function virtualBits(format: Format): 32 | 64 {
  return format.regime === 'pl10' ? 32 : 64;
}

/** First address that these tables translate: 0, or 2^64 − 2^iaBits (`pl10`: 2^32 − 2^iaBits) of an upper range. */
export function firstAddress({ format }: Tables): bigint {
  return format.upper ? 2n ** BigInt(virtualBits(format)) - 2n ** BigInt(format.geometry.iaBits) : 0n;
}

/** The offsets that go through these tables: all that their format translates, or the part that registers leave them. */
function translated({ format, range }: PartialTables): { readonly start: InputAddress; readonly end: InputAddress } {
  return range ?? { start: 0, end: 2 ** format.geometry.iaBits };
}

/** The offset of a 64-bit address from the start of the range of these tables; undefined where it is outside. */
export function offsetIn(tables: PartialTables, address: bigint): InputAddress | undefined {
  const { start, end } = translated(tables);
  const offset = address - firstAddress(tables);
  return offset >= BigInt(start) && offset < BigInt(end) ? Number(offset) : undefined;
}

/** 64-bit addresses, half-open; `end` may be 2^64. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** The part of a range that these tables translate, as offsets; undefined where there is none. */
export function clip(
  tables: PartialTables,
  range: AddressRange,
): { readonly start: InputAddress; readonly end: InputAddress } | undefined {
  const part = translated(tables);
  const first = firstAddress(tables);
  const from = first + BigInt(part.start);
  const to = first + BigInt(part.end);
  const start = range.start > from ? range.start : from;
  const end = range.end < to ? range.end : to;
  return start < end ? { start: Number(start - first), end: Number(end - first) } : undefined;
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
