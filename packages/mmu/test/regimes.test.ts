import { describe, expect, it } from 'vitest';
import type { Registers } from '@granule/contract';
import { EL1, EL1_TABLES, FETCH, GUEST, HCR, PTE, READ, run, S2, SCTLR, swapped, TCR, WRITE } from './support.js';
import { MAX_FETCHES } from '../src/index.js';

const page = (bits: bigint): Record<number, bigint> => ({ ...EL1_TABLES, 0x3000: 0x8000n | PTE.page | PTE.af | bits });

describe('EL2&0 (HCR_EL2.E2H)', () => {
  const host: Registers = {
    SCTLR_EL2: SCTLR.m | SCTLR.c | SCTLR.i,
    TCR_EL2: TCR.ips48 | TCR.t0sz39 | TCR.t1sz39 | TCR.tg1,
    TTBR0_EL2: 0x1000n,
    TTBR1_EL2: 0x1000n,
    MAIR_EL2: 0xffn,
    HCR_EL2: HCR.rw | HCR.e2h | HCR.tge,
  };
  const el20 = { ...READ, regime: 'el20' } as const;

  it('has two ranges and two levels of privilege', () => {
    expect(run(host, page(PTE.user), 0xff, { ...el20, privileged: false }).out.output).toBe(0x80ff);
    expect(run(host, page(0n), 0xffff_ff80_0000_00ffn, el20).out.output).toBe(0x80ff);
    expect(run(host, page(0n), 0xffff_ff80_0000_00ffn, { ...el20, privileged: false })).toMatchObject({ fault: { type: 'permission', upper: true, address: 0xff } });
  });

  it('what EL0 may write, EL2 may not execute', () => {
    expect(run(host, page(PTE.user), 0, { ...el20, type: 'fetch' })).toMatchObject({ fault: { type: 'permission' } });
  });

  it('obeys PAN', () => {
    expect(run(host, page(PTE.user), 0, { ...el20, pan: true })).toMatchObject({ fault: { type: 'permission' } });
    expect(run(host, page(0n), 0, { ...el20, pan: true })).toMatchObject({ fault: undefined });
  });

  it('with TGE switches stage 1 and stage 2 of EL1&0 off', () => {
    expect(run({ ...host, ...GUEST, HCR_EL2: host['HCR_EL2'] | HCR.vm }, {}, 0x4567, READ)).toMatchObject({ fault: undefined, out: { output: 0x4567, attributes: 0 } });
  });

  it('without FEAT_VHE the bit is nothing: EL2 has one range', () => {
    const bare = { ...host, TCR_EL2: TCR.t0sz39 | (5n << 16n) | (1n << 31n) | (1n << 23n), HCR_EL2: HCR.rw };
    expect(run(bare, page(0n), 0xff, { ...READ, regime: 'el2' }).out.output).toBe(0x80ff);
    expect(run(bare, page(0n), 0xffff_ff80_0000_00ffn, { ...READ, regime: 'el2' })).toMatchObject({ fault: { type: 'translation', level: 0 } });
  });
});

describe('a guest hypervisor (HCR_EL2.{NV, NV1} = {1, 1})', () => {
  it('has tables as at EL2: bit 54 is PXN, EL0 has no data access, PAN does nothing (DDI 0487 D8.4.1)', () => {
    const nested = { ...EL1, HCR_EL2: HCR.rw | HCR.nv | HCR.nv1 };
    expect(run(nested, page(PTE.user), 0, { ...READ, privileged: false })).toMatchObject({ fault: { type: 'permission' } });
    expect(run(nested, page(PTE.uxn), 0, FETCH)).toMatchObject({ fault: { type: 'permission' } });
    expect(run(nested, page(PTE.pxn), 0, FETCH)).toMatchObject({ fault: undefined });
    expect(run(nested, page(PTE.user), 0, { ...READ, pan: true })).toMatchObject({ fault: undefined });
  });
});

describe('walks that leave memory', () => {
  it('end in an external abort on the walk, of the level and stage whose descriptor is not there', () => {
    expect(run(EL1, { 0x1000: 0x2000n | PTE.table }, 0, READ)).toMatchObject({ fault: { type: 'external-abort-on-walk', level: 2, stage: 1, s1ptw: false } });
    expect(run(GUEST, {}, 0, READ)).toMatchObject({ fault: { type: 'external-abort-on-walk', level: 1, stage: 2, s1ptw: true, ipa: 0x1000 } });
    expect(run(GUEST, { 0x10000: 1n | S2.read | S2.af | S2.normal }, 0, READ)).toMatchObject({ fault: { type: 'external-abort-on-walk', level: 1, stage: 1, s1ptw: false } });
  });
});

describe('byte order', () => {
  const words = page(0n);
  const big = Object.fromEntries(Object.entries(words).map(([address, word]) => [address, swapped(word)]));
  const block = 1n | S2.read | S2.write | S2.af | S2.normal;

  it('of stage 1 is SCTLR_EL1.EE, of stage 2 SCTLR_EL2.EE', () => {
    const guest = { ...GUEST, SCTLR_EL1: GUEST['SCTLR_EL1'] | SCTLR.ee };
    expect(run(guest, { ...big, 0x10000: block }, 0xff, READ).out.output).toBe(0x80ff);
    expect(run({ ...GUEST, SCTLR_EL2: SCTLR.ee }, { ...words, 0x10000: swapped(block) }, 0xff, READ).out.output).toBe(0x80ff);
    expect(run({ ...guest, SCTLR_EL2: SCTLR.ee }, { ...big, 0x10000: block }, 0xff, READ).fault).toMatchObject({ stage: 2, s1ptw: true });
  });
});

describe('the log of fetches', () => {
  it('has every descriptor in order, both stages, with its address before and after stage 2', () => {
    const block = 0x4000_0000n | 1n | S2.read | S2.write | S2.af | S2.normal;
    const moved = Object.fromEntries(Object.entries(page(0n)).map(([address, word]) => [Number(address) + 0x4000_0000, word]));
    const { out } = run(GUEST, { ...moved, 0x10000: block }, 0xff, WRITE);
    const rows = out.fetches.all().map(({ stage, level, address, physical }) => [stage, level, address, physical]);
    expect(rows).toEqual([
      [2, 1, 0x10000, 0x10000],
      [1, 1, 0x1000, 0x4000_1000],
      [2, 1, 0x10000, 0x10000],
      [1, 2, 0x2000, 0x4000_2000],
      [2, 1, 0x10000, 0x10000],
      [1, 3, 0x3000, 0x4000_3000],
      [2, 1, 0x10000, 0x10000],
    ]);
    expect(out.output).toBe(0x4000_80ff);
  });

  it('has room for two stages of five levels: 5 · 6 + 5', () => {
    expect(MAX_FETCHES).toBe(35);
  });
});
