import fc from 'fast-check';
import type { Format } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';

/** Bits of an output address that the format can name. */
export function outputBits(format: Format): number {
  const { oaPlainBits, oaTopBits } = format.numbers;
  return Math.min(format.geometry.oaBits, oaPlainBits + oaTopBits);
}

/** Output addresses aligned to 2^shift: anything, the last one, and those whose bits beyond the plain ones are set. */
export function outputs(format: Format, shift: number): fc.Arbitrary<number> {
  const bits = outputBits(format);
  if (bits <= shift) {
    return fc.constant(0);
  }
  const last = 2 ** (bits - shift) - 1;
  return fc.oneof(
    fc.bigInt({ min: 0n, max: BigInt(last) }).map((frame) => Number(frame) * 2 ** shift),
    fc.integer({ min: 0, max: 63 }).map((back) => Math.max(0, last - back) * 2 ** shift),
    fc.integer({ min: shift, max: bits - 1 }).map((bit) => 2 ** bit),
  );
}

/** Ranges of at least a byte inside the format's input size: near its ends, across entries of each level, aligned or not. */
export function ranges(format: Format): fc.Arbitrary<{ readonly ia: number; readonly size: number }> {
  const { iaBits, granule, startLevel } = format.geometry;
  const limit = 2 ** iaBits;
  const levels = ([3, 2, 1, 0, -1] as Level[]).filter((level) => level >= startLevel && levelShift(granule, level) < iaBits);
  const edges = levels.flatMap((level) => [2 ** levelShift(granule, level), limit - 2 ** levelShift(granule, level)]);
  const page = 2 ** levelShift(granule, 3);
  return fc
    .record({
      edge: fc.constantFrom(0, ...edges),
      pages: fc.integer({ min: -2, max: 2 }),
      size: fc.constantFrom(1, page, 3 * page, ...levels.map((l) => 2 ** levelShift(granule, l))),
    })
    .map(({ edge, pages, size }) => {
      const ia = Math.min(Math.max(0, edge + pages * page), limit - page);
      return { ia, size: Math.min(size, limit - ia) };
    });
}
