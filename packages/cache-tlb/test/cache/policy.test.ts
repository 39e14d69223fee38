import { describe, expect, it } from 'vitest';
import { cachePolicy, type CacheControls, type CachePolicy } from '../../src/cache/policy.js';
import { machine, NC, ON, WB } from './support.js';

const brief = ({ inner, outer, share }: CachePolicy): string => {
  const level = ({ cacheable, through, allocatesOnRead, allocatesOnWrite }: CachePolicy['inner']): string =>
    cacheable ? `${through ? 'wt' : 'wb'}${allocatesOnRead ? 'r' : ''}${allocatesOnWrite ? 'w' : ''}` : 'nc';
  return `${level(inner)} ${level(outer)} ${share}`;
};

/** DDI 0487 D24.2, MAIR_EL1.Attr<n>; B2.10 for shareability. */
describe('the policy of a memory type', () => {
  it.each([
    [0x00, 0, 'nc nc outer'],
    [0x0c, 3, 'nc nc outer'],
    [0x44, 3, 'nc nc outer'],
    [0x40, 3, 'nc nc outer'],
    [0xff, 3, 'wbrw wbrw inner'],
    [0xff, 2, 'wbrw wbrw outer'],
    [0xff, 0, 'wbrw wbrw non'],
    [0xee, 3, 'wbr wbr inner'],
    [0xcc, 3, 'wb wb inner'],
    [0x77, 3, 'wbrw wbrw inner'],
    [0xbb, 3, 'wtrw wtrw inner'],
    [0x33, 3, 'wtrw wtrw inner'],
    [0xa0, 3, 'wtrw wtrw inner'],
    [0xf0, 3, 'wbrw wbrw inner'],
    [0x4f, 3, 'wbrw nc inner'],
    [0xf4, 3, 'nc wbrw inner'],
  ])('MAIR byte %i, SH %i', (attributes, shareability, expected) => {
    expect(brief(cachePolicy(attributes, shareability, false, ON))).toBe(expected);
  });

  it.each<[string, Partial<CacheControls>, string, string]>([
    ['SCTLR.C = 0', { dataCache: false }, 'nc nc outer', 'wbrw wbrw inner'],
    ['SCTLR.I = 0', { instructionCache: false }, 'wbrw wbrw inner', 'nc nc outer'],
    ['HCR.CD = 1', { dataNonCacheable: true }, 'nc nc outer', 'wbrw wbrw inner'],
    ['HCR.ID = 1', { instructionNonCacheable: true }, 'wbrw wbrw inner', 'nc nc outer'],
    ['SCTLR.C = 0 under FWB', { dataCache: false, forceWriteBack: true }, 'wbrw wbrw inner', 'wbrw wbrw inner'],
    ['HCR.CD = 1 under FWB', { dataNonCacheable: true, forceWriteBack: true }, 'nc nc outer', 'wbrw wbrw inner'],
  ])('%s', (_, changes, data, fetch) => {
    expect(brief(cachePolicy(0xff, 3, false, { ...ON, ...changes }))).toBe(data);
    expect(brief(cachePolicy(0xff, 3, true, { ...ON, ...changes }))).toBe(fetch);
  });
});

describe('a guest that runs with its caches off', () => {
  const off = { ...ON, dataCache: false };

  it('reads what lay in memory before its host wrote the page through a cache', () => {
    const { load, store } = machine();
    store(0, 0x100, 1, WB);
    expect(load(0, 0x100, cachePolicy(0xff, 3, false, off))).toBe(0);
  });

  it('reads what its host wrote, with FWB', () => {
    const { load, store } = machine();
    store(0, 0x100, 1, WB);
    expect(load(0, 0x100, cachePolicy(0xff, 3, false, { ...off, forceWriteBack: true }))).toBe(1);
    expect(load(0, 0x100, NC)).toBe(0);
  });
});
