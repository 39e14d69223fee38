import type { NestedGuest } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { rangeOf, tlbiSpan, tlbiTarget } from '../src/index.js';
import { GUEST, vtcr, VTCR_40 } from './support.js';

function target(name: string, operand = 0n, guest: NestedGuest = GUEST) {
  const answer = tlbiTarget(name, operand, guest);
  return answer.kind === 'done' ? answer.value : answer.kind === 'refused' ? answer.id : answer.kind;
}

describe('a TLBI of a guest hypervisor', () => {
  it.each([
    ['ALLE1IS', { target: 'all' }],
    ['ALLE1', { target: 'all' }],
    ['VMALLS12E1IS', { target: 'vmid' }],
    ['VMALLE1', { target: 'stage1', name: 'VMALLE1IS' }],
    ['VAE1OS', { target: 'stage1', name: 'VAE1IS' }],
    ['RVAALE1ISNXS', { target: 'stage1', name: 'RVAALE1IS' }],
    ['ALLE2IS', { target: 'vncr', name: 'ALLE2' }],
    ['VALE2IS', { target: 'vncr', name: 'VALE2' }],
  ])('%s', (name, expected) => {
    expect(target(name)).toEqual(expected);
  });

  it('by IPA takes IPA[47:12] of the operand: neither IPA[51:48] nor NS', () => {
    expect(target('IPAS2E1IS', 0x8000_00ff_0001_2345n | (9n << 44n))).toEqual({ target: 'ipa', ipa: 0xf_0001_2345 * 4096, ttl: 9 });
  });

  it.each<[string, Partial<NestedGuest['features']>]>([['RIPAS2E1IS', { tlbirange: false }], ['ALLE1ISNXS', { xs: false }], ['VMALLS12E1OS', { tlbirange: false }]])(
    '%s is UNDEFINED without its feature',
    (name, features) => {
      expect(target(name, 0n, { ...GUEST, features: { ...GUEST.features, ...features } })).toBe('tlbi.undefined');
    },
  );

  it.each(['VAE3IS', 'ALLE1ISIS', 'PAALL', ''])('refuses what is none: "%s"', (name) => {
    expect(target(name)).toBe('tlbi.unknown');
  });
});

/** RIPAS2E1 operand (DDI 0487 C5.5: TG 47:46, SCALE 45:44, NUM 43:39, TTL 38:37, BaseADDR 36:0). */
const range = (tg: number, scale: number, num: number, base: number): bigint => (BigInt(tg) << 46n) | (BigInt(scale) << 44n) | (BigInt(num) << 39n) | (3n << 37n) | BigInt(base);

describe('a range operand', () => {
  it.each([
    ['two pages of 4K', range(1, 0, 0, 0x1_0000), { start: 0x1000_0000, end: 0x1000_2000 }],
    ['all of SCALE 1, NUM 31: 2048 pages of 16K', range(2, 1, 31, 1), { start: 2 ** 14, end: 2 ** 14 + 2048 * 2 ** 14 }],
    ['no granule, which acts as 64K', range(0, 0, 0, 1), { start: 2 ** 16, end: 3 * 2 ** 16 }],
    ['beyond the physical addresses: cut', range(1, 3, 31, 2 ** 28 - 1), { start: 2 ** 40 - 4096, end: 2 ** 40 }],
    ['from beyond the physical addresses: nothing', range(1, 0, 0, 2 ** 28), undefined],
    ['of the upper half: nothing', range(1, 0, 0, 2 ** 36), undefined],
  ])('%s', (_, operand, expected) => {
    expect(rangeOf(operand, 40)).toEqual(expected);
  });
});

/** The guest hypervisor's level as the shadow's leaves note it, by their first address and size. */
function shadow(...leaves: readonly (readonly [start: number, bytes: number, tag: number])[]) {
  return (ipa: number) => {
    const found = leaves.find(([start, bytes]) => start <= ipa && ipa < start + bytes);
    return found && { tag: found[2] };
  };
}

const NOTHING = shadow();
const at = (ipa: number, ttl = 0) => ({ ipa, ttl });
const [M2, G1] = [2 ** 21, 2 ** 30];

describe('what an invalidation by IPA takes of a shadow', () => {
  const c4 = { vtcr: VTCR_40 };
  it.each([
    // TTL is granule (1 4K, 2 16K, 3 64K) and level.
    ['4K level 3', 0b0111, 4096], ['4K level 2', 0b0110, M2], ['4K level 1', 0b0101, G1], ['4K level 0: unknown', 0b0100, G1],
    ['16K level 3', 0b1011, 2 ** 14], ['16K level 2', 0b1010, 2 ** 25], ['16K level 1: unknown', 0b1001, G1],
    ['64K level 2', 0b1110, 2 ** 29], ['no granule: unknown', 0b0011, G1],
  ])('its TTL tells: %s', (_, ttl, bytes) => {
    expect(tlbiSpan(at(5 * G1 + 3 * M2 + 0x5000, ttl), c4, GUEST, NOTHING)).toEqual({ start: 5 * G1 + (bytes === G1 ? 0 : Math.floor((3 * M2 + 0x5000) / bytes) * bytes), bytes });
  });

  it('without FEAT_TTL it does not', () => {
    const guest = { ...GUEST, features: { ...GUEST.features, ttl: false } };
    expect(tlbiSpan(at(0x5000, 0b0111), c4, guest, shadow([0x5000, 4096, 2]))).toEqual({ start: 0, bytes: M2 });
  });

  it('a leaf at the address that notes a level tells', () => {
    expect(tlbiSpan(at(M2 + 0x5000), c4, GUEST, shadow([M2 + 0x5000, 4096, 3]))).toEqual({ start: M2 + 0x5000, bytes: 4096 });
  });

  it('a leaf at the start of the 2 MiB around tells, though the address itself is not mapped', () => {
    expect(tlbiSpan(at(M2 + 0x5000), c4, GUEST, shadow([M2, 4096, 2]))).toEqual({ start: M2, bytes: M2 });
  });

  it('a level whose span does not reach the address tells nothing, and the search ends there', () => {
    expect(tlbiSpan(at(M2 + 0x5000), c4, GUEST, shadow([M2, 4096, 3], [0, 4096, 1]))).toEqual({ start: 0, bytes: G1 });
  });

  it('leaves without a level are passed over', () => {
    expect(tlbiSpan(at(M2 + 0x5000), c4, GUEST, shadow([M2 + 0x5000, 4096, 0], [M2, 4096, 2]))).toEqual({ start: M2, bytes: M2 });
  });

  it.each([['16K', 2, 2 ** 25], ['64K', 1, 2 ** 29], ['reserved, as 64K', 3, 2 ** 29]])('otherwise the largest block of the granule goes: %s', (_, tg0, bytes) => {
    expect(tlbiSpan(at(bytes + 0x5000), { vtcr: vtcr({ ia: 40, sl0: 1, tg0 }) }, GUEST, NOTHING)).toEqual({ start: bytes, bytes });
  });
});
