import { armv8, rangeParts } from '@granule/armv8';
import type { TlbEntry, TlbiScope } from '@granule/contract';
import { GRANULES, type Granule } from '@granule/geometry';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tlbAddress, tlbAddressOf } from '../../src/tlb/address.js';
import { AdversarialTlb } from '../../src/tlb/adversarial.js';
import { TLBI_OPERATIONS } from '../../src/tlb/operations.js';
import { inScope, reachOf, scopeOf, scopeOfEffect, scopeOfWord, type TlbiIssuer } from '../../src/tlb/scope.js';
import { entry, HOST, must, query } from './support.js';

type Fields = Readonly<Record<string, bigint | number>>;

const word = (name: string, fields: Fields): bigint => must(armv8.instructions.encode(name, fields));
const scope = (name: string, fields: Fields = {}, issuer: TlbiIssuer = HOST): TlbiScope =>
  must(scopeOfWord(armv8.instructions, name, word(name, fields), issuer));
const removes = (name: string, fields: Fields, held: TlbEntry, issuer: TlbiIssuer = HOST): boolean =>
  inScope(scope(name, fields, issuer), held);

describe('the table of invalidations', () => {
  it('has every TLBI that the ARMv8 backend encodes, and nothing else for AArch64', () => {
    const others = /^(S1|S12|[IC]?[IC]VA|CVA|ZVA|IVAU|I?C?SW|IG|CG|CIG|ISW|CSW|CISW|IALLU)/;
    const known = armv8.instructions.names.filter((name) => !others.test(name));
    const table = [...TLBI_OPERATIONS.keys()].filter((name) => !name.includes('TLBI'));
    expect(known.length).toBe(126);
    expect([...table].sort()).toEqual([...known].sort());
  });

  /** DDI 0406C B3.17, CP15 c8 register summary; DDI 0487 G7.3. */
  it('has the AArch32 operations, IS forms where they exist', () => {
    const table = [...TLBI_OPERATIONS.keys()].filter((name) => name.includes('TLBI'));
    expect(table.sort()).toEqual(
      [
        'TLBIALL TLBIALLIS TLBIMVA TLBIMVAIS TLBIASID TLBIASIDIS TLBIMVAA TLBIMVAAIS TLBIMVAL TLBIMVALIS TLBIMVAAL TLBIMVAALIS',
        'TLBIALLNSNH TLBIALLNSNHIS TLBIALLH TLBIALLHIS TLBIMVAH TLBIMVAHIS TLBIMVALH TLBIMVALHIS',
        'TLBIIPAS2 TLBIIPAS2IS TLBIIPAS2L TLBIIPAS2LIS',
        'ITLBIALL ITLBIMVA ITLBIASID DTLBIALL DTLBIMVA DTLBIASID',
      ]
        .flatMap((row) => row.split(' '))
        .sort(),
    );
  });

  it.each([
    ['VAE1', 'local', false],
    ['VAE1IS', 'inner', false],
    ['VAE1OS', 'outer', false],
    ['RIPAS2LE1OSNXS', 'outer', true],
    ['TLBIALLHIS', 'inner', false],
    ['DTLBIMVA', 'local', false],
  ] as const)('%s reaches %s, nXS %s', (name, reach, nxs) => {
    expect(TLBI_OPERATIONS.get(name)).toMatchObject({ reach, nxs });
  });

  it('is broadcast by HCR_EL2.FB where EL1 means it to be local', () => {
    const reach = (name: string, issuer: TlbiIssuer) => reachOf(TLBI_OPERATIONS.get(name)!, issuer);
    expect(reach('VMALLE1', { ...HOST, el: 1, forceBroadcast: true })).toBe('inner');
    expect(reach('VMALLE1', { ...HOST, el: 1 })).toBe('local');
    expect(reach('VMALLE1', { ...HOST, forceBroadcast: true })).toBe('local');
    expect(reach('VMALLE1OS', { ...HOST, el: 1, forceBroadcast: true })).toBe('outer');
  });

  it('refuses a name that is none, and an event without its address', () => {
    expect(scopeOf('VMALLE3', {}, HOST)).toMatchObject({ kind: 'refused', id: 'tlbi.unknown' });
    expect(scopeOfEffect({ type: 'tlbi', op: 'IPAS2E1IS' }, HOST, undefined)).toMatchObject({ kind: 'refused', id: 'tlbi.no-address' });
  });
});

describe('addresses', () => {
  it('are one number: VA[51:0], and VA[55] above it', () => {
    expect(tlbAddressOf(0x0000_7fff_ffff_f000n)).toBe(0x7fff_ffff_f000);
    expect(tlbAddressOf(0xffff_8000_0000_0000n)).toBe(2 ** 53 - 2 ** 47);
    expect(tlbAddressOf(0xb4ff_8000_0000_0000n)).toBe(2 ** 53 - 2 ** 47);
    expect(tlbAddress(0x1000, true, 48)).toBe(tlbAddressOf(0xffff_0000_0000_1000n));
    expect(tlbAddress(0x1000)).toBe(0x1000);
  });

  /** zephyr #115708: the operand is VA >> 12 for every granule. */
  it.each([
    [12, 3],
    [14, 3],
    [16, 3],
  ] as const)('an operand counts 4 KiB although pages are 2^%i', (pageShift, level) => {
    const held = entry({ pageShift, level, shift: pageShift, input: 0x123 * 2 ** 16 });
    expect(removes('VAE1', { VA: held.input, ASID: 3 }, held)).toBe(true);
    expect(removes('VAE1', { VA: held.input + 2 ** pageShift - 1, ASID: 3 }, held)).toBe(true);
    expect(removes('VAE1', { VA: held.input + 2 ** pageShift, ASID: 3 }, held)).toBe(false);
  });

  it('an operation by VA of the upper range leaves the lower one alone', () => {
    const upper = entry({ input: tlbAddress(0x40_0000, true, 48) });
    expect(removes('VAE1', { VA: 0xffff_0000_0040_0000n, ASID: 3 }, upper)).toBe(true);
    expect(removes('VAE1', { VA: 0x40_0000n, ASID: 3 }, upper)).toBe(false);
  });

  it('any address of a block finds the block, and all that stage 2 made of it', () => {
    const split = entry({ stage: 'combined', level: 2, input: 0x40_0000 + 7 * 4096, shift: 12, ipa: 0x100_7000 });
    expect(removes('VALE1IS', { VA: 0x40_0000, ASID: 3 }, split)).toBe(true);
    expect(removes('VALE1IS', { VA: 0x60_0000, ASID: 3 }, split)).toBe(false);
  });

  it('any address of a contiguous run finds the run held as one', () => {
    const run = entry({ shift: 16, contiguous: true });
    expect(removes('VALE1IS', { VA: 0x40_f000, ASID: 3 }, run)).toBe(true);
    expect(removes('VALE1IS', { VA: 0x41_0000, ASID: 3 }, run)).toBe(false);
  });
});

/** DDI 0487 C5.5, TLBI VAE1.TTL. */
describe('level hints', () => {
  const block = entry({ level: 2, shift: 21 });

  it.each([
    [0b0000, true, 'none'],
    [0b0010, true, 'none: no granule'],
    [0b0110, true, 'right'],
    [0b0111, false, 'a level too deep'],
    [0b0101, false, 'a level too shallow'],
    [0b1010, false, 'another granule'],
    [0b0100, true, 'level 0 of 4K, reserved without LPA2'],
    [0b1001, true, 'level 1 of 16K, reserved without LPA2'],
  ])('TTL %i: goes is %s (%s)', (TTL, goes) => {
    expect(removes('VALE1', { VA: 0x40_0000, ASID: 3, TTL }, block)).toBe(goes);
    expect(inScope(scope('VALE1', { VA: 0x40_0000, ASID: 3, TTL }), block, false)).toBe(true);
  });

  it('levels 0 of 4K and 1 of 16K are hints with LPA2', () => {
    const lpa2 = { ...HOST, lpa2: true };
    for (const TTL of [0b0100, 0b1001]) expect(removes('VALE1', { VA: 0x40_0000, ASID: 3, TTL }, block, lpa2)).toBe(false);
    expect(removes('VALE1', { VA: 0, ASID: 3, TTL: 0b0100 }, entry({ level: 0, shift: 39, input: 0 }), lpa2)).toBe(true);
    expect(removes('VALE1', { VA: 0, ASID: 3, TTL: 0b1001 }, entry({ level: 1, pageShift: 14, shift: 36, input: 0 }), lpa2)).toBe(true);
  });

  it('a table above the level goes, one at it stays: the hint of a removed table is none', () => {
    const table = entry({ kind: 'table', level: 2, shift: 21 });
    expect(removes('VAE1', { VA: 0x40_0000, ASID: 3, TTL: 0b0111 }, table)).toBe(true);
    expect(removes('VAE1', { VA: 0x40_0000, ASID: 3, TTL: 0b0110 }, table)).toBe(false);
    expect(removes('VAE1', { VA: 0x40_0000, ASID: 3 }, table)).toBe(true);
    expect(removes('VALE1', { VA: 0x40_0000, ASID: 3 }, table)).toBe(false);
  });
});

/** DDI 0487 C5.5, TLBI RVAE1 and TLBIRange(). */
describe('range operations', () => {
  it.each([
    ['4K', 1, false, 12, 2],
    ['4K', 1, true, 16, 2],
    ['16K', 2, false, 14, 2],
    ['16K', 2, true, 16, 2],
    ['64K', 3, false, 16, 2],
    ['64K', 3, true, 16, 2],
  ] as const)('%s: TG %i, DS %s: BaseADDR counts 2^%i bytes, the least range is %i pages', (granule, TG, ds1, unit, least) => {
    const issuer = { ...HOST, ds1, lpa2: ds1 };
    const { pageBytes } = GRANULES[granule];
    expect(scope('RVAAE1IS', { TG, BaseADDR: 5 }, issuer)).toMatchObject({ start: 5 * 2 ** unit, end: 5 * 2 ** unit + least * pageBytes });
    const most = scope('RVAAE1IS', { TG, NUM: 31, SCALE: 3 }, issuer);
    expect(most.end - most.start).toBe(2 ** 21 * pageBytes);
  });

  it('DS is that of the regime: TCR_EL1, TCR_EL2 or VTCR_EL2', () => {
    const start = (name: string, issuer: TlbiIssuer) => scope(name, { TG: 1, BaseADDR: 1 }, issuer).start;
    expect(start('RVAE1', { ...HOST, ds1: true })).toBe(0x1_0000);
    expect(start('RVAE1', { ...HOST, ds2: true, dsStage2: true })).toBe(0x1000);
    expect(start('RVAE2', { ...HOST, ds2: true })).toBe(0x1_0000);
    expect(start('RVAE1', { ...HOST, e2h: true, tge: true, ds2: true })).toBe(0x1_0000);
    expect(start('RIPAS2E1', { ...HOST, dsStage2: true })).toBe(0x1_0000);
    expect(start('RIPAS2E1', { ...HOST, ds1: true, ds2: true })).toBe(0x1000);
  });

  it('a range that would leave its half of the address space stops there', () => {
    const most = { NUM: 31, SCALE: 3 };
    expect(scope('RVAAE1', { ...most, TG: 3, BaseADDR: 2n ** 36n - 1n })).toMatchObject({ start: 2 ** 52 - 2 ** 16, end: 2 ** 52 });
    expect(scope('RVAAE1', { ...most, TG: 1, BaseADDR: 2n ** 37n - 1n })).toMatchObject({ start: 2 ** 53 - 2 ** 12, end: 2 ** 53 });
    expect(scope('RVAAE1', { TG: 1, BaseADDR: 2n ** 36n })).toMatchObject({ start: 2 ** 53 - 2 ** 48 });
  });

  it('the reserved granule names nothing', () => {
    expect(removes('RVAAE1', { TG: 0, NUM: 31, SCALE: 3 }, entry({ input: 0 }))).toBe(false);
  });

  it('pages of another granule may stay', () => {
    expect(removes('RVAAE1', { TG: 3, NUM: 31, SCALE: 3 }, entry())).toBe(false);
  });

  it.each([
    [1, 1, 2 ** 30],
    [1, 2, 2 ** 21],
    [2, 2, 2 ** 25],
    [3, 1, 2 ** 42],
    [3, 2, 2 ** 29],
  ])('TG %i, TTL %i: a start off a multiple of %i removes nothing for sure', (TG, TTL, span) => {
    const pageShift = [0, 12, 14, 16][TG];
    const held = entry({ pageShift, level: TTL as 1 | 2, input: span, shift: Math.log2(span) });
    const base = BigInt(span) >> BigInt(pageShift);
    const range = { TG, TTL, NUM: 31, SCALE: 3 };
    expect(removes('RVALE1', { ...range, ASID: 3, BaseADDR: base }, held)).toBe(true);
    expect(removes('RVALE1', { ...range, ASID: 3, BaseADDR: base - 1n }, held)).toBe(false);
    expect(removes('RVALE1', { ...range, ASID: 3, BaseADDR: base - 1n, TTL: 0 }, held)).toBe(true);
  });

  it('TTL 1 with 16K pages is a hint with LPA2 alone', () => {
    const leaf = entry({ pageShift: 14, shift: 14, input: 0 });
    expect(removes('RVALE1', { TG: 2, TTL: 1, ASID: 3 }, leaf)).toBe(true);
    expect(removes('RVALE1', { TG: 2, TTL: 1, ASID: 3 }, leaf, { ...HOST, lpa2: true })).toBe(false);
  });

  it('names by ASID leave the others: EL1&0, EL2&0, not EL2', () => {
    const vhe = { ...HOST, e2h: true };
    for (const name of ['RVAE2', 'RVALE2']) {
      expect(removes(name, { TG: 1, BaseADDR: 0x400, ASID: 3 }, entry({ regime: 'el20', vmid: 0 }), vhe)).toBe(true);
      expect(removes(name, { TG: 1, BaseADDR: 0x400, ASID: 4 }, entry({ regime: 'el20', vmid: 0 }), vhe)).toBe(false);
      expect(removes(name, { TG: 1, BaseADDR: 0x400, ASID: 4 }, entry({ regime: 'el2', vmid: 0, asid: -1 }))).toBe(true);
    }
  });

  it('the operations that Linux makes of a range cover exactly the range', () => {
    const cases = fc.record({
      granule: fc.constantFrom<Granule>('4K', '16K', '64K'),
      ds: fc.boolean(),
      start: fc.nat({ max: 2 ** 22 }),
      pages: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 21 })),
    });
    fc.assert(
      fc.property(cases, ({ granule, ds, start, pages }) => {
        const { pageBytes } = GRANULES[granule];
        const issuer = { ...HOST, lpa2: ds, dsStage2: ds };
        const TG = { '4K': 1, '16K': 2, '64K': 3 }[granule];
        let at = start * pageBytes;
        for (const part of rangeParts(granule, ds, at, pages * pageBytes)) {
          const { start: partStart, scale: SCALE, num: NUM, base: BaseADDR } = part;
          if (SCALE === undefined || NUM === undefined || BaseADDR === undefined) {
            expect(scope('IPAS2E1IS', { IPA: partStart }, issuer).start).toBe(at);
            at += pageBytes;
            continue;
          }
          const range = scope('RIPAS2E1IS', { TG, SCALE, NUM, BaseADDR }, issuer);
          expect(range.start).toBe(at);
          at = range.end;
        }
        expect(at).toBe((start + pages) * pageBytes);
      }),
    );
  });
});

describe('invalidation by IPA', () => {
  it('leaves combined entries, and the stage-1 invalidation that must follow takes them', () => {
    const tlb = new AdversarialTlb();
    const guestPage = entry({ stage: 'combined', ipa: 0x4000_0000 });
    tlb.insert(entry({ stage: 'stage2', asid: -1, input: 0x4000_0000 }));
    tlb.insert(guestPage);
    expect(tlb.invalidate(scope('IPAS2E1IS', { IPA: 0x4000_0000 }))).toBe(1);
    expect(tlb.lookup(query({ stage: 'stage2', asid: -1, address: 0x4000_0000 }))).toBeUndefined();
    expect(tlb.lookup(query({ stage: 'combined' }))).toBe(guestPage);
    expect(tlb.invalidate(scope('VMALLE1IS'))).toBe(1);
    expect(tlb.size).toBe(0);
  });

  it('acts on the guest although the host runs with E2H and TGE, where VMALLE1 would miss it', () => {
    const host = { ...HOST, e2h: true, tge: true };
    const guestPage = entry({ stage: 'combined', ipa: 0x4000_0000 });
    expect(removes('IPAS2E1IS', { IPA: 0x4000_0000 }, entry({ stage: 'stage2', asid: -1, input: 0x4000_0000 }), host)).toBe(true);
    expect(removes('VMALLE1IS', {}, guestPage, host)).toBe(false);
    expect(removes('VMALLS12E1IS', {}, guestPage, host)).toBe(true);
  });
});

/** DDI 0406C B3.10.6, DDI 0487 G8.2. */
describe('AArch32 operations', () => {
  const held = {
    page: entry({ input: 0xc000_1000 }),
    global: entry({ input: 0xc000_1000, asid: -1 }),
    otherAsid: entry({ input: 0xc000_1000, asid: 4 }),
    table: entry({ kind: 'table', level: 2, input: 0xc000_0000, shift: 21 }),
    combined: entry({ stage: 'combined', input: 0xc000_1000, ipa: 0x8000_1000 }),
    otherVmid: entry({ input: 0xc000_1000, vmid: 2 }),
    ipa: entry({ stage: 'stage2', asid: -1, input: 0x80_4000_1000 }),
    ipaTable: entry({ stage: 'stage2', asid: -1, kind: 'table', level: 2, input: 0x80_4000_0000, shift: 21 }),
    hyp: entry({ regime: 'el2', vmid: 0, asid: -1, input: 0xc000_1000 }),
    hypTable: entry({ regime: 'el2', vmid: 0, asid: -1, kind: 'table', level: 2, input: 0xc000_0000, shift: 21 }),
  };
  const MVA = 0xc000_1000n;
  const IPA = 0x80_4000_1000n;
  const GUEST: TlbiIssuer = { ...HOST, el: 1 };

  it.each([
    ['TLBIALL', {}, GUEST, 'page global otherAsid table combined'],
    ['TLBIALLIS', {}, HOST, 'page global otherAsid table combined ipa ipaTable'],
    ['ITLBIALL', {}, GUEST, 'page global otherAsid table combined'],
    ['TLBIASID', { ASID: 3n }, GUEST, 'page table combined'],
    ['TLBIMVA', { MVA, ASID: 3n }, GUEST, 'page global table combined'],
    ['TLBIMVAIS', { MVA: 0xc000_2000n, ASID: 3n }, GUEST, 'table'],
    ['TLBIMVAA', { MVA }, GUEST, 'page global otherAsid table combined'],
    ['TLBIMVAL', { MVA, ASID: 3n }, GUEST, 'page global combined'],
    ['TLBIMVAAL', { MVA }, GUEST, 'page global otherAsid combined'],
    ['TLBIALLNSNH', {}, HOST, 'page global otherAsid table combined otherVmid ipa ipaTable'],
    ['TLBIALLH', {}, HOST, 'hyp hypTable'],
    ['TLBIMVAH', { MVA }, HOST, 'hyp hypTable'],
    ['TLBIMVALHIS', { MVA }, HOST, 'hyp'],
    ['TLBIIPAS2IS', { IPA }, HOST, 'ipa ipaTable'],
    ['TLBIIPAS2L', { IPA }, HOST, 'ipa'],
  ] as const)('%s', (name, fields, issuer, gone) => {
    const named = must(scopeOf(name, fields, issuer));
    expect(Object.entries(held).filter(([, each]) => inScope(named, each)).map(([key]) => key)).toEqual(gone.split(' '));
  });
});

describe('the scope of an effect', () => {
  it('is that of the instruction it stands for', () => {
    const ipa = must(scopeOfEffect({ type: 'tlbi', op: 'IPAS2E1IS', address: 0x4020_0000, level: 2 }, HOST, 0x4020_0000));
    expect(ipa).toEqual({ ...scope('IPAS2E1IS', { IPA: 0x4020_0000, TTL: 0b0110 }), pageShift: 0 });
    const range = must(scopeOfEffect({ type: 'tlbi', op: 'RIPAS2E1IS', address: 0x4020_0000, bytes: 0x40_0000 }, HOST, 0x4020_0000));
    expect(range).toMatchObject({ start: 0x4020_0000, end: 0x4060_0000, level: -2 });
    const vmid9 = must(scopeOfEffect({ type: 'tlbi', op: 'VMALLS12E1IS', vmid: 9 }, HOST, undefined));
    expect(vmid9).toEqual(scope('VMALLS12E1IS', {}, { ...HOST, vmid: 9 }));
    expect(must(scopeOfEffect({ type: 'tlbi', op: 'ASIDE1IS', asid: 7 }, HOST, undefined))).toEqual(scope('ASIDE1IS', { ASID: 7 }));
  });
});
