import { describe, expect, it } from 'vitest';
import {
  largestBlockLevel,
  stage1Geometry,
  stage2Geometry,
  tablePool,
  type PoolRegion,
  type Result,
  type TableGeometry,
} from '../src/index.js';
import { random } from './random.js';

const SEED = 0x51ab;

function value<T>(result: Result<T>): T {
  if (result.kind === 'refused') expect.fail(result.sentence);
  return result.value;
}

const s2 = (granule: '4K' | '16K' | '64K', ipaBits: number) => value(stage2Geometry({ granule, ipaBits }));

/** Maps page by page into a set of tables, choosing for each page the largest block that may hold it; knows nothing of intervals. */
function naive(geometry: TableGeometry, regions: readonly PoolRegion[]): number[] {
  const { pageShift, stride, startLevel, entryTables } = geometry;
  const shiftOf = (level: number) => pageShift + stride * (3 - level);
  const tables = new Map<number, Set<number>>();
  for (let level = startLevel + 1; level <= 3; level += 1) tables.set(level, new Set());
  const blockLevels = geometry.granule === '4K' ? [1, 2] : [2];
  for (const { start, size, pages, largestBlock = 2 ** 60, oa = start as number } of regions) {
    for (let ia = start as number; ia < start + size; ia += 2 ** pageShift) {
      const leaf = blockLevels.find((level) => {
        const span = 2 ** shiftOf(level);
        const base = ia - (ia % span);
        const covered = base >= start && base + span <= start + size;
        return pages !== 'pages' && level >= startLevel && span <= largestBlock && covered && (base - start + oa) % span === 0;
      });
      for (let level = startLevel + 1; level <= (leaf ?? 3); level += 1) tables.get(level)!.add(Math.floor(ia / 2 ** shiftOf(level - 1)));
    }
  }
  return [entryTables, ...[...tables.values()].map((each) => each.size)];
}

describe('tablePool', () => {
  it('counts as a naive mapper does, on random regions of all granules', () => {
    const below = random(SEED);
    for (let i = 0; i < 400; i += 1) {
      const granule = (['4K', '16K', '64K'] as const)[i % 3];
      const geometry = s2(granule, [34, 36, 40][below(3)]);
      const page = 2 ** geometry.pageShift;
      const block = page * 2 ** geometry.stride;
      const regions: PoolRegion[] = [];
      let next = below(4) * block;
      for (let each = below(4); each >= 0; each -= 1) {
        const start = next + [0, below(3) * page, below(block / page) * page][below(3)];
        const size = [page, (1 + below(block / page)) * page, block, 2 * block + below(5) * page][below(4)];
        const oa = [undefined, start + 3 * block, start + page][below(3)];
        regions.push({
          start,
          size,
          pages: below(4) === 0 ? 'pages' : 'blocks',
          ...(oa === undefined ? {} : { oa }),
          ...(below(4) === 0 ? { largestBlock: page } : {}),
        });
        next = start + size + [0, 0, below(3) * block][below(3)];
      }
      const { exact, worst } = value(tablePool(geometry, regions.toReversed()));
      const context = `case ${i}, seed ${SEED}: ${JSON.stringify(regions)}`;
      expect(
        exact.byLevel.map(({ tables }) => tables),
        context,
      ).toEqual(naive(geometry, regions));
      expect(
        worst.byLevel.map(({ tables }) => tables),
        context,
      ).toEqual(
        naive(
          geometry,
          regions.map((region) => ({ ...region, pages: 'pages' })),
        ),
      );
      expect(exact.pages).toBe(exact.byLevel.reduce((sum, { tables }) => sum + tables, 0));
      expect(exact.bytes).toBe(exact.pages * page);
    }
  });
  it('a guest of 4 GiB from 1 GiB on in a 40-bit IPA: two entry tables for blocks, 2054 pages at worst', () => {
    const pool = value(tablePool(s2('4K', 40), [{ start: 2 ** 30, size: 2 ** 32 }]));
    expect(pool.exact).toEqual({
      byLevel: [
        { level: 1, tables: 2 },
        { level: 2, tables: 0 },
        { level: 3, tables: 0 },
      ],
      pages: 2,
      bytes: 8192,
    });
    expect(pool.worst.byLevel.map(({ tables }) => tables)).toEqual([2, 4, 2048]);
    expect(pool.worst.pages).toBe(2054);
  });
  it('an output address that is 2 MiB-aligned alone takes a level-2 table for each GiB', () => {
    const pool = value(tablePool(s2('4K', 40), [{ start: 2 ** 30, size: 2 ** 32, oa: 2 ** 21 }]));
    expect(pool.exact.byLevel.map(({ tables }) => tables)).toEqual([2, 4, 0]);
  });
  it('holds the whole of a 52-bit address space', () => {
    const geometry = value(stage2Geometry({ granule: '4K', ipaBits: 52, features: { lpa2: true } }));
    const { exact, worst } = value(tablePool(geometry, [{ start: 0, size: 2 ** 52 }]));
    expect(exact.pages).toBe(16);
    expect(worst.byLevel.map(({ tables }) => tables)).toEqual([16, 2 ** 13, 2 ** 22, 2 ** 31]);
  });
  it('no region takes the entry tables alone', () => {
    expect(value(tablePool(s2('16K', 40), [])).exact).toMatchObject({ pages: 16, bytes: 16 * 16384 });
  });
});

describe('largestBlockLevel', () => {
  it('is that of AArch64.BlockDescSupported', () => {
    const all = { lpa: true, lpa2: true };
    const level = (granule: '4K' | '16K' | '64K', paBits: number) =>
      largestBlockLevel(value(stage1Geometry({ granule, vaBits: 48, paBits, features: all })));
    expect([level('4K', 48), level('16K', 48), level('64K', 48)]).toEqual([1, 2, 2]);
    expect([level('4K', 52), level('16K', 52), level('64K', 52)]).toEqual([0, 1, 1]);
  });
  it('is not above the start level', () => {
    expect(largestBlockLevel(s2('4K', 34))).toBe(2);
  });
});
