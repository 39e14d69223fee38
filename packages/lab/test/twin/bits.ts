/** Bits of 64-bit words, the pseudocode's way: `slice(x, 47, 12)` is x<47:12>. */

export const bit = (word: bigint, at: number): boolean => ((word >> BigInt(at)) & 1n) === 1n;

export const slice = (word: bigint, msb: number, lsb: number): bigint => BigInt.asUintN(msb - lsb + 1, word >> BigInt(lsb));

export const field = (word: bigint, msb: number, lsb: number): number => Number(slice(word, msb, lsb));

export const isZero = (word: bigint, msb: number, lsb: number): boolean => msb < lsb || slice(word, msb, lsb) === 0n;

export const isOnes = (word: bigint, msb: number, lsb: number): boolean => msb < lsb || slice(word, msb, lsb) === (1n << BigInt(msb - lsb + 1)) - 1n;

/** Rounded down to a multiple of 2^shift. */
export const align = (word: bigint, shift: number): bigint => (word >> BigInt(shift)) << BigInt(shift);

export function bigEndianReverse(word: bigint): bigint {
  let reversed = 0n;
  for (let byte = 0; byte < 8; byte += 1) reversed = (reversed << 8n) | slice(word, 8 * byte + 7, 8 * byte);
  return reversed;
}
