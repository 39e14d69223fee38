import { describe, expect, it } from 'vitest';
import {
  entrySpan, GRANULES, hostLevels, kvmIpaLimit, kvmStage2Levels, largestIpaForHost, legalStartLevels, levels, levelShift, stage2Geometry,
  startLevelRange, type Granule, type Level, type Result, type Stage2Options, type TableGeometry,
} from '../src/index.js';
import { LESS_FOUR, LEVELS } from '../src/levels-table.js';
import { KVM_STAGE2 } from './kvm-stage2.data.js';

const ALL = { lpa: true, lpa2: true, lva: true, ttst: true };
const granules = ['4K', '16K', '64K'] as const;

function value<T>(result: Result<T>): T {
  if (result.kind === 'refused') expect.fail(result.sentence);
  return result.value;
}

const stage2 = (options: Stage2Options): TableGeometry => value(stage2Geometry(options));

describe('granules', () => {
  it('have the pages, strides and entry spans of DDI 0487 D8.2', () => {
    expect(granules.map((each) => GRANULES[each].pageBytes)).toEqual([4096, 16384, 65536]);
    expect(granules.map((each) => GRANULES[each].pageShift - GRANULES[each].stride)).toEqual([3, 3, 3]);
    expect([3, 2, 1, 0, -1].map((level) => levelShift('4K', level as Level))).toEqual([12, 21, 30, 39, 48]);
    const [K, M, G, T] = [2 ** 10, 2 ** 20, 2 ** 30, 2 ** 40];
    expect([3, 2, 1, 0].map((level) => entrySpan('4K', level as Level))).toEqual([4 * K, 2 * M, G, 512 * G]);
    expect([3, 2, 1, 0].map((level) => entrySpan('16K', level as Level))).toEqual([16 * K, 32 * M, 64 * G, 128 * T]);
    expect([3, 2, 1].map((level) => entrySpan('64K', level as Level))).toEqual([64 * K, 512 * M, 4 * T]);
  });
});

describe('KVM chooses', () => {
  for (const granule of granules) {
    it(`start level, concatenation and entry table for IPA sizes from 32 to 52 bits with ${granule} pages`, () => {
      expect(KVM_STAGE2[granule].map(([ipaBits]) => ipaBits)).toEqual(Array.from({ length: 21 }, (_, i) => 32 + i));
      for (const [ipaBits, startLevel, entryTables, log2Bytes] of KVM_STAGE2[granule]) {
        const geometry = stage2({ granule, ipaBits, paBits: 52, features: ALL });
        expect(geometry).toMatchObject({ stage: 2, granule, iaBits: ipaBits, oaBits: 52, startLevel, levels: 4 - startLevel, entryTables });
        const [entryBytes, rootEntries, entryAlignment] = [2 ** log2Bytes, 2 ** (log2Bytes - 3), 2 ** Math.max(6, log2Bytes)];
        expect(geometry).toMatchObject({ entryBytes, rootEntries, entryAlignment });
        expect(geometry.ds).toBe(granule !== '64K');
      }
    });
  }
  it('the classic 40-bit IPA with 4K pages: two level-1 tables, 8 KiB, aligned to 8 KiB', () => {
    expect(stage2({ granule: '4K', ipaBits: 40 })).toEqual({
      stage: 2, granule: '4K', pageShift: 12, stride: 9, iaBits: 40, oaBits: 48, startLevel: 1, levels: 3, entryTables: 2,
      rootEntries: 1024, entryBytes: 8192, entryAlignment: 8192, ds: false,
    });
  });
  it('a table smaller than 64 bytes is aligned to 64 only where it names 52-bit addresses', () => {
    const small = { granule: '64K', ipaBits: 30, startLevel: 2, features: ALL } as const;
    expect(stage2({ ...small, paBits: 48 })).toMatchObject({ entryBytes: 16, entryAlignment: 16 });
    expect(stage2({ ...small, paBits: 52 })).toMatchObject({ entryBytes: 16, entryAlignment: 64 });
  });
});

describe('output addresses', () => {
  it('follow PS up to the physical address size, and stop at 48 bits unless 64K or DS', () => {
    const lpa = { lpa: true };
    expect(stage2({ granule: '4K', ipaBits: 40, paBits: 40 }).oaBits).toBe(40);
    expect(stage2({ granule: '4K', ipaBits: 40, paBits: 48, oaBits: 44 }).oaBits).toBe(44);
    expect(stage2({ granule: '4K', ipaBits: 40, paBits: 44, oaBits: 48 }).oaBits).toBe(44);
    expect(stage2({ granule: '4K', ipaBits: 40, paBits: 52, features: lpa })).toMatchObject({ oaBits: 48, ds: false });
    expect(stage2({ granule: '64K', ipaBits: 40, paBits: 52, features: lpa })).toMatchObject({ oaBits: 52, ds: false });
    expect(stage2({ granule: '16K', ipaBits: 40, paBits: 52, features: ALL })).toMatchObject({ oaBits: 52, ds: true });
    expect(stage2({ granule: '16K', ipaBits: 40, paBits: 52, features: ALL, ds: false })).toMatchObject({ oaBits: 48, ds: false });
    expect(stage2({ granule: '64K', ipaBits: 40, paBits: 52, features: ALL, ds: true }).ds).toBe(false);
  });
  it('a 40-bit IPA is legal for an AArch32 guest of a 32-bit machine', () => {
    const geometry = stage2({ granule: '4K', ipaBits: 40, paBits: 32, guest: 'aarch32' });
    expect(geometry).toMatchObject({ startLevel: 1, entryTables: 2, oaBits: 32 });
  });
});

/** IA sizes by start level, DDI 0487 D8.2 (with FEAT_TTST, FEAT_LPA2 and a 52-bit PA). */
const LEGAL: Readonly<Record<Granule, readonly (readonly [Level, number, number])[]>> = {
  '4K': [[3, 16, 25], [2, 22, 34], [1, 31, 43], [0, 40, 52], [-1, 49, 52]],
  '16K': [[3, 16, 29], [2, 26, 40], [1, 37, 51], [0, 48, 52]],
  '64K': [[3, 17, 33], [2, 30, 46], [1, 43, 52]],
};

/** From the text: the start level's tables resolve at least one bit, and one table's stride and four bits of concatenation at most. */
function bruteForce(granule: Granule, ipaBits: number, paBits: number, has: { ttst: boolean; lpa2: boolean }): Level[] {
  const page = { '4K': 12, '16K': 14, '64K': 16 }[granule];
  const bitsPerTable = page - 3;
  const legal: Level[] = [];
  for (const level of [3, 2, 1, 0, -1] as const) {
    let below = page;
    for (let each = 3; each > level; each -= 1) below += bitsPerTable;
    const own = ipaBits - below;
    if (own < 1 || own > bitsPerTable + 4) continue;
    if (granule === '4K' && ((level === 3 && !has.ttst) || (level === 0 && paBits < 44))) continue;
    if (granule === '4K' && level === -1 && (!has.lpa2 || paBits < 52)) continue;
    if (granule === '16K' && ((level === 1 && paBits < 42) || (level === 0 && (!has.lpa2 || paBits < 52)) || level === -1)) continue;
    if (granule === '64K' && ((level === 1 && paBits < 44) || level < 1)) continue;
    legal.push(level);
  }
  return legal;
}

describe('legal start levels', () => {
  for (const granule of granules) {
    it(`with ${granule} pages are those of the published table`, () => {
      for (const [level, min, max] of LEGAL[granule]) {
        const sizes = Array.from({ length: 53 }, (_, i) => i).filter((ipaBits) => {
          const result = stage2Geometry({ granule, ipaBits, startLevel: level, paBits: 52, features: ALL });
          return result.kind === 'done';
        });
        expect([sizes[0], sizes.at(-1), sizes.length]).toEqual([min, max, max - min + 1]);
        const range = startLevelRange(granule, level);
        expect([Math.max(granule === '64K' ? 17 : 16, range.min), Math.min(52, range.max)]).toEqual([min, max]);
      }
    });
    it(`with ${granule} pages agree with a brute force over IPA and PA sizes and features, and so do their tables`, () => {
      for (const paBits of [32, 36, 40, 42, 44, 48, 52]) {
        for (const [ttst, lpa2] of [[false, false], [true, false], [false, true], [true, true]]) {
          const has = { ttst, lpa2 };
          const lowest = has.ttst ? (granule === '64K' ? 17 : 16) : 25;
          const highest = Math.min(paBits, granule === '64K' || has.lpa2 ? 52 : 48);
          for (let ipaBits = lowest; ipaBits <= highest; ipaBits += 1) {
            const tables = value(legalStartLevels({ granule, ipaBits, paBits, features: { lpa: true, ...has } }));
            expect(tables.map((each) => each.startLevel)).toEqual(bruteForce(granule, ipaBits, paBits, has));
            for (const each of tables) {
              expect(each.rootEntries).toBe(2 ** ipaBits / entrySpan(granule, each.startLevel));
              expect([1, 2, 4, 8, 16]).toContain(each.entryTables);
            }
          }
        }
      }
    });
  }
  it('a 40-bit IPA with 4K pages starts at level 1 with two tables or at level 0 with two entries', () => {
    const tables = value(legalStartLevels({ granule: '4K', ipaBits: 40 }));
    const shapes = tables.map(({ startLevel, entryTables, rootEntries }) => [startLevel, entryTables, rootEntries]);
    expect(shapes).toEqual([[1, 2, 1024], [0, 1, 2]]);
  });
  it('the fewest levels may be one, where KVM keeps two', () => {
    const small = { granule: '64K', ipaBits: 33 } as const;
    expect(stage2(small)).toMatchObject({ startLevel: 2, levels: 2 });
    expect(stage2({ ...small, policy: 'fewest-levels' })).toMatchObject({ startLevel: 3, levels: 1, entryTables: 16 });
  });
  it('the fewest levels are the first of the legal ones', () => {
    for (const granule of granules) {
      for (let ipaBits = 25; ipaBits <= 48; ipaBits += 1) {
        const first = value(legalStartLevels({ granule, ipaBits }))[0];
        expect(stage2({ granule, ipaBits, policy: 'fewest-levels' })).toEqual(first);
      }
    }
  });
});

describe('KVM offers', () => {
  it('the physical address size, but 48 bits with 4K or 16K pages and no LPA2 (kvm_set_ipa_limit)', () => {
    for (const paBits of [32, 36, 40, 42, 44, 48]) {
      for (const granule of granules) expect(value(kvmIpaLimit({ granule, paBits }))).toBe(paBits);
    }
    const limits = (features: object) => granules.map((granule) => value(kvmIpaLimit({ granule, paBits: 52, features })));
    expect(limits({ lpa: true })).toEqual([48, 48, 52]);
    expect(limits({ lpa: true, lpa2: true })).toEqual([52, 52, 52]);
  });
});

describe('levels', () => {
  it('the literal table for the compiler is what levels() computes, row by row', () => {
    for (const granule of granules) {
      expect(Object.keys(LEVELS[granule]).map(Number)).toEqual(Array.from({ length: 25 }, (_, i) => 28 + i));
      for (const [bits, count] of Object.entries(LEVELS[granule])) expect([bits, levels(granule, Number(bits))]).toEqual([bits, count]);
    }
    expect(Object.entries(LESS_FOUR)).toEqual(Array.from({ length: 21 }, (_, i) => [`${32 + i}`, 28 + i]));
  });
  it('of a host are those of its kernel configuration (CONFIG_PGTABLE_LEVELS)', () => {
    // Linux arch/arm64/Kconfig: PGTABLE_LEVELS by page size and VA bits.
    const kernels = [
      ['16K', 36, 2], ['64K', 42, 2], ['64K', 48, 3], ['64K', 52, 3], ['4K', 39, 3], ['16K', 47, 3], ['4K', 48, 4],
      ['16K', 48, 4], ['16K', 52, 4], ['4K', 52, 5],
    ] as const;
    for (const [granule, vaBits, count] of kernels) expect(hostLevels(granule, vaBits)).toBe(count);
  });
  it('the largest IPA that is not deeper than its host', () => {
    const hosts = [['4K', 39, 43], ['4K', 48, 52], ['16K', 36, 40], ['16K', 47, 51], ['64K', 42, 46]] as const;
    for (const [granule, vaBits, ipaBits] of hosts) expect(largestIpaForHost({ granule, vaBits })).toBe(ipaBits);
    expect(largestIpaForHost({ granule: '64K', vaBits: 29 })).toBeUndefined();
  });
  it('the largest IPA passes the check and the next one does not', () => {
    for (const [granule, vaBits] of [['4K', 39], ['16K', 36], ['16K', 47], ['64K', 42]] as const) {
      const host = { granule, vaBits };
      const ipaBits = largestIpaForHost(host)!;
      const options = { granule, host, paBits: 52, features: ALL } as const;
      expect(stage2Geometry({ ...options, ipaBits }).kind).toBe('done');
      expect(stage2Geometry({ ...options, ipaBits: ipaBits + 1 })).toMatchObject({ id: 'geometry.host-levels' });
      expect(kvmStage2Levels(granule, ipaBits)).toBe(hostLevels(granule, vaBits));
    }
  });
});

describe('a 16K host with 36-bit VA', () => {
  const host = { granule: '16K', vaBits: 36 } as const;
  it('is fine with a 40-bit IPA', () => {
    expect(stage2({ granule: '16K', ipaBits: 40, host })).toMatchObject({ levels: 2, entryTables: 16 });
  });
  it('is refused from 41 bits on', () => {
    for (let ipaBits = 41; ipaBits <= 48; ipaBits += 1) {
      expect(stage2Geometry({ granule: '16K', ipaBits, host })).toMatchObject({ kind: 'refused', id: 'geometry.host-levels' });
    }
  });
  it('has guests of any IPA with a walker of its own: 0x70_0000_0000 is then in range', () => {
    const geometry = stage2({ granule: '16K', ipaBits: 42, host, hostLevels: 'independent' });
    expect(geometry).toMatchObject({ levels: 3, startLevel: 1 });
    expect(0x70_0000_0000).toBeLessThan(2 ** geometry.iaBits);
    expect(0x70_0000_0000).toBeGreaterThanOrEqual(2 ** host.vaBits);
  });
});
