import { describe, expect, it } from 'vitest';
import {
  bigintHigh, bigintLow, fieldWidth, placeField, putSlot, slotAt, slotMask, takeField, takeSlot, toBigint,
} from '../src/bits/index.js';
import { random } from './random.js';

const SEED = 0x51075;
const below = random(SEED);
const word64 = (): bigint => (BigInt(below(2 ** 32)) << 32n) | BigInt(below(2 ** 32));

/** Every field of a 64-bit word, each with a word and a value of its own. */
const CASES = Array.from({ length: 64 }, (_, lsb) =>
  Array.from({ length: 64 - lsb }, (__, more) => ({ field: { msb: lsb + more, lsb }, word: word64(), value: word64() })),
).flat();

/** The bits of a word, least significant first, and back: what the twins are made of. */
const reversed = (text: string): string => Array.from(text).reverse().join('');
const bitsOf = (word: bigint): string => reversed(word.toString(2).padStart(64, '0'));
const wordOf = (bits: string): bigint => BigInt(`0b${reversed(bits)}`);

describe('fields of a word agree with its digits', () => {
  it('takeField reads the digits lsb … msb, fieldWidth counts them', () => {
    for (const { field, word } of CASES) {
      const digits = bitsOf(word).slice(field.lsb, field.msb + 1);
      expect([takeField(field, word), fieldWidth(field)], `${field.msb}:${field.lsb} of ${word}`).toEqual([wordOf(digits), digits.length]);
    }
  });

  it('placeField puts the low digits of a value there, and nothing elsewhere', () => {
    for (const { field: { msb, lsb }, value } of CASES) {
      const placed = '0'.repeat(lsb) + bitsOf(value).slice(0, msb - lsb + 1) + '0'.repeat(63 - msb);
      expect(placeField({ msb, lsb }, value), `${value} at ${msb}:${lsb}`).toBe(wordOf(placed));
    }
  });

  it('placeField of −1 is a field of ones', () => {
    expect(placeField({ msb: 54, lsb: 53 }, -1n)).toBe(0x60_0000_0000_0000n);
  });
});

describe('slots agree with their bigint twins', () => {
  it('there is one for each field of at most 31 bits inside a half, and for no other', () => {
    for (const { field } of CASES) {
      const { msb, lsb } = field;
      const inOneHalf = Math.floor(msb / 32) === Math.floor(lsb / 32);
      expect(slotAt(field) !== undefined, `${msb}:${lsb}`).toBe(inOneHalf && msb - lsb < 31);
    }
  });

  it('takeSlot is takeField, whether the halves are signed or not', () => {
    for (const { field, word } of CASES) {
      const slot = slotAt(field);
      if (slot === undefined) continue;
      const [lo, hi] = [bigintLow(word), bigintHigh(word)];
      const want = Number((word >> BigInt(field.lsb)) % (1n << BigInt(field.msb - field.lsb + 1)));
      expect([takeSlot(slot, lo, hi), takeSlot(slot, lo | 0, hi | 0)], `${field.msb}:${field.lsb} of ${word}`).toEqual([want, want]);
    }
  });

  it('putSlot adds the value at its place to what is there, and slotMask is a field of ones', () => {
    for (const { field, word, value } of CASES) {
      const slot = slotAt(field);
      if (slot === undefined) continue;
      const scale = 1n << BigInt(field.lsb);
      const count = 1n << BigInt(field.msb - field.lsb + 1);
      const others = word - ((word / scale) % count) * scale;
      const words = { lo: bigintLow(others), hi: bigintHigh(others) };
      putSlot(words, slot, Number(value % 2n ** 32n));
      expect(toBigint(words.lo, words.hi), `${value} at ${field.msb}:${field.lsb}`).toBe(others + (value % count) * scale);
      expect(Math.min(words.lo, words.hi)).toBeGreaterThanOrEqual(0);
      const mask = slotMask(slot);
      expect(toBigint(mask.lo, mask.hi)).toBe((count - 1n) * scale);
    }
  });
});
