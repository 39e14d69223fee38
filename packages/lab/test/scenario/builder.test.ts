import { describe, expect, it } from 'vitest';
import { checkScenario, readScenario, scenario } from '../../src/index.js';
import { valueOf } from './support.js';

const YAML = `
schema: granule-scenario/1
name: both
machine: { cpu: cortex-a57, pes: 2 }
vm: { vcpus: 2, invalidation: vm-wide }
memory: [{ hva: 0x7f00_0000_0000, size: 16M, physical: 2147483648, page: 2M }]
slots: [{ ipa: 1G, size: 16M, hva: 0x7f00_0000_0000 }]
steps:
  - { do: phase, name: touch }
  - { do: write, vcpu: 0, at: 0x4000_0000, value: 0xffff_ffff_ffff_ffff, count: 8, stride: 2M }
  - { do: read, vcpu: 0, at: 1G, expect: { value: 0xffff_ffff_ffff_ffff } }
  - { do: mmu, vcpu: 0, on: true, caches: false }
  - { do: run, vcpu: 1, pe: 0 }
  - { do: fetch, vcpu: 1, at: 1G, bytes: 4 }
  - { do: register, vcpu: 1, name: CONTEXTIDR_EL1, value: 3 }
  - { do: set-way, vcpu: 1, op: CISW }
  - { do: notifier-unmap, hva: 0x7f00_0000_0000, size: 2M }
  - { do: repeat, times: 3, steps: [{ do: read, at: 1G }] }
`;

const built = scenario({
  name: 'both',
  machine: { cpu: 'cortex-a57', pes: 2 },
  vm: { vcpus: 2, invalidation: 'vm-wide' },
  memory: [{ hva: 0x7f00_0000_0000, size: '16M', physical: '2G', page: '2M' }],
  slots: [{ ipa: 0x4000_0000, size: '16M', hva: '0x7f0000000000' }],
})
  .phase('touch')
  .vcpu(0).write(0x4000_0000, '0xffff_ffff_ffff_ffff', { count: 8, stride: '2M' }).read('1G', { expect: { value: '0xffff_ffff_ffff_ffff' } }).mmu(true, { caches: false })
  .scenario.vcpu(1).runOn(0).fetch('1G', { bytes: 4 }).register('CONTEXTIDR_EL1', 3).setWay('CISW')
  .scenario.step('notifier-unmap', { hva: 0x7f00_0000_0000, size: '2M' })
  .step('repeat', { times: 3, steps: [{ do: 'read', at: '1G' }] });

describe('the builder', () => {
  it('makes what the same scenario in YAML is', () => {
    expect(valueOf(built.build())).toEqual(valueOf(readScenario(YAML, 'x.yaml')).scenario);
  });

  it('writes JSON, which is read as YAML is', () => {
    expect(valueOf(readScenario(JSON.stringify(built.input()), 'x.json')).scenario).toEqual(valueOf(built.build()));
  });

  it('refuses with the field what its types cannot know', () => {
    const outcome = scenario({ name: 'x' }).vcpu(0).read('4 G').scenario.build();
    expect(outcome).toMatchObject({ kind: 'refused', id: 'scenario.field', sentence: 'steps[0].at is not an address or a size, as 4096, 0x4000_0000 or 2M.' });
  });
});

describe('an address or a size', () => {
  // By hand: powers of 1024, and digits of base 16 with underscores.
  it.each<[string | number, number]>([
    [4096, 4096], ['4096', 4096], ['4K', 4096], ['4k', 4096], ['2M', 2_097_152], ['1_024K', 1_048_576], ['1T', 1_099_511_627_776], ['0x4000_0000', 1_073_741_824], ['0xF_FFFF_ffff_FFFF', 2 ** 52 - 1],
  ])('%s', (written, bytes) => {
    const { steps } = valueOf(checkScenario({ schema: 'granule-scenario/1', name: 'x', steps: [{ do: 'read', at: written }] }));
    expect(steps).toEqual([{ do: 'read', at: bytes }]);
  });

  it.each(['', '4 K', '0x', '0x_1', '1__0', '1.5K', '4KB', '-1', '1e3', '0x4K'])('not %j', (written) => {
    expect(checkScenario({ schema: 'granule-scenario/1', name: 'x', steps: [{ do: 'read', at: written }] }).kind).toBe('refused');
  });

  it('is exact in YAML up to 64 bits', () => {
    const { steps } = valueOf(readScenario('schema: granule-scenario/1\nname: x\nsteps: [{ do: write, at: 0, value: 0xfedcba9876543211 }, { do: write, at: 0, value: 18446744073709551615 }]', 'x')).scenario;
    expect(steps.map((step) => ('value' in step ? step.value : undefined))).toEqual([0xfedc_ba98_7654_3211n, 2n ** 64n - 1n]);
  });
});
