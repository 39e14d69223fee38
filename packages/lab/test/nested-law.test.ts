import { armv8 } from '@granule/armv8';
import { nestedSteps, runNestedSteps, type HostOptions, type NestedSubject } from '@granule/conformance';
import type { Granule } from '@granule/geometry';
import { nestedLayer } from '@granule/nested';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MachineHost, type Lost } from './nested-rig.js';

const RUNS = 60;
const subject: NestedSubject = { layer: nestedLayer(), backend: armv8, budget: { runs: RUNS } };

/** Steps of a nested world on a machine: what goes wrong, if anything does, and how many accesses there were. */
function run(granule: Granule, hostGranule: Granule, seed: number, steps: Parameters<typeof runNestedSteps>[2], lost?: Lost): { readonly wrong: readonly string[]; readonly accesses: number } {
  const hosts: MachineHost[] = [];
  const shadows = (options: HostOptions): MachineHost => {
    const host = new MachineHost(options, seed, lost);
    hosts.push(host);
    return host;
  };
  const wrong = runNestedSteps(subject, { granule, hostGranule, shadows, ha: seed % 2 === 1 }, steps);
  return { wrong: wrong?.sentences ?? [], accesses: hosts[0].accesses };
}

const MIXES: readonly (readonly [Granule, Granule])[] = [
  ['4K', '4K'],
  ['16K', '4K'],
  ['64K', '4K'],
  ['16K', '16K'],
  ['64K', '16K'],
  ['64K', '64K'],
];

describe('a nested guest, through shadows in memory and TLBs that keep all they may, on two PEs', () => {
  it.each(MIXES)('reaches what both stages say as soon as its hypervisor has invalidated: %s pages on %s pages', (granule, hostGranule) => {
    let accesses = 0;
    fc.assert(
      fc.property(nestedSteps(40), fc.nat(), (steps, seed) => {
        const result = run(granule, hostGranule, seed, steps);
        accesses += result.accesses;
        expect(result.wrong).toEqual([]);
      }),
      { numRuns: RUNS, seed: 6 },
    );
    expect(accesses).toBeGreaterThan(RUNS * 4);
  });

  /** A sequence that a machine gets wrong. */
  function goesWrong(lost: Lost): readonly string[] | undefined {
    const report = fc.check(
      fc.property(nestedSteps(40), fc.nat(), (steps, seed) => run('4K', '4K', seed, steps, lost).wrong.length === 0),
      { numRuns: 200, seed: 6, endOnFailure: true },
    );
    return report.counterexample === null ? undefined : run('4K', '4K', report.counterexample[1], report.counterexample[0], lost).wrong;
  }

  it('is found to reach what is gone where the shadow’s TLBIs by IPA get lost', () => {
    const wrong = goesWrong((effect) => effect.type === 'tlbi' && effect.op.startsWith('IPAS2'));
    expect(wrong?.at(-1)).toMatch(/^It reaches/);
  });

  it('is found to reach what is gone where every TLBI gets lost', () => {
    const wrong = goesWrong((effect) => effect.type === 'tlbi');
    expect(wrong?.at(-1)).toMatch(/^It reaches/);
  });
});
