import { high32 } from './halves.js';

/**
 * An address that goes into a stage of translation (VA or IPA): an exact integer, 0 … 2^52. A plain number is assignable, an output address
 * is not.
 */
export type InputAddress = number & { readonly __address?: 'ia' };

/**
 * An address that comes out of a stage of translation (IPA or PA): an exact integer, 0 … 2^52. A plain number is assignable, an input
 * address is not.
 */
export type OutputAddress = number & { readonly __address?: 'oa' };

export type Address = InputAddress | OutputAddress;

/** The flavour of A where it has one; a number otherwise (`alignDown(4097, 12)` is a number, not the literal type 4097). */
export type SameAddress<A extends number> = '__address' extends keyof A ? A : number;

/** The largest value of an address: the end, exclusive, of a 52-bit address space. */
export const MAX_ADDRESS = 4503599627370496;

const POWERS: readonly number[] = Array.from({ length: 53 }, (_, n) => 2 ** n);

/** 2^n. Domain: n 0 … 52. */
export function pow2(n: number): number {
  return POWERS[n];
}

/** Whether n is an address: an integer, 0 … 2^52 (inclusive, since the end of a range is an address too). Domain: any number. */
export function checkAddress(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n <= MAX_ADDRESS;
}

/** The part of a below 2^shift. Domain: a 0 … 2^53 − 1, shift 0 … 52. */
function offset(a: number, shift: number): number {
  if (shift < 32) return a & ((1 << shift) - 1);
  const high = high32(a) & ((1 << (shift - 32)) - 1);
  return high * 4294967296 + (a >>> 0);
}

/** a rounded down to a multiple of 2^shift. Domain: a 0 … 2^53 − 1, shift 0 … 52. */
export function alignDown<A extends number>(a: A, shift: number): SameAddress<A> {
  return (a - offset(a, shift)) as SameAddress<A>;
}

/** a rounded up to a multiple of 2^shift; exact, and at most 2^53. Domain: a 0 … 2^52, shift 0 … 52. */
export function alignUp<A extends number>(a: A, shift: number): SameAddress<A> {
  const below = offset(a, shift);
  return (below === 0 ? a : a - below + POWERS[shift]) as SameAddress<A>;
}

/** Whether a is a multiple of 2^shift. Domain: a 0 … 2^53 − 1, shift 0 … 52. */
export function isAligned(a: number, shift: number): boolean {
  return offset(a, shift) === 0;
}

/** `a / 2^shift`, rounded down: a frame number. Domain: a 0 … 2^53 − 1, shift 0 … 52. */
export function shiftDown(a: number, shift: number): number {
  return Math.floor(a / POWERS[shift]);
}

/** Bits [shift + bits − 1 : shift] of a: a table index. Domain: a 0 … 2^53 − 1, shift 0 … 52, bits 1 … 31. */
export function fieldOf(a: number, shift: number, bits: number): number {
  const mask = -1 >>> (32 - bits);
  if (shift >= 32) return (high32(a) >>> (shift - 32)) & mask;
  if (shift + bits <= 32) return (a >>> shift) & mask;
  return ((a >>> shift) | (high32(a) << (32 - shift))) & mask;
}
