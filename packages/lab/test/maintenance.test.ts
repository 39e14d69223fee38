import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { violationText } from '@granule/cache-tlb';
import { commandSequences, commandText, effectText, type Command } from '@granule/conformance';
import fc from 'fast-check';
import type { Effect } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { formatOf, random, Rig, setupName, type Setup } from './maintenance-rig.js';

/**
 * Every operation of the page-table core under the adversarial TLB: long random command sequences, with accesses of a guest on two PEs between their single
 * effects. Each access finds what the tables said at a moment that the architecture allows; the judge has nothing to say.
 */
const RUNS = Number(process.env['GRANULE_MAINTENANCE_RUNS'] ?? 15);
const SEED = Number(process.env['GRANULE_MAINTENANCE_SEED'] ?? 20);
const LENGTH = 40;
const FULL = { bbm: 0, ttl: true, tlbirange: true } as const;

const SETUPS: readonly Setup[] = [
  { backend: armv8, regime: 's2', granule: '4K', iaBits: 40, startLevel: 1, features: FULL },
  { backend: armv8, regime: 's2', granule: '4K', iaBits: 40, startLevel: 1, features: {} },
  { backend: armv8, regime: 's2', granule: '4K', iaBits: 40, startLevel: 1, features: { ...FULL, bbm: 2 } },
  { backend: armv8, regime: 's2', granule: '16K', iaBits: 40, startLevel: 2, features: FULL },
  { backend: armv8, regime: 's2', granule: '64K', iaBits: 42, startLevel: 2, features: FULL },
  { backend: armv8, regime: 'el10', granule: '4K', iaBits: 39, startLevel: 1, features: { ttl: true } },
  { backend: armv8, regime: 'el2', granule: '4K', iaBits: 39, startLevel: 1, features: {} },
  { backend: armv8, regime: 'el2', granule: '16K', iaBits: 36, startLevel: 2, features: { ttl: true } },
  { backend: armv8, regime: 'el10', granule: '4K', iaBits: 39, startLevel: 1, features: FULL },
  { backend: armv8, regime: 'el2', granule: '4K', iaBits: 39, startLevel: 1, features: { ttl: true }, by: 'hyp' },
  { backend: armv8, regime: 's2', granule: '4K', iaBits: 40, startLevel: 1, features: FULL, by: 'linux' },
  { backend: armv8, regime: 's2', granule: '16K', iaBits: 40, startLevel: 2, features: {}, by: 'linux' },
  { backend: armv7Lpae, regime: 's2', granule: '4K', iaBits: 40, startLevel: 1, features: {} },
  { backend: armv7Lpae, regime: 's2', granule: '4K', iaBits: 40, startLevel: 1, features: {}, by: 'linux' },
  { backend: armv7Lpae, regime: 'pl10', granule: '4K', iaBits: 32, startLevel: 1, features: {} },
  { backend: armv7Lpae, regime: 'pl2', granule: '4K', iaBits: 32, startLevel: 1, features: {} },
  { backend: armv7Lpae, regime: 'pl2', granule: '4K', iaBits: 32, startLevel: 1, features: {}, by: 'hyp' },
];

/** First and last pages of what the commands are about. */
function addressesOf(commands: readonly Command[], limit: number, page: number): readonly number[] {
  const ends = commands.flatMap((each) => [each.ia, each.ia + ('size' in each ? each.size - 1 : 0)]);
  const pages = new Set(ends.map((each) => Math.floor(each / page) * page));
  return [...pages].filter((each) => each < limit).slice(0, 16);
}

function rigFor(setup: Setup, commands: readonly Command[], seed: number, lost?: (effect: Effect) => boolean): Rig {
  const { iaBits, pageShift } = formatOf(setup).geometry;
  // A guest in AArch32 has addresses of 32 bits, stage 1 on or off.
  const limit = 2 ** (setup.backend === armv7Lpae ? 32 : iaBits);
  return new Rig(setup, [0, ...addressesOf(commands, limit, 2 ** pageShift)], random(seed), lost);
}

function runClean(setup: Setup, commands: readonly Command[], seed: number): void {
  const rig = rigFor(setup, commands, seed);
  try {
    for (const command of commands) rig.perform(command);
    const { violations } = rig.judge.finish();
    if (violations.length > 0) throw new Error(violations.map(violationText).join('\n'));
  } catch (error) {
    const log = rig.log.map((each, i) => `${i + 1} PE ${'pe' in each ? each.pe : '-'} ${effectText(each)}`).slice(-80);
    throw new Error([String(error), ...commands.map(commandText), ...log].join('\n'), { cause: error });
  }
  rig.destroy();
}

describe(`every operation is clean under the adversarial TLB (GRANULE_MAINTENANCE_SEED=${SEED})`, () => {
  for (const setup of SETUPS) {
    it(setupName(setup), () => {
      const law = fc.property(commandSequences(formatOf(setup), LENGTH), fc.integer({ min: 0, max: 2 ** 31 }), (commands, seed) => {
        runClean(setup, commands, seed);
      });
      fc.assert(law, { numRuns: RUNS, seed: SEED });
    }, Math.max(120_000, RUNS * 2000));
  }
});

/** Whether guests find, where maintenance gets lost and without the judge, what the tables do not allow, in one of so many runs. */
function isSeen(setup: Setup, lost: (effect: Effect) => boolean, runs: number): boolean {
  const sequences = fc.sample(commandSequences(formatOf(setup), LENGTH), { numRuns: runs, seed: SEED });
  return sequences.some((commands, index) => {
    const rig = rigFor(setup, commands, index, lost);
    try {
      for (const command of commands) rig.perform(command);
      return false;
    } catch (error) {
      if (error instanceof Error && /^PE [01]: .* the tables said/.test(error.message)) return true;
      throw error;
    }
  });
}

const [stage2] = SETUPS;
const [armv7Stage2] = SETUPS.filter(({ backend }) => backend === armv7Lpae);
const FAULTS: readonly (readonly [string, Setup, (effect: Effect) => boolean])[] = [
  ['every TLBI', stage2, ({ type }) => type === 'tlbi'],
  ['TLBI by IPA', stage2, (effect) => effect.type === 'tlbi' && effect.op.includes('IPAS2')],
  ['TLBI of stage 1 after that by IPA', stage2, (effect) => effect.type === 'tlbi' && effect.op === 'VMALLE1IS'],
  ['the DSB that completes a TLBI', stage2, (effect) => effect.type === 'dsb' && effect.domain === 'ish'],
  ['every TLBI', armv7Stage2, ({ type }) => type === 'tlbi'],
  ['the DSB that completes a TLBI', armv7Stage2, (effect) => effect.type === 'dsb' && effect.domain === 'ish'],
  ['every TLBI', SETUPS[5], ({ type }) => type === 'tlbi'],
];

describe('guests see what gets lost', () => {
  for (const [name, setup, lost] of FAULTS) {
    it(`${name}: ${setupName(setup)}`, () => {
      expect(isSeen(setup, lost, 300)).toBe(true);
    }, 60_000);
  }
});
