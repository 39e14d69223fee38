import type { TlbiScope } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { AdversarialTlb } from '../../src/tlb/adversarial.js';
import { TlbOrder } from '../../src/tlb/order.js';
import { scopeOf } from '../../src/tlb/scope.js';
import { entry, HOST, must, query } from './support.js';

/** PEs 0 and 1 share an inner domain, 2 is in another of the same outer domain; all hold the same page. */
function machine() {
  const tlbs = [new AdversarialTlb(), new AdversarialTlb(), new AdversarialTlb()];
  for (const tlb of tlbs) tlb.insert(entry());
  return { tlbs, order: new TlbOrder([{ tlb: tlbs[0] }, { tlb: tlbs[1] }, { tlb: tlbs[2], inner: 1 }]) };
}

const ALL: TlbiScope = must(scopeOf('VMALLE1', {}, HOST));
const holding = (tlbs: readonly AdversarialTlb[]): number[] => [...tlbs.keys()].filter((pe) => tlbs[pe].size > 0);

describe('an invalidation', () => {
  it('is not done when it is issued, and is done by the DSB of its issuer', () => {
    const { tlbs, order } = machine();
    order.invalidate(0, ALL, 'inner');
    expect(holding(tlbs)).toEqual([0, 1, 2]);
    order.dsb(1, 'ish');
    expect(holding(tlbs)).toEqual([0, 1, 2]);
    order.dsb(0, 'ish');
    expect(holding(tlbs)).toEqual([2]);
    expect(order.choices()).toEqual([]);
  });

  it.each([
    ['local', 'sy', [1, 2]],
    ['inner', 'sy', [2]],
    ['outer', 'osh', []],
    ['outer', 'ish', [2]],
    ['inner', 'nsh', [1, 2]],
    ['inner', 'ishst', [0, 1, 2]],
    ['inner', 'st', [0, 1, 2]],
  ] as const)('%s with DSB %s leaves the page with PEs %j', (reach, domain, left) => {
    const { tlbs, order } = machine();
    order.invalidate(0, ALL, reach);
    order.dsb(0, domain);
    expect(holding(tlbs)).toEqual(left);
  });

  it('may take effect earlier, on one PE before the other', () => {
    const { tlbs, order } = machine();
    const id = order.invalidate(0, ALL, 'inner');
    expect(order.choices()).toEqual([
      { invalidation: id, pe: 0 },
      { invalidation: id, pe: 1 },
    ]);
    order.take({ invalidation: id, pe: 1 });
    expect(holding(tlbs)).toEqual([0, 2]);
    expect(() => order.take({ invalidation: id, pe: 1 })).toThrow(RangeError);
    tlbs[1].insert(entry());
    order.dsb(0, 'ish');
    expect(holding(tlbs)).toEqual([1, 2]);
  });

  it('leaves what it removed to accesses of its own PE until a context synchronisation event', () => {
    const { order } = machine();
    order.invalidate(0, ALL, 'inner');
    order.isb(0);
    order.dsb(0, 'ish');
    expect(order.unsynchronised(0, query())).toEqual([entry()]);
    expect(order.unsynchronised(0, query({ address: 0x40_1000 }))).toEqual([]);
    expect(order.unsynchronised(1, query())).toEqual([]);
    order.isb(0);
    expect(order.unsynchronised(0, query())).toEqual([]);
  });
});

describe('a descriptor write', () => {
  const A = { lo: 1, hi: 0 };
  const B = { lo: 2, hi: 0 };

  it('may be seen late by any walker until the DSB of its writer', () => {
    const { order } = machine();
    order.write(0, 0x8000, A);
    for (const pe of [0, 1, 2]) expect(order.descriptors(pe, 0x8000)).toEqual([A]);
    expect(order.descriptors(0, 0x8008)).toEqual([]);
    order.isb(0);
    order.dsb(1, 'ish');
    expect(order.descriptors(1, 0x8000)).toEqual([A]);
    order.dsb(0, 'ishst');
    expect([0, 1, 2].map((pe) => order.descriptors(pe, 0x8000).length)).toEqual([0, 0, 1]);
    order.dsb(0, 'osh');
    expect(order.descriptors(2, 0x8000)).toEqual([]);
  });

  it('may have been read too early for an access of its writer until the ISB after that DSB', () => {
    const { order } = machine();
    order.write(0, 0x8000, A);
    expect(order.early(0, 0x8000)).toEqual([]);
    order.dsb(0, 'ishst');
    order.write(0, 0x8000, B);
    order.dsb(0, 'ishst');
    expect([0, 1].map((pe) => order.early(pe, 0x8000))).toEqual([[B, A], []]);
    order.isb(0);
    expect(order.early(0, 0x8000)).toEqual([]);
  });

  it('offers every value since the last one that must be seen', () => {
    const { order } = machine();
    order.write(0, 0x8000, A);
    order.write(0, 0x8000, B);
    expect(order.descriptors(1, 0x8000)).toEqual([B, A]);
    order.dsb(0, 'ish');
    order.write(1, 0x8000, A);
    expect([0, 1].map((pe) => order.descriptors(pe, 0x8000))).toEqual([[A], [A]]);
    expect(order.descriptors(2, 0x8000)).toEqual([A, B, A]);
  });

  it('hides older values once a walker must see it, whoever wrote them', () => {
    const { order } = machine();
    order.write(0, 0x8000, A);
    order.write(1, 0x8000, B);
    order.dsb(1, 'ish');
    expect([0, 1, 2].map((pe) => order.descriptors(pe, 0x8000))).toEqual([[], [], [B, A]]);
    order.dsb(1, 'sy');
    expect([0, 1, 2].map((pe) => order.descriptors(pe, 0x8000))).toEqual([[], [], []]);
  });
});

describe('a register that translation reads', () => {
  it('may have any earlier value until the PE synchronises its context', () => {
    const { order } = machine();
    order.writeRegister(0, 'VTTBR_EL2', 1n);
    order.writeRegister(0, 'VTTBR_EL2', 2n);
    expect(order.registers(0, 'VTTBR_EL2')).toEqual([2n, 1n]);
    expect(order.registers(1, 'VTTBR_EL2')).toEqual([]);
    order.dsb(0, 'sy');
    expect(order.registers(0, 'VTTBR_EL2')).toEqual([2n, 1n]);
    order.isb(0);
    expect(order.registers(0, 'VTTBR_EL2')).toEqual([]);
  });
});
