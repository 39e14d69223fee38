import { describe, expect, it } from 'vitest';
import { bracket } from '../../src/cost/bracket.js';
import { durationText, parseDuration } from '../../src/cost/duration.js';
import { estimate } from '../../src/cost/estimate.js';
import { COST_ITEMS } from '../../src/cost/items.js';
import { COST_PROFILES, type CostProfile } from '../../src/cost/profile.js';
import { type Counts } from '../../src/report/counts.js';
import { countsOf, invalidations } from './support.js';

const FPGA: CostProfile = COST_PROFILES['fpga-2021'];
const MS = 1_000_000;

/** 8 GiB of MMIO unmapped, 4K granule: the counts of review thread 002. */
const BY_PAGES = invalidations(2_097_152, 4_096 + 8);
const BY_2M = invalidations(4_096, 8);
const BY_1G = invalidations(8, 0);

describe('the FPGA of 2021', () => {
  it('takes at least 856.6 us for each of the 2,101,256 invalidations of 8 GiB by pages, which are 30 minutes', () => {
    // 30 min = 1,800,000,000,000 ns, by hand: / 2,101,256 = 856,630.51…
    expect(1_800_000_000_000n / 2_101_256n).toBe(856_630n);
    expect(estimate(FPGA, BY_PAGES)).toMatchObject({ ns: 1_800_000_000_000, lowerBound: true, unknown: [] });
  });

  it('needs 7 ms for 1 GiB blocks and 3.5 s for 2 MiB blocks', () => {
    // 8 · 856,630.51… = 6,853,044.08 and 4,104 · 856,630.51… = 3,515,611,614.7
    expect((8n * 1_800_000_000_000n * 2n + 2_101_256n) / (2n * 2_101_256n)).toBe(6_853_044n);
    expect((4_104n * 1_800_000_000_000n * 2n + 2_101_256n) / (2n * 2_101_256n)).toBe(3_515_611_615n);
    expect(estimate(FPGA, BY_1G).ns).toBe(6_853_044);
    expect(estimate(FPGA, BY_2M).ns).toBe(3_515_611_615);
  });

  it('says what it has no cost for: barriers and writes beyond those of its invalidations, faults, range invalidations', () => {
    const counts = countsOf({
      tlbis: [
        { op: 'IPAS2E1IS', scope: 'ipa', reason: 'leaf', pe: 0, count: 10 },
        { op: 'VMALLE1IS', scope: 'stage1', reason: 'stage2', pe: 0, count: 11 },
        { op: 'RIPAS2E1IS', scope: 'ipa-range', reason: 'none', pe: 0, count: 1 },
      ],
      barriers: { 'dsb.ishst': 11, 'dsb.ish': 22, isb: 11 },
      faults: [{ type: 'translation', stage: 2, level: 3, access: 'read', count: 5 }],
      writes: 25,
    });
    expect(estimate(FPGA, counts).unknown).toEqual([
      { item: 'tlbi-range', count: 1 },
      { item: 'tlbi-stage1', count: 1 },
      { item: 'dsb', count: 3 },
      { item: 'isb', count: 1 },
      { item: 'descriptor-write', count: 15 },
      { item: 'fault', count: 5 },
    ]);
  });
});

describe('949 ms, measured with blocks', () => {
  const found = bracket(FPGA, { ns: 949 * MS, source: 'thread 002' }, [{ name: '2M', counts: BY_2M }, { name: '1G', counts: BY_1G }], 8);

  it('lie between 1 GiB and 2 MiB blocks', () => {
    expect(found).toMatchObject({
      inside: true, lowerBound: true, parts: 8, cheap: { name: '1G', ns: 6_853_044 }, dear: { name: '2M', ns: 3_515_611_615 },
    });
  });

  it('are what 2.1481 of the 8 GiB by 2 MiB blocks would take', () => {
    // x/8 = (949e6 − 8c) / (4096c), c = 1.8e12 / 2,101,256, in ten-thousandths of a GiB, halves up.
    const [n, d] = [1_800_000_000_000n, 2_101_256n];
    const numerator = (949_000_000n * d - 8n * n) * 8n * 10_000n;
    const denominator = 4_096n * n;
    expect((2n * numerator + denominator) / (2n * denominator)).toBe(21_481n);
    expect(found.dearParts).toBe(2.1481);
  });

  it('are above two of the eight, 8 + 2·512 invalidations, and below three: costs of 1.0735 and 0.7175 times the bound', () => {
    const [n, d] = [1_800_000_000_000n, 2_101_256n];
    const nearest = (count: bigint): number => Number((2n * count * n + d) / (2n * d));
    const factor = (count: bigint): number => Number((2n * 949_000_000n * 10_000n * d + count * n) / (2n * count * n)) / 10_000;
    expect([nearest(1032n), nearest(1544n)]).toEqual([884_042_687, 1_322_637_508]);
    expect([factor(1032n), factor(1544n)]).toEqual([1.0735, 0.7175]);
    expect(found.mixes).toEqual([
      { dearParts: 2, ns: 884_042_687, factor: 1.0735 },
      { dearParts: 3, ns: 1_322_637_508, factor: 0.7175 },
    ]);
  });
});

describe('a bracket', () => {
  /** 7 ns for 2 invalidations: nothing here divides evenly. */
  const ODD: CostProfile = {
    ...FPGA, name: 'odd', costs: { 'tlbi-leaf': { ns: 7, per: 2, bound: 'measured', how: '', covers: { 'tlbi-stage1': 1, dsb: 3, isb: 1, 'descriptor-write': 1 } } },
  };
  const of = (ns: number, a: Counts, b: Counts, parts?: number) =>
    bracket(ODD, { ns, source: '' }, [{ name: 'a', counts: a }, { name: 'b', counts: b }], parts);

  it('is exact where the total is a whole mix, and then has one', () => {
    // 0 to 20 invalidations in 4 parts: one part is 5 invalidations, 17.5 ns; two are 35.
    expect(of(35, invalidations(0, 0), invalidations(20, 0), 4)).toMatchObject({ inside: true, lowerBound: false, dearParts: 2, mixes: [{ dearParts: 2, ns: 35, factor: 1 }] });
  });

  it('includes both ends', () => {
    expect(of(0, invalidations(0, 0), invalidations(20, 0)).mixes).toEqual([{ dearParts: 0, ns: 0 }]);
    expect(of(70, invalidations(0, 0), invalidations(20, 0)).mixes).toEqual([{ dearParts: 1, ns: 70, factor: 1 }]);
  });

  it('has no mix outside', () => {
    expect(of(71, invalidations(0, 0), invalidations(20, 0))).toMatchObject({ inside: false, mixes: [] });
    expect(of(34, invalidations(10, 0), invalidations(20, 0))).toMatchObject({ inside: false, mixes: [] });
  });

  it('has none between policies of the same cost', () => {
    expect(of(35, invalidations(10, 0), invalidations(10, 0))).toMatchObject({ inside: true, mixes: [] });
  });

  it('is exact where doubles are not', () => {
    // 3 · 2^52 ns over 2^52 invalidations in parts of 3: counts × ns leaves 2^53 far behind.
    const big: CostProfile = { ...ODD, costs: { 'tlbi-leaf': { ...ODD.costs['tlbi-leaf']!, ns: 9_007_199_254_740_991, per: 9_007_199_254_740_989 } } };
    const counts = invalidations(2 ** 52 - 1, 0);
    const exact = ((2n ** 52n - 1n) * 9_007_199_254_740_991n * 2n + 9_007_199_254_740_989n) / (2n * 9_007_199_254_740_989n);
    expect(estimate(big, counts).ns).toBe(Number(exact));
  });
});

describe('every profile', () => {
  it.each(Object.entries(COST_PROFILES))('%s names its source and what it does not know, and its costs are whole numbers', (name, profile: CostProfile) => {
    expect(profile.name).toBe(name);
    expect(profile.source).toMatch(/\d{4}/);
    expect(profile.unknown).not.toBe('');
    for (const [item, cost] of Object.entries(profile.costs)) {
      expect(Object.keys(COST_ITEMS)).toContain(item);
      expect([cost.ns, cost.per].every((each) => Number.isSafeInteger(each) && each > 0)).toBe(true);
      expect(cost.how).not.toBe('');
    }
  });

  it('write-protects 127 GiB of pages on a Kunpeng 920 in 648.2 ms, less what is not measured', () => {
    const counts = countsOf({ writes: 127 * 262_144, tlbis: [{ op: 'VMALLS12E1IS', scope: 'vmid', reason: 'none', pe: 0, count: 1 }] });
    expect(estimate(COST_PROFILES['kunpeng-920'], counts)).toMatchObject({ ns: 648_200_000, lowerBound: true, unknown: [{ item: 'tlbi-vmid', count: 1 }] });
  });
});

describe('a time', () => {
  it.each([
    ['949 ms', 949_000_000], ['1.5us', 1_500], ['30 min', 1_800_000_000_000], ['0.000000001 s', 1], ['2 h', 7_200_000_000_000],
    ['1.5 ns', undefined], ['949', undefined], ['-1 s', undefined], ['1e3 s', undefined], ['3000 h', undefined],
  ])('%s is %s ns', (text, ns) => {
    expect(parseDuration(text)).toBe(ns);
  });

  it.each([
    [0, '0 ns'], [999, '999 ns'], [6_853_044, '6.85 ms'], [949_000_000, '949 ms'], [3_515_611_615, '3.52 s'], [1_800_000_000_000, '30 min'],
  ])('%i ns print as %s', (ns, text) => {
    expect(durationText(ns)).toBe(text);
  });
});
