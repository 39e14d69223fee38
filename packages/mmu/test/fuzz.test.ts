import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { describe, expect, it } from 'vitest';
import { context, createTranslation, faultOf, mapWords, translate, type Access, type Context, type Translation } from '../src/index.js';
import { HashMemory, Random, randomAccess, randomAddress, randomFeatures, randomRegisters } from './random.js';

const SEED = Number(process.env['GRANULE_FUZZ_SEED'] ?? 1);
const RUNS = Number(process.env['GRANULE_FUZZ_RUNS'] ?? 20_000);
/** Addresses for each register set. */
const PER_CONTEXT = 8;

type State = 'armv8' | 'armv7';

/** Fetches at most: each level of stage 1 costs one and a stage-2 walk, the output another stage-2 walk. */
function bound({ regimes, stage2 }: Context, access: Access): number {
  const stage = regimes.get(access.regime)!;
  const one = Math.max(stage.lower?.format.geometry.levels ?? 0, stage.upper?.format.geometry.levels ?? 0);
  const two = stage.virtualised ? (stage2?.tables?.format.geometry.levels ?? 0) : 0;
  return one * (two + 1) + two;
}

/** What a result says, as a value. */
function said(out: Translation): unknown {
  if (!out.ok) return faultOf(out);
  const { output, attributes, shareability, permissions, shift, level1, level2 } = out;
  return { output, attributes, shareability, permissions, shift, level1, level2 };
}

function wellFormed(out: Translation, state: State, va: bigint): void {
  const { faults } = state === 'armv8' ? armv8 : armv7Lpae;
  if (out.ok) {
    if (!Number.isSafeInteger(out.output) || out.output < 0 || out.output >= 2 ** 52) throw new Error(`output ${out.output}`);
    const par = faults.parSuccess!(out);
    if ((par & 1n) !== 0n || par >= 1n << 64n) throw new Error(`PAR ${par.toString(16)}`);
    return;
  }
  const fault = faultOf(out);
  if ((faults.par(fault) & 1n) !== 1n) throw new Error('PAR.F of a fault');
  faults.abort!(fault, { from: 1, to: fault.stage, va, write: fault.access === 'write' });
}

/** Hardware's own writes done, the same access finds the same and has nothing left to write. */
function settles(decoded: Context, memory: HashMemory, va: bigint, access: Access, out: Translation): void {
  const before = said(out);
  const { updates } = out;
  if (updates.count === 0) return;
  for (let i = 0; i < updates.count; i += 1) memory.written.set(updates.address[i], { lo: updates.newLo[i], hi: updates.newHi[i] });
  translate(decoded, memory, va, access, out);
  expect(said(out)).toEqual(before);
  expect(out.updates.count).toBe(0);
}

function agreesWithMap(decoded: Context, memory: HashMemory, va: bigint, access: Access, out: Translation): void {
  const mapped = { output: 0, permissions: 0, shift: 0 };
  const ok = mapWords(decoded, memory, Number(va & 0xffff_ffffn), Number(va >> 32n), access, mapped);
  const { output, permissions, shift } = out;
  expect(ok).toBe(out.ok && out.updates.count === 0);
  if (ok) expect(mapped).toEqual({ output, permissions, shift });
}

describe('random registers, memory and addresses', () => {
  it(`neither throw nor hang, stay within the fetches of the architecture, and settle (seed ${SEED}, ${RUNS} runs)`, () => {
    const random = new Random(SEED);
    const out = createTranslation();
    let translated = 0;
    for (let run = 0; run < RUNS; run += PER_CONTEXT) {
      const seed = random.word();
      const own = new Random(seed);
      const state: State = own.chance(4) ? 'armv7' : 'armv8';
      const backend = state === 'armv8' ? armv8 : armv7Lpae;
      const decoded = context(backend, randomFeatures(own), randomRegisters(own, state));
      if (decoded.kind !== 'done') {
        expect(decoded.kind).toBe('not-modelled');
        continue;
      }
      const regimes = [...decoded.value.regimes.keys()];
      for (let i = 0; i < PER_CONTEXT; i += 1) {
        const memory = new HashMemory(own);
        const access = randomAccess(own, regimes);
        const { lower, upper } = decoded.value.regimes.get(access.regime)!.control;
        const va = randomAddress(own, state, upper === undefined ? [lower.iaBits] : [lower.iaBits, upper.iaBits]);
        try {
          if (translate(decoded.value, memory, va, access, out)) translated += 1;
          expect(out.fetches.count).toBeLessThanOrEqual(bound(decoded.value, access));
          wellFormed(out, state, va);
          agreesWithMap(decoded.value, memory, va, access, out);
          settles(decoded.value, memory, va, access, out);
        } catch (error) {
          throw new Error(`seed ${seed}, address ${i} (0x${va.toString(16)}, ${JSON.stringify(access)}): ${(error as Error).message}`, { cause: error });
        }
      }
    }
    expect(translated / RUNS).toBeGreaterThan(0.1);
  }, 3_600_000);
});
