const TWO_32 = 4294967296;

/** Bits 31:0, unsigned. Domain: integers 0 … 2^53 − 1. */
export function low32(a: number): number {
  return a >>> 0;
}

/** Bits 52:32, unsigned: `a / 2^32`, rounded down. Domain: integers 0 … 2^53 − 1. */
export function high32(a: number): number {
  return Math.floor(a / TWO_32);
}

/** `hi * 2^32 + lo`. Domain: lo any 32-bit value (a negative one is read as its unsigned twin), hi 0 … 2^21 − 1. */
export function fromHalves(lo: number, hi: number): number {
  return hi * TWO_32 + (lo >>> 0);
}

/** The 64-bit word of two halves. Domain: any 32-bit values, signed or unsigned; the result is 0 … 2^64 − 1. */
export function toBigint(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

/** Bits 31:0 of a word, unsigned. Domain: any bigint; a negative one is read as two's complement. */
export function bigintLow(value: bigint): number {
  return Number(value & 0xffff_ffffn);
}

/** Bits 63:32 of a word, unsigned. Domain: any bigint; a negative one is read as two's complement. */
export function bigintHigh(value: bigint): number {
  return Number((value >> 32n) & 0xffff_ffffn);
}
