import fc from 'fast-check';
import { levelIndex, type Change, type Format, type Outcome, type Words } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { hex, toBigint } from '@granule/geometry/bits';
import { ensure } from './law.js';

export const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];

/** Levels that a walk of this format can reach. */
export function levelsOf(format: Format): readonly Level[] {
  return LEVELS.filter((level) => level >= format.geometry.startLevel);
}

/** Levels at which the numbers say that there are leaves. */
export function leafLevels(format: Format): readonly Level[] {
  return levelsOf(format).filter((level) => format.numbers.leafType[levelIndex(level)] !== -1);
}

export const or = (a: Readonly<Words>, b: Readonly<Words>): Words => ({ lo: (a.lo | b.lo) >>> 0, hi: (a.hi | b.hi) >>> 0 });

export const flip = (a: Readonly<Words>, b: Readonly<Words>): Words => ({ lo: (a.lo ^ b.lo) >>> 0, hi: (a.hi ^ b.hi) >>> 0 });

export const changed = (w: Readonly<Words>, c: Change): Words => ({
  lo: ((w.lo & ~c.loClear) | c.loSet) >>> 0,
  hi: ((w.hi & ~c.hiClear) | c.hiSet) >>> 0,
});

export const big = (w: Readonly<Words>): bigint => toBigint(w.lo, w.hi);

export const text = (w: Readonly<Words>): string => hex(big(w));

/** The value of an outcome that must be done. */
export function valueOf<T>(assertion: string, outcome: Outcome<T>, what: string): T {
  ensure(
    assertion,
    outcome.kind === 'done',
    () => `${what} is ${outcome.kind}${outcome.kind === 'done' ? '' : ` (${outcome.id}: ${outcome.sentence})`}`,
  );
  return outcome.value;
}

/** Any 64-bit word, with the type bits of a leaf, a table or neither of this level. */
export function anyWord(format: Format, level: Level): fc.Arbitrary<Words> {
  const { typeMask, leafType, tableType } = format.numbers;
  const i = levelIndex(level);
  const half = fc.integer({ min: 0, max: 0xffff_ffff });
  const types = [leafType[i], tableType[i]].filter((each) => each !== -1);
  const random = fc.record({ lo: half, hi: half });
  const typed = fc.tuple(random, fc.constantFrom(...types)).map(([w, type]) => ({ lo: ((w.lo & ~typeMask[i]) | type) >>> 0, hi: w.hi }));
  return fc.oneof(random, typed, typed, fc.record({ lo: fc.constant(0), hi: half }), fc.constant({ lo: 0, hi: 0 }));
}

/** Domain of a mask of a word. */
export const mask = (lo: number, hi: number): Words => ({ lo: lo >>> 0, hi: hi >>> 0 });
