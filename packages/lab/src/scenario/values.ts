import { z } from 'zod';

const UNITS: Readonly<Record<string, number>> = { '': 1, 'K': 2 ** 10, 'M': 2 ** 20, 'G': 2 ** 30, 'T': 2 ** 40, 'P': 2 ** 50 };
/** No leading zeros: 0777 is octal to some readers and decimal to others. */
const AMOUNT = /^(?:0x[0-9a-f]+(?:_[0-9a-f]+)*|(?:0|[1-9][0-9]*(?:_[0-9]+)*)[KMGTP]?)$/i;
const WORD = /^(?:0x[0-9a-f]+(?:_[0-9a-f]+)*|0|[1-9][0-9]*(?:_[0-9]+)*)$/i;
/** Largest address and size: 2^52, exact as a number. */
const LIMIT = 2 ** 52;

function amountOf(text: string): number {
  const plain = text.replaceAll('_', '');
  if (/^0x/i.test(plain)) {
    return Number(plain);
  }
  const [, digits, unit] = /^([0-9]+)([KMGTP]?)$/i.exec(plain)!;
  return Number(digits) * UNITS[unit.toUpperCase()];
}

/** An address or a size: a number, `0x4000_0000`, `2M`; 0 … 2^52. */
export const amount = z
  .union([z.number(), z.string()], { error: 'is not an address or a size, as 4096, 0x4000_0000 or 2M' })
  .transform((value, context) => {
    const number = typeof value === 'number' ? value : AMOUNT.test(value) ? amountOf(value) : NaN;
    if (!Number.isInteger(number) || number < 0) {
      context.addIssue({ code: 'custom', message: 'is not an address or a size, as 4096, 0x4000_0000 or 2M' });
    } else if (number > LIMIT) {
      context.addIssue({ code: 'custom', message: 'is beyond 2^52' });
    }
    return number;
  })
  .meta({ id: 'amount', description: 'An address or a size in bytes: a number, hexadecimal with 0x and _, or decimal with K, M, G, T; 0 to 2^52.' });

/** A value of up to 64 bits: a number, a bigint, `0x…`. */
export const word = z
  .union([z.number(), z.string()], { error: 'is not a value of 64 bits, as 42 or 0xffff_0000' })
  .transform((value, context) => {
    const whole = typeof value === 'string' ? WORD.test(value) : Number.isSafeInteger(value) && value >= 0;
    const number = whole ? BigInt(typeof value === 'string' ? value.replaceAll('_', '') : value) : -1n;
    if (number < 0n || number >= 2n ** 64n) {
      context.addIssue({ code: 'custom', message: 'is not a value of 64 bits, as 42 or 0xffff_0000' });
    }
    return number;
  })
  .meta({ id: 'word', description: 'A value of up to 64 bits: a number, or a string of decimal digits or hexadecimal with 0x and _.' });

/** A whole number within bounds. */
export function whole(min: number, max: number) {
  const error = `is not a whole number from ${min} to ${max}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
}

/** A power of 2 within bounds. */
export function powerOf2(min: number, max: number) {
  return whole(min, max).refine((value) => Number.isInteger(Math.log2(value)), { error: 'is not a power of 2' });
}

/** One of some numbers. */
export function oneOfNumbers<const T extends readonly number[]>(...numbers: T) {
  return z.literal(numbers, { error: ({ input }) => `${shown(input)} is none of ${numbers.join(', ')}` });
}

/** One of some words. */
export function oneOf<const T extends readonly [string, ...string[]]>(...words: T) {
  return z.enum(words, { error: ({ input }) => `${shown(input)} is none of ${words.join(', ')}` });
}

/** An object without other fields than these. */
export const fields = z.strictObject;

export const yes = z.boolean({ error: 'is not true or false' });
export const text = z.string({ error: 'is not a text' }).min(1, { error: 'is empty' });

export function shown(input: unknown): string {
  if (typeof input === 'string') {
    return JSON.stringify(input.length > 40 ? `${input.slice(0, 40)}…` : input);
  }
  return typeof input === 'number' || typeof input === 'boolean' ? String(input) : 'this';
}
