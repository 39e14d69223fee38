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
    expect(['3.19', '4.8.0', '5.10', '6.12.107+deb13-arm64', '6.18', '7.2.13-ptdump', '9.0'].map(of)).toEqual(['4.8', '4.8', '4.8', '6.12', '6.12', '7.2', '7.2']);
    expect(KERNELS.map(({ version }) => version)).toEqual(['4.8', '6.12', '7.2']);
  });
});

describe('VMIDs', () => {
  it('start at 1, and a VM keeps its own while the generation lasts', () => {
    const vmids = new VmidAllocator(8);
    const [a, b] = [{ vmid: 0, generation: 0 }, { vmid: 0, generation: 0 }];
    expect([vmids.use(a, 0), vmids.use(b, 0), vmids.use(a, 1)].map(({ vmid }) => vmid)).toEqual([1, 2, 1]);
  });

  it.each([8, 16])('of %i bits roll over once all but VMID 0 are used, and running VMs keep theirs', (bits) => {
    const vmids = new VmidAllocator(bits);
    const running = { vmid: 0, generation: 0 };
    vmids.use(running, 1);
    let rollovers = 0;
    for (let i = 0; i < 2 ** bits - 2; i++) {
      rollovers += vmids.use({ vmid: 0, generation: 0 }, 0).rollover ? 1 : 0;
    }
    expect(rollovers).toBe(0);
    const next = { vmid: 0, generation: 0 };
    expect(vmids.use(next, 0).rollover).toBe(true);
    expect(vmids.generation).toBe(2);
    expect(vmids.use(running, 1)).toEqual({ vmid: 1, rollover: false });
    expect(next.vmid).not.toBe(1);
  });
});
