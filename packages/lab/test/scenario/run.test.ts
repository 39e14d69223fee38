import { contextFormats, createJudge } from '@granule/cache-tlb';
import type { Effect } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { type Fidelity, readScenario, type RunReport } from '../../src/index.js';
import { fidelityOf, workOfScenario } from '../../src/scenario/run/fidelity.js';
import { BACKENDS, failed, HEAD, reportOf, valueOf } from './support.js';

const ARCHES = ['armv8', 'armv7-lpae'] as const;

/** 64 writes to pages, half of them unmapped by a notifier, and read again. */
const TOUCH = `${HEAD}steps:
  - { do: phase, name: touch }
  - { do: write, at: 1G, count: 64 }
  - { do: expect, counts: { fault.translation: 64, call.s2_map: 64, accesses: 64 } }
  - { do: phase, name: unmap }
  - { do: notifier-unmap, hva: 0x7f00_0000_0000, size: 128K }
  - { do: phase, name: again }
  - { do: read, at: 1G, count: 64 }
  - { do: expect, counts: { fault.translation: 32, accesses: 64 } }
expect: { leaves: { 3: 64 } }
`;

describe('the same scenario', () => {
  it.each(['machine', 'judged', 'policy'] as const)('comes to the same counts as %s', (fidelity: Fidelity) => {
    const [variant] = reportOf(`fidelity: ${fidelity}\n${TOUCH}`).variants;
    const [whole] = reportOf(`fidelity: machine\n${TOUCH}`).variants;
    expect(variant.fidelity).toBe(fidelity);
    expect(variant.expectations.every(({ passed }) => passed)).toBe(true);
    const { tlbis, faults, answers, calls, writes, tablePages, accesses } = variant.counts;
    expect({ faults, answers, calls, writes, tablePages, accesses }).toEqual({
      faults: whole.counts.faults, answers: whole.counts.answers, calls: whole.counts.calls, writes: whole.counts.writes, tablePages: whole.counts.tablePages, accesses: whole.counts.accesses,
    });
    const byName = (list: typeof tlbis) => Object.fromEntries(list.map(({ op, reason, count }) => [`${op} ${reason}`, count]));
    expect(byName(tlbis)).toEqual(byName(whole.counts.tlbis));
  });

  it.each(ARCHES)('is clean on %s', (arch) => {
    const report = reportOf(TOUCH, { arch });
    expect(failed(report)).toEqual([]);
    expect(report.clean).toBe(true);
  });

  it.each<[string, Fidelity]>([
    ['{ do: read, at: 1G, count: 4096 }', 'machine'],
    ['{ do: ioremap, ipa: 4G, physical: 4G, size: 256M }', 'judged'],
    ['{ do: ioremap, ipa: 4G, physical: 4G, size: 4G }', 'policy'],
    ['{ do: ioremap, ipa: 4G, physical: 4G, size: 4G, policy: pmd-blocks }', 'machine'],
    ['{ do: ioremap, ipa: 4G, physical: 4G, size: 4G }, { do: dma, physical: 2G, value: 1 }', 'machine'],
    ['{ do: repeat, times: 1000, steps: [{ do: read, at: 1G, count: 1000 }] }', 'policy'],
  ])('gets as much of the machine as its size and its steps need: %s', (steps, fidelity) => {
    const { scenario } = valueOf(readScenario(`${HEAD}steps: [${steps}]\n`, 'x.yaml'));
    expect(fidelityOf(scenario, workOfScenario(scenario, 4096))).toBe(fidelity);
  });
});

/** What a guest sees, step by step. */
const SEEN: readonly (readonly [what: string, steps: string])[] = [
  ['what another vCPU wrote', '- { do: write, at: 1G, value: 7 }\n  - { do: read, vcpu: 1, at: 1G, expect: { value: 7 } }'],
  ['bytes, little-endian', '- { do: write, at: 1G, value: 0x1122_3344_5566_7788 }\n  - { do: read, at: 0x4000_0001, bytes: 2, expect: { value: 0x6677 } }'],
  ['what a device wrote', '- { do: dma, physical: 0x8000_0010, value: 9, bytes: 4 }\n  - { do: read, at: 0x4000_0010, bytes: 4, expect: { value: 9 } }'],
  ['what the VMM wrote', '- { do: host-write, hva: 0x7f00_0000_1000, value: 5 }\n  - { do: fetch, at: 0x4000_1000, expect: { value: 5 } }'],
  ['MMIO outside of slots', '- { do: read, at: 2G, bytes: 4, expect: { mmio: true } }\n  - { do: write, at: 2G, bytes: 4, expect: { mmio: true } }'],
  ['an abort for a fetch from there', '- { do: fetch, at: 2G, expect: { fault: translation } }'],
  ['its own stage 1', '- { do: stage1, table: 0x4010_0000, map: [{ va: 64K, ipa: 0x4000_2000, size: 4K }] }\n  - { do: write, at: 0x4000_2008, value: 3 }\n  - { do: mmu, on: true }\n  - { do: read, at: 0x1_0008, expect: { value: 3 } }\n  - { do: at, at: 0x1_0008, expect: { value: 0x4000_2008 } }\n  - { do: read, at: 128K, expect: { fault: translation } }'],
  ['memory that the host has exchanged', '- { do: write, at: 1G, value: 1 }\n  - { do: notifier-unmap, hva: 0x7f00_0000_0000, size: 4K }\n  - { do: back, hva: 0x7f00_0000_0000, size: 4K, physical: 0x8100_0000 }\n  - { do: read, at: 1G, expect: { value: 0 } }'],
  ['memory again after a reset', '- { do: write, at: 1G, value: 1 }\n  - { do: reset-vcpu }\n  - { do: expect, counts: { tlbi.leaf: 1 } }\n  - { do: read, at: 1G, expect: { value: 1 } }'],
  ['a read-only slot', '- { do: set-slot, slot: 1, ipa: 3G, size: 4K, hva: 0x7f00_0000_0000, readonly: true }\n  - { do: read, at: 3G, expect: { fault: none } }\n  - { do: write, at: 3G, expect: { mmio: true } }'],
];

describe.each(ARCHES)('a guest on %s sees', (arch) => {
  it.each(SEEN)('%s', (_, steps) => {
    const report = reportOf(`${HEAD}vm: { vcpus: 2 }\nmachine: { pes: 2 }\nsteps:\n  ${steps}\nexpect: { verdict: clean }\n`, { arch });
    expect(failed(report)).toEqual([]);
    expect(report.variants[0].expectations.length).toBeGreaterThan(1);
  });
});

describe('an expectation that fails', () => {
  const one = (steps: string): RunReport => reportOf(`${HEAD}steps: [${steps}]\n`);
  it.each<[string, string]>([
    ['{ do: read, at: 1G, expect: { value: 1 } }', 'read 0x0000000040000000 by vCPU 0: 0x1, not 0x0'],
    ['{ do: read, at: 1G, expect: { mmio: true } }', 'read 0x0000000040000000 by vCPU 0: mmio, not no fault'],
    ['{ do: read, at: 2G, expect: { fault: permission } }', 'read 0x0000000080000000 by vCPU 0: permission fault, not mmio'],
    ['{ do: read, at: 1G, count: 3 }, { do: expect, counts: { accesses: { min: 4 } } }', 'accesses: at least 4, not 3'],
    ['{ do: log-dirty, slot: 0, on: true }, { do: write, at: 1G }, { do: get-dirty-log, slot: 0, expect: { pages: 2 } }', 'dirty pages of slot 0: 2, not 1'],
    ['{ do: set-slot, slot: 7, ipa: 1G, size: 4K, hva: 0, refused: slot.beyond-ipa }', 'set-slot: slot.beyond-ipa, not slot.overlap'],
  ])('%s', (steps, what) => {
    const report = one(steps);
    expect(failed(report)).toEqual([what]);
    expect(report.clean).toBe(false);
  });

  it('stands beside the others of its variant alone', () => {
    const report = reportOf(`${HEAD}steps: [{ do: read, at: 1G }]\nvariants: [{ name: a, expect: { tables: 4 } }, { name: b, expect: { tables: 9 } }]\n`);
    expect(failed(report)).toEqual(['table pages: 9, not 4']);
    expect(report.totals.expectations).toEqual({ passed: 1, total: 2 });
  });
});

describe('what a guest runs into', () => {
  it('ends the run, with the sentence of the policy', () => {
    const [variant] = reportOf('schema: granule-scenario/1\nname: x\nslots: [{ ipa: 1G, size: 4K, hva: 0 }]\nsteps: [{ do: phase, name: go }, { do: read, at: 1G }, { do: teardown }]\n').variants;
    expect(variant.stopped).toMatchObject({ phase: 'go', id: 'abort.host-fault' });
    expect(variant.notes).toContain('The run ended at step 2 of 3, read.');
  });
});

describe('events', () => {
  it.each(ARCHES)('of a run on %s judge as the run did', (arch) => {
    const judge = createJudge({ format: contextFormats(BACKENDS) });
    const events: Effect[] = [];
    const log = {
      effect: (effect: Effect) => {
        events.push(effect);
        judge.effect(effect);
      },
    };
    const report = reportOf(`${TOUCH}vm: { invalidation: elided }\n`, { arch, log: () => log });
    const { violations } = judge.finish();
    expect(violations.length).toBeGreaterThan(0);
    expect(violations.map(({ rule, cause, exposed }) => [rule.id, cause, exposed])).toEqual(
      report.variants[0].violations.map(({ id, cause, exposed }) => [id, cause?.event, exposed?.event]),
    );
    expect(events.filter(({ type }) => type === 'context-installed')).toHaveLength(1);
  });
});

describe('a machine that is late', () => {
  it.each([1, 2, 3])('changes nothing that guests see of a clean policy (seed %i)', (seed) => {
    for (const arch of ARCHES) {
      const report = reportOf(`machine: { seed: ${seed}, pes: 2 }\nvm: { vcpus: 2 }\n${HEAD}steps:
  - { do: write, at: 1G, value: 5, count: 16 }
  - { do: read, vcpu: 1, at: 1G, count: 16, expect: { value: 5 } }
  - { do: notifier-unmap, hva: 0x7f00_0000_0000, size: 32K }
  - { do: back, hva: 0x7f00_0000_0000, size: 32K, physical: 0x9000_0000 }
  - { do: read, vcpu: 1, at: 1G, count: 8, expect: { value: 0 } }
  - { do: read, vcpu: 0, at: 0x4000_8000, count: 8, expect: { value: 5 } }
expect: { verdict: clean }\n`, { arch });
      expect(failed(report)).toEqual([]);
    }
  });
});
