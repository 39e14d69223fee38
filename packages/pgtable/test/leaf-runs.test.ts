import { armv8 } from '@granule/armv8';
import { fake } from '@granule/conformance';
import type { Backend, Format } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import type { Level, TableGeometry } from '@granule/geometry';
import { bigintHigh, bigintLow, toBigint } from '@granule/geometry/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changeHalves, fillLeaves, fillLeavesPlain, leafEnd, plainRun, placeOutput, uniformRun } from '../src/leaf-runs.js';
import { planOf } from '../src/plan.js';
import { stage2, value } from './support.js';

const U64 = 2n ** 64n;
const SPANS = [12, 14, 16, 21, 25, 29, 30, 36, 39].map((shift) => 2 ** shift);

/** 1 000 entries of something else, so that what must not be touched is seen. */
const noise = (): Uint32Array => Uint32Array.from({ length: 2000 }, (_, i) => (i * 2654435761) >>> 0);

/** What any fill must come to, by bigint. */
function filled(words: Uint32Array, at: number, count: number, first: bigint, span: number): Uint32Array {
  const result = words.slice();
  for (let i = 0; i < count; i++) {
    const word = (first + BigInt(i) * BigInt(span)) % U64;
    result[at + 2 * i] = bigintLow(word);
    result[at + 2 * i + 1] = bigintHigh(word);
  }
  return result;
}

interface Fill {
  readonly at: number;
  readonly count: number;
  readonly span: number;
  readonly first: bigint;
}

/** Fills whose 52 address bits do not overflow, with any sign bit and exponent; all ones and zero (denormals) often. */
const fills: fc.Arbitrary<Fill> = fc
  .record({
    at: fc.integer({ min: 0, max: 40 }).map((entry) => 2 * entry),
    count: fc.integer({ min: 0, max: 900 }),
    span: fc.constantFrom(...SPANS),
    sign: fc.bigInt({ min: 0n, max: 1n }),
    exponent: fc.oneof(fc.constantFrom(0n, 1n, 0x7ffn, 0x7fen, 0x400n), fc.bigInt({ min: 0n, max: 0x7ffn })),
    mantissa: fc.oneof(fc.constantFrom(0n, 1n, 0x443n), fc.bigInt({ min: 0n, max: 2n ** 52n - 1n })),
  })
  .map(({ at, count, span, sign, exponent, mantissa }) => {
    const fitting = Math.max(1, Math.min(count, Number(2n ** 52n / BigInt(span)) - 1));
    const room = 2n ** 52n - BigInt(fitting) * BigInt(span);
    return { at, count: count === 0 ? 0 : fitting, span, first: (sign << 63n) | (exponent << 52n) | (mantissa % room) };
  });

describe('filling leaves', () => {
  it('writes first + i·span into entry i and nothing else, whatever sign bit and exponent the attributes make', () => {
    fc.assert(
      fc.property(fills, ({ at, count, span, first }) => {
        const words = noise();
        const expected = filled(words, at, count, first, span);
        fillLeaves(words, at, count, bigintLow(first), bigintHigh(first), span);
        expect(words).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });

  it('the plain twin does the same', () => {
    fc.assert(
      fc.property(fills, ({ at, count, span, first }) => {
        const words = noise();
        const expected = filled(words, at, count, first, span);
        fillLeavesPlain(words, at, count, bigintLow(first), bigintHigh(first), span);
        expect(words).toEqual(expected);
      }),
    );
  });

  it.each([
    ['an exponent of all ones, which is a NaN as a double', 0x7ff0_0000_0000_0443n],
    ['the same with the sign bit', 0xfff8_0000_0000_0443n],
    ['an exponent of zero, which is a denormal', 0x0000_0000_4000_0443n],
    ['a negative zero', 0x8000_0000_0000_0000n],
    ['zero', 0n],
  ])('%s', (_, first) => {
    const words = noise();
    const expected = filled(words, 6, 512, first, 4096);
    fillLeaves(words, 6, 512, bigintLow(first), bigintHigh(first), 4096);
    expect(words).toEqual(expected);
  });

  it('works on arenas in turn', () => {
    const arenas = [noise(), noise()];
    arenas.forEach((words) => fillLeaves(words, 0, 9, 0x443, 0, 4096));
    arenas.forEach((words) => expect(words).toEqual(filled(noise(), 0, 9, 0x443n, 4096)));
  });
});

describe('changing halves', () => {
  it('applies (half & ~clear) | set to every other word and answers the OR of what was there', () => {
    const half = fc.integer({ min: 0, max: 0xffff_ffff });
    const place = fc.record({ at: fc.integer({ min: 0, max: 41 }), count: fc.integer({ min: 0, max: 900 }) });
    fc.assert(
      fc.property(place, half, half, ({ at, count }, clear, set) => {
        const words = noise();
        const expected = words.slice();
        let or = 0;
        for (let i = at; i < at + 2 * count; i += 2) {
          or |= expected[i];
          expected[i] = Number((BigInt(expected[i]) & (0xffff_ffffn ^ BigInt(clear))) | BigInt(set));
        }
        expect(changeHalves(words, at, count, clear, set) | 0).toBe(or);
        expect(words).toEqual(expected);
      }),
    );
  });
});

describe('the end of a run of leaves', () => {
  it('is the first entry of another type', () => {
    const arbitrary = fc.record({
      start: fc.integer({ min: 0, max: 20 }),
      length: fc.integer({ min: 1, max: 70 }),
      tail: fc.integer({ min: 0, max: 20 }),
    });
    fc.assert(
      fc.property(arbitrary, fc.constantFrom([3, 3], [3, 1], [0x1c, 0x10]), ({ start, length, tail }, [mask, type]) => {
        const words = new Uint32Array(2 * (start + length + tail));
        for (let i = 0; i < words.length; i += 2) {
          const leaf = i >= 2 * start && i < 2 * (start + length);
          words[i] = ((0xdead_b000 + 8192 * i) & ~mask) | (leaf ? type : 0);
          words[i + 1] = 0xffff_ffff - i;
        }
        const whole = leafEnd(words, 2 * start, words.length, mask, type);
        expect(whole).toBe(2 * (start + length));
        const limit = 2 * (start + Math.ceil(length / 2));
        expect(leafEnd(words, 2 * start, limit, mask, type)).toBe(limit);
      }),
    );
  });
});

const GEOMETRIES: readonly TableGeometry[] = [
  stage2('4K', 40),
  stage2('16K', 40),
  stage2('64K', 42),
  stage2('64K', 52),
  stage2('4K', 52),
  stage2('16K', 52),
];
const FORMATS: readonly Format[] = [armv8, fake].flatMap((backend: Backend) =>
  GEOMETRIES.map((geometry) => value(backend.format('s2', { geometry }))),
);
const named = FORMATS.map((format) => [`${format.backend} ${format.geometry.granule} ${format.geometry.oaBits}-bit`, format] as const);

/** Leaf bits with the output address, by the format's own functions. */
function leafWord(format: Format, oa: number, level: Level, software: number): bigint {
  const bits = value(format.encodeLeaf({ software }, level));
  const address = value(format.encodeOutput(oa, format.geometry.pageShift));
  return toBigint(bits.lo, bits.hi) | toBigint(address.lo, address.hi);
}

describe.each(named)('%s', (_, format) => {
  const plan = planOf(format);
  const levels = ([1, 2, 3] as const).filter((level) => level >= format.geometry.startLevel && plan.hasLeaves(level));
  const outputBits = Math.min(format.geometry.oaBits, format.numbers.oaPlainBits + format.numbers.oaTopBits);

  it('places any output address as the format encodes it', () => {
    const frames = fc.bigInt({ min: 0n, max: 2n ** BigInt(outputBits - format.geometry.pageShift) - 1n });
    fc.assert(
      fc.property(frames, (frame) => {
        const oa = Number(frame) * 2 ** format.geometry.pageShift;
        const placed = placeOutput(plan, 0, 0, oa);
        const encoded = value(format.encodeOutput(oa, format.geometry.pageShift));
        expect(placed).toEqual({ lo: encoded.lo, hi: encoded.hi });
        const leaf = leafWord(format, oa, 3, 0);
        expect(plan.leafOutput(bigintLow(leaf), bigintHigh(leaf), 4)).toBe(oa);
      }),
    );
  });

  it('a uniform run ends where attributes or output stop following, and crosses the boundary of the plain address bits', () => {
    const top = 2 ** Math.min(outputBits - 1, format.numbers.oaPlainBits);
    const cases = fc.record({
      level: fc.constantFrom(...levels),
      before: fc.integer({ min: 0, max: 5 }),
      near: fc.boolean(),
      kinds: fc.array(fc.constantFrom('next', 'next', 'next', 'next', 'jump', 'other', 'zero'), { minLength: 1, maxLength: 40 }),
    });
    fc.assert(
      fc.property(cases, ({ level, before, near, kinds }) => {
        const span = plan.span[levelIndex(level)];
        const start = near ? top - before * span : before * span;
        fc.pre(start >= 0 && start + (kinds.length + 2) * span < 2 ** outputBits);
        const words = new Uint32Array(2 * kinds.length);
        kinds.forEach((kind, i) => {
          const word =
            kind === 'zero' && i > 0
              ? 0n
              : leafWord(format, start + (kind === 'jump' && i > 0 ? i + 1 : i) * span, level, kind === 'other' && i > 0 ? 1 : 0);
          words[2 * i] = bigintLow(word);
          words[2 * i + 1] = bigintHigh(word);
        });
        const end = kinds.findIndex((kind, i) => i > 0 && kind !== 'next');
        expect(uniformRun(plan, words, 0, kinds.length, level)).toBe(end === -1 ? kinds.length : end);
      }),
    );
  });

  it('fills runs, each within its plain bits, that read back one after the other', () => {
    const top = 2 ** Math.min(outputBits - 1, format.numbers.oaPlainBits);
    for (const level of levels) {
      const span = plan.span[levelIndex(level)];
      const count = 16;
      const start = top - 8 * span;
      if (start < 0) {
        continue;
      }
      const words = new Uint32Array(2 * count);
      const bits = value(format.encodeLeaf({ software: 9 }, level));
      for (let i = 0; i < count;) {
        const n = plainRun(plan, start + i * span, count - i, span);
        const first = placeOutput(plan, bits.lo, bits.hi, start + i * span);
        fillLeaves(words, 2 * i, n, first.lo, first.hi, span);
        i += n;
      }
      for (let i = 0; i < count; i++) {
        expect(toBigint(words[2 * i], words[2 * i + 1])).toBe(leafWord(format, start + i * span, level, 9));
      }
    }
  });
});
