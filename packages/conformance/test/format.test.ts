import { done, type Backend, type Format } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { fake, formatConformance, geometries } from '../src/index.js';
import { assertions, findings } from './findings.js';
import { FORMAT_MUTANTS } from './mutants/formats.js';

describe('the fake backend conforms', () => {
  formatConformance(fake, { describe, it, runs: 10, seed: 42 });
});

/** The fake backend with formats that differ in one thing. */
const mutated = (change: (good: Format) => Partial<Format>): Backend => ({
  ...fake,
  format(regime, config) {
    const good = fake.format(regime, config);
    return good.kind === 'done' ? done({ ...good.value, ...change(good.value) }) : good;
  },
});

describe('a format with one fault is caught by name', () => {
  const some = geometries(2).filter((each) => each.granule === '4K' && each.iaBits === 48);
  for (const { fault, caughtBy, change } of FORMAT_MUTANTS) {
    it(`${fault}: ${caughtBy}`, () => {
      const found = findings((runner) =>
        formatConformance(mutated(change), { ...runner, regimes: ['s2'], geometries: some, seed: 1, shrink: false }),
      );
      const names = assertions(found);
      expect(names.includes(caughtBy), `caught by ${names.join(', ')}`).toBe(true);
    });
  }
});
