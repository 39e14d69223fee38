import { lpa2Problem } from './features.js';
import { FINAL_LEVEL, GRANULES, MAX_CONCATENATED, type Granule, type Level } from './granule.js';
import { refuse, type Refused } from './refusal.js';

/** A stage-2 table whose start level is still open. */
export interface Stage2Shape {
  readonly granule: Granule;
  readonly iaBits: number;
  readonly oaBits: number;
  readonly ds: boolean;
  readonly paBits: number;
  readonly ttst: boolean;
}

interface Condition {
  readonly needs?: 'ttst' | 'ds';
  /** The smallest physical address size, bits. */
  readonly paBits?: number;
}

/** The start levels that VTCR_EL2.SL0 and SL2 can encode, and on what condition (AArch64.S2InvalidSL). */
const START_LEVELS: Readonly<Record<Granule, Partial<Record<Level, Condition>>>> = {
  '4K': { 3: { needs: 'ttst' }, 2: {}, 1: {}, 0: { paBits: 44 }, [-1]: { needs: 'ds', paBits: 52 } },
  '16K': { 3: {}, 2: {}, 1: { paBits: 42 }, 0: { needs: 'ds', paBits: 52 } },
  '64K': { 3: {}, 2: {}, 1: { paBits: 44 } },
};

const SOURCE = 'DDI 0487, VTCR_EL2.SL0 and SL2; AArch64.S2InvalidSL';

export function startLevelNeedsDs(granule: Granule, level: Level | undefined): boolean {
  return level !== undefined && START_LEVELS[granule][level]?.needs === 'ds';
}

/**
 * The IPA sizes of a start level: from one bit more than the levels below resolve, to a whole table more with 16 tables concatenated
 * (AArch64.S2InconsistentSL). Feature and size limits of the machine come on top.
 */
export function startLevelRange(granule: Granule, level: Level): { readonly min: number; readonly max: number } {
  const { pageShift, stride } = GRANULES[granule];
  const min = (FINAL_LEVEL - level) * stride + pageShift + 1;
  return { min, max: min + stride - 1 + Math.log2(MAX_CONCATENATED) };
}

function conditionProblem({ granule, ds, ttst, paBits }: Stage2Shape, level: Level): Refused | undefined {
  const condition = START_LEVELS[granule][level];
  if (condition === undefined) return refuse('start-level-reserved', `start level ${level} does not exist with ${granule} pages`, SOURCE);
  if (condition.needs === 'ttst' && !ttst) {
    return refuse('needs-ttst', `start level ${level} with ${granule} pages needs FEAT_TTST`, SOURCE);
  }
  if (condition.needs === 'ds' && !ds) return lpa2Problem(`start level ${level}`, granule);
  if (paBits >= (condition.paBits ?? 0)) return undefined;
  const needs = `a physical address size of ${condition.paBits} bits or more`;
  const sentence = `start level ${level} with ${granule} pages needs ${needs}, not ${paBits}`;
  return refuse('pa-too-small-for-start-level', sentence, SOURCE);
}

/** Why an IPA size does not fit a start level; undefined where it does. */
export function rangeProblem(granule: Granule, iaBits: number, level: Level): Refused | undefined {
  const { min, max } = startLevelRange(granule, level);
  const source = 'DDI 0487 D8.2, Concatenated translation tables; AArch64.S2InconsistentSL';
  if (iaBits < min) {
    const sentence = `start level ${level} with ${granule} pages needs an IPA of ${min} bits or more, not ${iaBits}`;
    return refuse('start-level-too-shallow', sentence, source);
  }
  if (iaBits <= max) return undefined;
  const tables = 2 ** (iaBits - max) * MAX_CONCATENATED;
  const takes = `start level ${level} takes ${tables} tables for a ${iaBits}-bit IPA with ${granule} pages`;
  const sentence = `${takes}; at most ${MAX_CONCATENATED} may be concatenated`;
  return refuse('concatenation-over-16', sentence, source);
}

/** Why a stage-2 table may not start at a level; undefined where it may. */
export function startLevelProblem(shape: Stage2Shape, level: Level): Refused | undefined {
  return conditionProblem(shape, level) ?? rangeProblem(shape.granule, shape.iaBits, level);
}

/** Legal start levels, fewest levels first. */
export function legalLevels(shape: Stage2Shape): readonly Level[] {
  return ([3, 2, 1, 0, -1] as const).filter((level) => startLevelProblem(shape, level) === undefined);
}
