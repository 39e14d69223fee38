import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { vncrFault, vncrScope, VncrTlb, type VncrEntry } from '../src/index.js';

const GVA = 0x4020_3000;
const ENTRY: VncrEntry = {
  gva: GVA, upper: false, granule: '4K', level: 2, ipa: 0x8020_3000, physical: 0x9020_3000, nG: true, asid: 7, read: true, write: true, hostWritable: true,
};
const AT = { gva: GVA, upper: false, asid: 7, virtualEl2: false };

function filled(changes: Partial<VncrEntry> = {}): VncrTlb {
  const tlb = new VncrTlb();
  tlb.fill({ ...ENTRY, ...changes });
  return tlb;
}

/** Operand by VA: ASID 63:48, TTL 47:44, VA[55:12] (DDI 0487 C5.5). */
const va = (address: number, asid: number, ttl = 0): bigint => (BigInt(asid) << 48n) | (BigInt(ttl) << 44n) | BigInt(address / 4096);

/** Whether the entry goes with this invalidation. */
function goes(name: string, operand: bigint, changes: Partial<VncrEntry> = {}): boolean {
  return filled(changes).invalidate(vncrScope(name, operand)!);
}

describe('the translation that a vCPU keeps for VNCR_EL2', () => {
  it('is mapped for the address and ASID that it is of, as both sides permit', () => {
    expect(filled().mapping(AT)).toBe('writable');
    expect(filled({ hostWritable: false }).mapping(AT)).toBe('read-only');
    expect(filled({ write: false }).mapping(AT)).toBe('read-only');
    expect(filled({ read: false }).mapping(AT)).toBe('none');
    expect(filled().mapping({ ...AT, asid: 8 })).toBe('none');
    expect(filled({ nG: false }).mapping({ ...AT, asid: 8 })).toBe('writable');
    expect(filled().mapping({ ...AT, gva: GVA + 4096 })).toBe('none');
    expect(filled().mapping({ ...AT, upper: true })).toBe('none');
    expect(filled().mapping({ ...AT, virtualEl2: true })).toBe('none');
    expect(new VncrTlb().mapping(AT)).toBe('none');
  });

  it('goes with all of the regime', () => {
    expect(goes('ALLE2', 0n)).toBe(true);
    expect(goes('VMALLE1', 0n)).toBe(true);
  });

  it('goes with its ASID if it is not global', () => {
    expect(goes('ASIDE1', va(0, 7))).toBe(true);
    expect(goes('ASIDE1', va(0, 8))).toBe(false);
    expect(goes('ASIDE1', va(0, 7), { nG: false })).toBe(false);
  });

  it('goes with any address of its block: the block’s base counts, not the offset in it', () => {
    const page = 0b0111;
    expect(goes('VAE2', va(0x4020_0000, 7, page))).toBe(true);
    expect(goes('VALE2', va(0x403f_f000, 7, page))).toBe(true);
    expect(goes('VAE2', va(0x4040_0000, 7, page))).toBe(false);
    expect(goes('VAE2', va(0x401f_f000, 7, page))).toBe(false);
    // What a mask the wrong way round would find: the offset 0x3000 as an address.
    expect(goes('VAE2', va(0x3000, 7, page))).toBe(false);
  });

  it('goes with another ASID only where none is named or it is global', () => {
    const page = 0b0111;
    expect(goes('VAE1', va(GVA, 8, page))).toBe(false);
    expect(goes('VAE1', va(GVA, 8, page), { nG: false })).toBe(true);
    expect(goes('VAAE1', va(GVA, 8, page))).toBe(true);
    expect(goes('RVAAE1', va(GVA, 0) | (1n << 46n))).toBe(true);
  });

  it('goes with 1 GiB around the address where no TTL tells', () => {
    expect(goes('VAE2', va(0x7fff_f000, 7))).toBe(true);
    expect(goes('VAE2', va(0x8000_0000, 7))).toBe(false);
    expect(goes('VAE2', va(0x7fff_f000, 7, 0b0110))).toBe(false);
  });

  it('goes with 1 GiB of its own where its level is unknown', () => {
    const page = 0b0111;
    expect(goes('VAE2', va(0x7fff_f000, 7, page), { level: undefined })).toBe(true);
    expect(goes('VAE2', va(0x8000_0000, 7, page), { level: undefined })).toBe(false);
  });

  it('tells the halves of the address space apart', () => {
    expect(goes('VAE2', va(GVA, 7) | (1n << 43n))).toBe(false);
    expect(goes('VAE2', va(GVA, 7) | (1n << 43n), { upper: true })).toBe(true);
  });

  it('goes with the memory behind it', () => {
    expect(filled().invalidate({ scope: 'ipa', start: 0x8020_0000, bytes: 4096 })).toBe(true);
    expect(filled().invalidate({ scope: 'ipa', start: 0x8040_0000, bytes: 4096 })).toBe(false);
    const tlb = filled();
    tlb.invalidate({ scope: 'all' });
    expect(tlb.entry).toBeUndefined();
    expect(tlb.invalidate({ scope: 'all' })).toBe(false);
  });

  it('goes with exactly the ranges that meet its block', () => {
    const naive = (start: bigint, bytes: bigint): boolean => {
      const base = (BigInt(GVA) / 0x20_0000n) * 0x20_0000n;
      return [start, start + bytes - 1n, base].some((at) => at >= base && at < base + 0x20_0000n && at >= start && at < start + bytes);
    };
    fc.assert(
      fc.property(fc.bigInt({ min: 0x3_fe00n, max: 0x4_0600n }), fc.nat(31), fc.nat(1), (page, num, scale) => {
        const operand = (7n << 48n) | (1n << 46n) | (BigInt(scale) << 44n) | (BigInt(num) << 39n) | page;
        const bytes = BigInt(num + 1) * 2n ** BigInt(5 * scale + 1) * 4096n;
        expect(goes('RVAE2', operand)).toBe(naive(page * 4096n, bytes));
      }),
    );
  });

  it('knows no other operations', () => {
    expect(vncrScope('IPAS2E1', 0n)).toBeUndefined();
  });

  it('faults as an external abort where the host is to blame, else by permission at the guest hypervisor’s level', () => {
    expect(vncrFault(undefined)).toEqual({ fault: 'external-abort' });
    expect(vncrFault({ ...ENTRY, hostWritable: false })).toEqual({ fault: 'external-abort' });
    expect(vncrFault({ ...ENTRY, write: false })).toEqual({ fault: 'permission', level: 2 });
  });
});
