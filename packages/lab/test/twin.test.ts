import { runVectors } from '@granule/conformance/vectors';
import type { CaseQuery } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { describeCase, differs, outcomes, shrink } from './twin/differ.js';
import { generate } from './twin/generate.js';
import { generate32 } from './twin/generate32.js';
import type { TwinMachine } from './twin/machine.js';
import { Random } from './twin/random.js';
import { answer, twin } from './twin/twin.js';
import { FAMILIES, recordedCases, recordedMachines } from './vectors/read.js';

const SEED = Number(process.env['GRANULE_FUZZ_SEED'] ?? 1);
const CASES = Number(process.env['GRANULE_FUZZ_CASES'] ?? 300);
const HOUR = 3_600_000;

describe('the twin, the pseudocode of the architecture in bigint', () => {
  const machines = recordedMachines();

  it.each(FAMILIES)('answers every recorded query of %s as recorded, or as the architecture has it', (family) => {
    const results = [...runVectors(recordedCases(family), machines, twin)];
    const wrong = results.filter(({ agrees, query }) => agrees === 'neither' || (agrees === 'alternative' && query.doubt.length === 0));
    expect(wrong.map(({ case: id, index, reasons }) => `${id}#${index}: ${reasons.join('; ')}`)).toEqual([]);
    expect(results.length).toBeGreaterThan(100);
  });
});

const MAKERS = {
  ARMv8: (random: Random) => generate(random, (own: TwinMachine, query: CaseQuery) => answer(own, query, 'aarch64')),
  'ARMv7 LPAE': (random: Random) => generate32(random, (own: TwinMachine, query: CaseQuery) => answer(own, query, 'aarch32')),
};

describe('the model and its twin', () => {
  it.each(Object.entries(MAKERS))(`give the same answers to random cases of %s (seed ${SEED}, ${CASES} cases)`, (_, make) => {
    const random = new Random(SEED);
    let translated = 0;
    for (let i = 0; i < CASES; i += 1) {
      const seed = random.word();
      const generated = make(new Random(seed));
      if (differs(generated)) expect.fail(`seed ${seed}\n${describeCase(shrink(generated))}`);
      translated += outcomes(generated).filter(({ par, ok }) => ok === true || (par !== undefined && (par & 1n) === 0n)).length;
    }
    expect(translated / CASES).toBeGreaterThan(0.5);
  }, HOUR);
});
