import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { createTableArena } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { Backing, createVm, errnoOf, type HostProfile, ipaBitsOf, kernelProfile, KERNELS, VmidAllocator } from '../src/index.js';
import { hostOf, valueOf } from './support.js';

function vtcr(type: number, host: HostProfile): bigint {
  const pageShift = { '4K': 12, '16K': 14, '64K': 16 }[host.granule];
  return valueOf(
    createVm({
      backend: armv8, kernel: kernelProfile('7.2'), host, memory: createTableArena({ pageShift }), hostMemory: new Backing(2 ** pageShift),
      vmids: new VmidAllocator(host.features.vmidBits), type,
    }),
  ).vtcr;
}

describe('KVM_CREATE_VM', () => {
  it('takes the IPA size from bits 7:0 of the type, 0 stands for 40', () => {
    expect([0, 32, 40, 48].map((type) => valueOf(ipaBitsOf(type, hostOf('4K'))))).toEqual([40, 32, 40, 48]);
  });

  it.each([31, 49, 0x100 + 40])('refuses type %i with EINVAL on a 48-bit host', (type) => {
    const refused = ipaBitsOf(type, hostOf('4K'));
    expect(refused).toMatchObject({ kind: 'refused', id: 'vm.ipa-bits' });
    expect(refused.kind !== 'done' && errnoOf(refused)).toBe(-22);
  });

  it('limits the IPA to PARange, and to 48 bits with 4K pages without LPA2', () => {
    expect(ipaBitsOf(41, hostOf('4K', { paBits: 40 })).kind).toBe('refused');
    expect(ipaBitsOf(52, hostOf('4K', { paBits: 52, lpa: true })).kind).toBe('refused');
    expect(ipaBitsOf(52, hostOf('64K', { paBits: 52, lpa: true })).kind).toBe('done');
  });

  /** Values of VTCR_EL2 with PS, HA and VS as the host has them; the last three are of recorded machines. */
  it.each([
    [40, hostOf('4K', { haf: true, vmidBits: 16 }), 0x802d_3558n],
    [48, hostOf('4K', { haf: true, vmidBits: 16 }), 0x802d_3590n],
    [40, hostOf('16K', { haf: true, vmidBits: 16 }), 0x802d_b558n],
    [40, hostOf('64K', { haf: true, vmidBits: 16 }), 0x802d_7558n],
    [52, hostOf('64K', { haf: true, vmidBits: 16, paBits: 52, lpa: true }), 0x802e_758cn],
    [40, { ...hostOf('4K', { haf: true, vmidBits: 16, paBits: 40 }), hardwareAccessFlag: false }, 0x800a_3558n],
    [40, { ...hostOf('16K', { haf: true, vmidBits: 16, paBits: 40 }), hardwareAccessFlag: false }, 0x800a_b558n],
    [40, hostOf('4K', { vmidBits: 8, paBits: 44 }), 0x8004_3558n],
  ] as const)('makes the VTCR_EL2 of a %i-bit IPA', (type, host, value) => {
    expect(vtcr(type, host).toString(16)).toBe(value.toString(16));
  });

  it('picks the profile of the newest kernel that is not newer', () => {
    const of = (release: string): string => kernelProfile(release).version;
    expect(['3.19', '4.8.0', '5.10', '5.15', '6.12.107+deb13-arm64', '6.18', '7.2.13-ptdump', '9.0'].map(of)).toEqual(['4.8', '4.8', '5.10', '5.14', '6.12', '6.17', '7.2', '7.2']);
  });

  it.each([
    ['5.10', { mapFlags: 0, deviceBlocks: 'page', slotOrder: 'address-descending', thpMask: 'ipa-size-frame-ptrs', rangeStep: 'entry' }],
    ['5.15', { mapFlags: 0, deviceBlocks: 'area', slotOrder: 'address-descending' }],
    ['5.18', { mapFlags: 0, slotOrder: 'id-hash', rangeStep: 'entry' }],
    ['6.1', { mapFlags: 0, rangeStep: 'block' }],
    ['6.2', { mapFlags: 8 }],
    ['6.6', { mapFlags: 0x18, icacheAllAbove: 'never', nestedHooks: false }],
    ['6.12', { mapFlags: 0x18, relaxFlags: undefined, nestedHooks: true, icacheAllAbove: 'ptrs-per-pte', faultAddress: 'fault', deviceBlocks: 'area' }],
    ['6.16', { mapFlags: 0x18, relaxFlags: 0x18, cacheableDevice: 'as-device' }],
    ['6.19', { mapFlags: 8, relaxFlags: 8, cacheableDevice: 'with-fwb-and-dic', faultAddress: 'fault' }],
    ['7.0', { faultAddress: 'page', deviceBlocks: 'area', thpMask: 'ipa-size-frame-ptrs' }],
    ['7.2', { mapFlags: 8, relaxFlags: 8, deviceBlocks: 'host-leaf', thpMask: 'ptrs-per-pmd' }],
  ])('%s has what came with and before it', (release, expected) => {
    const profile: Partial<Record<string, unknown>> = { ...kernelProfile(release) };
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, profile[name]]))).toEqual(expected);
  });

  it('knows each version once, in order', () => {
    const numbers = KERNELS.map(({ version }) => version.split('.').map(Number)).map(([major, minor]) => major * 1000 + minor);
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  });
});

describe('a 32-bit host', () => {
  const host: HostProfile = { granule: '4K', vaBits: 32, features: armv7Lpae.registers.features({}), hardwareAccessFlag: false, tlbRange: false };
  const create = (type: number, at = host) =>
    createVm({
      backend: armv7Lpae, kernel: kernelProfile('4.8'), host: at, memory: createTableArena({ pageShift: 12, initialPages: 8 }), hostMemory: new Backing(4096),
      vmids: new VmidAllocator(8), type,
    });

  it('gives every VM 40 bits of IPA from two tables of level 1, and takes no type', () => {
    const vm = valueOf(create(0));
    expect(vm.format.geometry).toMatchObject({ iaBits: 40, startLevel: 1, entryTables: 2 });
    // Linux 4.8 arch/arm/include/asm/kvm_arm.h: T0SZ −8 with S, SL0 1; walks Inner Shareable and Write-Back.
    expect(vm.vtcr & 0xffn).toBe(0x58n);
    expect(create(40)).toMatchObject({ kind: 'refused', id: 'vm.type' });
  });

  it('has no blocks of level 1', () => {
    expect(valueOf(create(0)).sizes.largest).toBe(2 ** 21);
  });

  it('enters a guest with HCR, VTCR and VTTBR', () => {
    const vm = valueOf(create(0));
    const vcpu = vm.addVcpu();
    vm.load(vcpu, 0);
    const { HCR, VTTBR } = valueOf(vm.registersOf(vcpu));
    // VM, SWIO, TSW, TVM (DDI 0406C B4.1, HCR); VMID in 55:48.
    expect([0n, 1n, 22n, 26n].map((bit) => (HCR >> bit) & 1n)).toEqual([1n, 1n, 1n, 1n]);
    expect(VTTBR >> 48n).toBe(1n);
  });
});

describe('a kernel whose stage-2 walker borrows the helpers of the host', () => {
  it('refuses a stage 2 that is deeper than the host: 16K pages with 36-bit VA have 40 bits at most, and 40 it is', () => {
    const make = (vaBits: number, granule: '16K' | '64K') =>
      createVm({
        backend: armv8, kernel: kernelProfile('4.8'), host: hostOf(granule, {}, vaBits), memory: createTableArena({ pageShift: granule === '16K' ? 14 : 16 }),
        hostMemory: new Backing(16384), vmids: new VmidAllocator(8),
      }).kind;
    expect([make(36, '16K'), make(47, '16K'), make(42, '64K')]).toEqual(['done', 'done', 'done']);
    const shallow = createVm({
      backend: armv8, kernel: kernelProfile('4.8'), host: hostOf('4K', {}, 30), memory: createTableArena({ pageShift: 12 }), hostMemory: new Backing(4096),
      vmids: new VmidAllocator(8),
    });
    expect(shallow).toMatchObject({ kind: 'refused', id: 'geometry.host-levels' });
  });
});
