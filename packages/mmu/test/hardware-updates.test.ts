import type { Registers } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { EL1, EL1_TABLES, FETCH, GUEST, PTE, READ, run, S2, SCTLR, swapped, TCR, VTCR, WRITE } from './support.js';

/** DDI 0487 D8.5, Hardware updates to the translation tables. */

const HA: Registers = { ...EL1, TCR_EL1: EL1['TCR_EL1'] | TCR.ha };
const HD: Registers = { ...EL1, TCR_EL1: EL1['TCR_EL1'] | TCR.ha | TCR.hd };
const AT = 0x3000;
const page = (bits: bigint): Record<number, bigint> => ({ ...EL1_TABLES, [AT]: 0x8000n | PTE.page | bits });

describe('the access flag', () => {
  it('faults at the level of the leaf where software manages it', () => {
    expect(run(EL1, page(0n), 0, READ)).toMatchObject({ fault: { type: 'access-flag', level: 3, stage: 1 }, changed: [] });
  });

  it('is set by TCR.HA', () => {
    expect(run(HA, page(0n), 0x123, READ)).toMatchObject({ fault: undefined, out: { output: 0x8123 }, changed: [[AT, 0x8000n | PTE.page | PTE.af]] });
  });

  it('stays clear where the access is not permitted, or is set where the implementation does so', () => {
    expect(run(HA, page(PTE.readOnly), 0, WRITE)).toMatchObject({ fault: { type: 'permission', level: 3 }, changed: [] });
    const eager = run(HA, page(PTE.readOnly), 0, WRITE, { accessFlagOnPermissionFault: true });
    expect(eager).toMatchObject({ fault: { type: 'permission' }, changed: [[AT, 0x8000n | PTE.page | PTE.af | PTE.readOnly]] });
  });

  it('is set by an AT instruction by choice alone', () => {
    const at = { ...READ, type: 'at-read' } as const;
    expect(run(HA, page(0n), 0, at)).toMatchObject({ fault: undefined, changed: [] });
    expect(run(HA, page(0n), 0, at, { atSetsAccessFlag: 'all' }).changed).toHaveLength(1);
  });

  it('is set in memory byte by byte where tables are big-endian (SCTLR.EE)', () => {
    const big = { ...HA, SCTLR_EL1: HA['SCTLR_EL1'] | SCTLR.ee };
    const words = Object.fromEntries(Object.entries(page(0n)).map(([address, word]) => [address, swapped(word)]));
    const { changed, out } = run(big, words, 0, READ);
    expect(out.output).toBe(0x8000);
    expect(changed).toEqual([[AT, swapped(0x8000n | PTE.page | PTE.af)]]);
  });
});

describe('the dirty state', () => {
  it('of a read-only leaf with DBM makes it writable at the first write, and not before', () => {
    const clean = page(PTE.af | PTE.readOnly | PTE.dbm);
    expect(run(HD, clean, 0, READ)).toMatchObject({ fault: undefined, changed: [] });
    expect(run(HD, clean, 0, WRITE)).toMatchObject({ fault: undefined, changed: [[AT, 0x8000n | PTE.page | PTE.af | PTE.dbm]] });
  });

  it('needs DBM, HD, and HA beside HD', () => {
    const denied = { fault: { type: 'permission', level: 3 }, changed: [] };
    expect(run(HD, page(PTE.af | PTE.readOnly), 0, WRITE)).toMatchObject(denied);
    expect(run(HA, page(PTE.af | PTE.readOnly | PTE.dbm), 0, WRITE)).toMatchObject(denied);
    expect(run({ ...EL1, TCR_EL1: EL1['TCR_EL1'] | TCR.hd }, page(PTE.af | PTE.readOnly | PTE.dbm), 0, WRITE)).toMatchObject(denied);
  });

  it('permits AT for write without writing', () => {
    expect(run(HD, page(PTE.af | PTE.readOnly | PTE.dbm), 0, { ...READ, type: 'at-write' })).toMatchObject({ fault: undefined, changed: [] });
  });

  it('counts as writable for WXN', () => {
    const wxn = { ...HD, SCTLR_EL1: HD['SCTLR_EL1'] | SCTLR.wxn };
    expect(run(wxn, page(PTE.af | PTE.readOnly | PTE.dbm), 0, FETCH)).toMatchObject({ fault: { type: 'permission' } });
    expect(run(wxn, page(PTE.af | PTE.readOnly), 0, FETCH)).toMatchObject({ fault: undefined });
  });
});

describe('two stages', () => {
  const block = 1n | S2.read | S2.normal;
  const words = (leaf1: bigint, leaf2: bigint): Record<number, bigint> => ({ ...page(leaf1), 0x10000: leaf2 });
  const bothHd = { ...GUEST, TCR_EL1: HD['TCR_EL1'], VTCR_EL2: GUEST['VTCR_EL2'] | VTCR.ha | VTCR.hd };

  it('a stage-1 descriptor is written through stage 2, which must permit that: else a permission fault on the walk', () => {
    const readOnly = words(0n, block | S2.af);
    expect(run({ ...GUEST, TCR_EL1: HA['TCR_EL1'] }, readOnly, 0, READ)).toMatchObject({
      fault: { type: 'permission', stage: 2, s1ptw: true, level: 1, ipa: AT, access: 'read' },
      changed: [],
    });
  });

  it('and makes that page dirty at stage 2, once', () => {
    const { changed, fault } = run(bothHd, words(0n, block | S2.dbm), 0, READ);
    expect(fault).toBeUndefined();
    expect(changed).toEqual([
      [0x10000, block | S2.dbm | S2.af | S2.write],
      [AT, 0x8000n | PTE.page | PTE.af],
    ]);
  });

  it('the flag of stage 1 stays set where stage 2 then refuses the access', () => {
    const far = { ...EL1_TABLES, [AT]: (1n << 39n) | PTE.page, 0x10000: block | S2.af | S2.write, 0x11000: 0n };
    expect(run({ ...GUEST, TCR_EL1: HA['TCR_EL1'] }, far, 0, READ)).toMatchObject({
      fault: { type: 'translation', stage: 2, s1ptw: false, level: 1, ipa: 2 ** 39 },
      changed: [[AT, (1n << 39n) | PTE.page | PTE.af]],
    });
  });
});
