import { describe, expect, it } from 'vitest';
import { failed, outcomeOf, refusal, reportOf } from './support.js';

/** 64 MiB of the VM at 1 GiB, on a machine with FEAT_NV2. */
const HEAD = `schema: granule-scenario/1
name: nested
memory: [{ hva: 0x7f00_0000_0000, size: 64M, physical: 0x8000_0000 }]
slots: [{ ipa: 1G, size: 64M, hva: 0x7f00_0000_0000 }]
`;
const MACHINE = 'machine: { arch: armv8, cpu: max, pes: 2 }\n';
const NESTED = 'vm: { vcpus: 2, nested: {} }\n';
const scenario = (steps: readonly string[], { host = '', vm = NESTED }: { readonly host?: string; readonly vm?: string } = {}): string =>
  `${HEAD}${MACHINE}${host}${vm}steps:\n${steps.map((each) => `  - { ${each} }\n`).join('')}expect: { verdict: clean }\n`;

/** Tables at 1 GiB + 1 MiB and + 2 MiB that lead one address to different memory. */
const TWO_TABLES = [
  'do: write, at: 0x4100_0000, value: 0xaa',
  'do: write, at: 0x4200_0000, value: 0xbb',
  'do: stage2, table: 0x4010_0000, map: [{ ipa: 2G, to: 0x4100_0000, size: 64K }]',
  'do: stage2, table: 0x4020_0000, map: [{ ipa: 2G, to: 0x4200_0000, size: 64K }]',
];
const FIRST = 'do: enter, vmid: 5, table: 0x4010_0000';
const SECOND = 'do: enter, vmid: 5, table: 0x4020_0000';

/** What a nested guest sees, step by step. */
const SEEN: readonly (readonly [what: string, steps: readonly string[]])[] = [
  ['memory by the table that it was entered with', [...TWO_TABLES, FIRST, 'do: read, at: 2G, expect: { value: 0xaa, reaches: 0x8100_0000 }', 'do: leave', 'do: tlbi, op: VMALLS12E1', SECOND, 'do: read, at: 2G, expect: { value: 0xbb }']],
  ['the same on another vCPU', [...TWO_TABLES, FIRST, 'do: read, at: 2G, expect: { value: 0xaa }', 'do: enter, vcpu: 1, vmid: 5, table: 0x4020_0000', 'do: read, vcpu: 1, at: 2G, expect: { value: 0xbb }', 'do: read, at: 2G, expect: { value: 0xaa }']],
  ["the VM's own addresses where its stage 2 is off", [...TWO_TABLES, 'do: enter, vmid: 5', 'do: read, at: 0x4200_0000, expect: { value: 0xbb, reaches: 0x8200_0000 }']],
  ['no memory that its hypervisor does not map', [...TWO_TABLES, FIRST, 'do: read, at: 3G, expect: { fault: translation }', 'do: stage2, table: 0x4010_0000, map: [{ ipa: 3G, to: 0x4200_0000, size: 4K }]', FIRST, 'do: read, at: 3G, expect: { value: 0xbb }']],
  ['no code where its hypervisor forbids it', ['do: stage2, table: 0x4010_0000, map: [{ ipa: 2G, to: 0x4100_0000, size: 4K, executable: false }]', FIRST, 'do: read, at: 2G, expect: { value: 0 }', 'do: fetch, at: 2G, expect: { fault: permission }']],
  ['what was there before, until its hypervisor invalidates all of the VMID', [...TWO_TABLES, FIRST, 'do: read, at: 2G, expect: { value: 0xaa }', 'do: leave', 'do: stage2, table: 0x4010_0000, unmap: [{ ipa: 2G, size: 64K }]', FIRST, 'do: read, at: 2G, expect: { value: 0xaa }', 'do: leave', 'do: tlbi, op: VMALLS12E1IS', FIRST, 'do: read, at: 2G, expect: { fault: translation }']],
  ['nothing stale after a TLBI of its VMID from the other vCPU', [...TWO_TABLES, FIRST, 'do: read, at: 2G, expect: { value: 0xaa }', 'do: stage2, vcpu: 1, table: 0x4010_0000, unmap: [{ ipa: 2G, size: 64K }]', 'do: tlbi, vcpu: 1, op: IPAS2E1IS, operand: 0x8_0000, vmid: 5', 'do: read, at: 2G, expect: { fault: translation }']],
  ['what was there before, where the TLBI has another VMID', [...TWO_TABLES, FIRST, 'do: read, at: 2G, expect: { value: 0xaa }', 'do: stage2, vcpu: 1, table: 0x4010_0000, unmap: [{ ipa: 2G, size: 64K }]', 'do: tlbi, vcpu: 1, op: IPAS2E1IS, operand: 0x8_0000, vmid: 6', 'do: read, at: 2G, expect: { value: 0xaa }']],
  ['registers of its own, and its hypervisor those of virtual EL2', [...TWO_TABLES, 'do: stage1, table: 0x4030_0000, map: [{ va: 64K, ipa: 0x4200_0000, size: 4K }, { va: 0x4010_0000, ipa: 0x4010_0000, size: 64K }]', 'do: mmu, on: true', 'do: read, at: 64K, expect: { value: 0xbb }', FIRST, 'do: read, at: 2G, expect: { value: 0xaa }', 'do: read, at: 64K, expect: { fault: translation }', 'do: read, at: 64K, expect: { value: 0xbb }']],
];

describe('a nested guest sees', () => {
  it.each(SEEN)('%s', (_, steps) => {
    const report = reportOf(scenario(steps));
    expect(failed(report)).toEqual([]);
    expect(report.clean).toBe(true);
    expect(report.variants[0].expectations.length).toBeGreaterThan(1);
  });

  it.each([
    ['4K', '4K'],
    ['16K', '4K'],
    ['64K', '4K'],
    ['16K', '16K'],
    ['64K', '16K'],
    ['64K', '64K'],
  ])('its memory through %s pages of its hypervisor on a host of %s pages', (granule, hostGranule) => {
    const steps = [
      'do: write, at: 0x4101_8000, value: 7',
      `do: stage2, table: 0x4010_0000, granule: ${granule}, map: [{ ipa: 2G, to: 0x4100_0000, size: 256K }]`,
      FIRST,
      'do: read, at: 0x8001_8000, expect: { value: 7, reaches: 0x8101_8000 }',
      'do: chain, at: 0x8001_8000, expect: { standing: composed }',
    ];
    const report = reportOf(scenario(steps, { host: `host: { granule: ${hostGranule} }\n` }));
    expect(failed(report)).toEqual([]);
    expect(report.variants[0].nested?.contexts[0]).toMatchObject({ valid: true, vmid: 5, table: '0x0000000040100000', leaves: 1, references: 1 });
  });
});

describe('a shadow found by its VMID alone', () => {
  const at = (key: string, steps: readonly string[]) => reportOf(scenario([...TWO_TABLES, ...steps], { vm: `vm: { vcpus: 2, nested: { key: ${key} } }\n` })).variants[0];
  const read = 'do: read, at: 2G';
  const other = ['do: enter, vcpu: 1, vmid: 5, table: 0x4020_0000', 'do: read, vcpu: 1, at: 2G'];

  it('leads a guest of another vCPU to the memory of the first, which is named by the write that mapped it and the read that got it', () => {
    const { reads, violations } = at('vmid', [FIRST, read, ...other]);
    expect(reads.map(({ value, expected }) => [value, expected])).toEqual([['0x00000000000000aa', undefined], ['0x00000000000000aa', '0x00000000000000bb']]);
    const [found] = violations;
    expect(violations).toHaveLength(1);
    expect(found).toMatchObject({ id: 'nested.other-table', address: '0x0000000080000000', count: 1 });
    expect(found.cause?.text).toMatch(/^PE 0: descriptor of 0x0000000080000000 at level 3, 0x0 to /);
    expect(found.exposed?.text).toMatch(/^PE 1: read 0x0000000080000000 \(physical 0x0000000081000000\)/);
  });

  it('is wrong at once on two vCPUs too where it is unmapped when BADDR changes', () => {
    const { reads, violations } = at('vmid-unmap-on-baddr', [FIRST, read, ...other, read]);
    expect(reads.map(({ value }) => value)).toEqual(['0x00000000000000aa', '0x00000000000000bb', '0x00000000000000bb']);
    expect(violations.map(({ id }) => id)).toEqual(['nested.other-table']);
  });

  it.each(['vmid', 'vmid-unmap-on-baddr', 'vttbr+vtcr'])('is right in turn with key %s, where the hypervisor invalidates between its guests', (key) => {
    const { reads, violations } = at(key, [FIRST, read, 'do: leave', 'do: tlbi, op: VMALLS12E1', SECOND, read]);
    expect(reads.map(({ value }) => value)).toEqual(['0x00000000000000aa', '0x00000000000000bb']);
    expect(violations).toEqual([]);
  });

  it('may read the old memory where the hypervisor does not, as a TLB may: that is no fault of the shadow', () => {
    const { reads, violations } = at('vmid', [FIRST, read, 'do: leave', SECOND, read]);
    expect(reads.map(({ value }) => value)).toEqual(['0x00000000000000aa', '0x00000000000000aa']);
    expect(violations).toEqual([]);
  });
});

describe('a step of a guest hypervisor is refused', () => {
  it.each<[string, string, RegExp]>([
    ['where the guest is none', scenario([FIRST], { vm: '' }), / steps\[0\]: enter is a step of a guest that is a hypervisor: vm\.nested says that it is one\.$/],
    ['with a table that nobody wrote', scenario([FIRST]), / steps\[0\]: table 0x0000000040100000 is none that a step stage2 has written\.$/],
    ['in its own guest', scenario([...TWO_TABLES, FIRST, SECOND]), / steps\[5\]: enter: vCPU 0 is in its nested guest\.$/],
    ['of a guest that does not run', scenario(['do: chain, at: 2G']), / steps\[0\]: chain: vCPU 0 is at virtual EL2, not in a nested guest\.$/],
    ['that leaves a guest which does not run', scenario(['do: leave']), / steps\[0\]: leave: vCPU 0 is at virtual EL2, not in a nested guest\.$/],
    ['that changes the granule of a table', scenario([...TWO_TABLES, 'do: stage2, table: 0x4010_0000, granule: 64K']), / steps\[4\]: The table at 0x0000000040100000 was made with 4K pages and 40 bits of input, not with 64K and 40\.$/],
    ['with a table between pages', scenario(['do: stage2, table: 0x4010_0800']), / steps\[0\]: table 0x0000000040100800 is not a multiple of the page size, 4096 bytes\.$/],
    ['with a table outside of memory', scenario(['do: stage2, table: 3G, map: [{ ipa: 0, to: 1G, size: 4K }]']), / steps\[0\]: The descriptor at 0x00000000c000\w+ can't be stored: it is no memory of the VM's\.$/],
    ['with a granule below that of the host', scenario(['do: stage2, table: 1G, granule: 4K'], { host: 'host: { granule: 64K }\n' }), / steps\[0\]: .*4K/],
    ['with the VMID of no virtual EL2', scenario(['do: tlbi, op: VMALLE1, vmid: 3'], { vm: '' }), / steps\[0\]: tlbi: vmid is what a guest hypervisor has in VTTBR_EL2, and vCPU 0 is at no virtual EL2\.$/],
    ['without FEAT_NV2', scenario([FIRST]).replace('cpu: max', 'cpu: cortex-a76'), / vm\.nested: A guest that is a hypervisor needs FEAT_NV2, which this machine has not: machine\.cpu: max has it\.$/],
    ['without a machine', `fidelity: policy\n${scenario([FIRST])}`, / fidelity: A guest that is a hypervisor needs modelled hardware, and fidelity is policy\.$/],
  ])('%s', (_, text, sentence) => {
    expect(refusal(text)).toMatch(sentence);
  });

  it('on ARMv7, which has no nested virtualisation', () => {
    const outcome = outcomeOf(`${HEAD}${NESTED}steps: [{ do: leave }]\n`, { arch: 'armv7-lpae' });
    expect(outcome).toMatchObject({ kind: 'not-modelled', id: 'nested.not-supported' });
    expect(outcome.kind === 'done' ? '' : outcome.sentence).toMatch(/ vm\.nested: armv7-lpae has no nested virtualisation: FEAT_NV exists in AArch64 alone\.$/);
  });
});
