import { describe, expect, it } from 'vitest';
import { armv7Stage1Geometry, armv7Stage1Split, armv7Stage2Geometry, stage1Geometry, type Granule, type Result } from '../src/index.js';

function value<T>(result: Result<T>): T {
  if (result.kind === 'refused') expect.fail(result.sentence);
  return result.value;
}

/** Start level by VA size: DDI 0487 D8.2, the tables of TxSZ against start level for each granule (from, to, level). */
const START: Readonly<Record<Granule, readonly (readonly [number, number, number])[]>> = {
  '4K': [[16, 21, 3], [22, 30, 2], [31, 39, 1], [40, 48, 0], [49, 52, -1]],
  '16K': [[16, 25, 3], [26, 36, 2], [37, 47, 1], [48, 52, 0]],
  '64K': [[17, 29, 3], [30, 42, 2], [43, 52, 1]],
};

describe('stage 1', () => {
  for (const granule of ['4K', '16K', '64K'] as const) {
    it(`starts at the published level for each VA size with ${granule} pages, and never concatenates`, () => {
      const page = { '4K': 12, '16K': 14, '64K': 16 }[granule];
      for (const [from, to, level] of START[granule]) {
        for (let vaBits = from; vaBits <= to; vaBits += 1) {
          const geometry = value(stage1Geometry({ granule, vaBits, paBits: 48, features: { lpa2: true, lva: true, ttst: true } }));
          const entries = 2 ** (vaBits - page - (3 - level) * (page - 3));
          expect(geometry).toMatchObject({ stage: 1, iaBits: vaBits, startLevel: level, levels: 4 - level, entryTables: 1 });
          const ds = granule !== '64K' && vaBits > 48;
          expect(geometry).toMatchObject({ rootEntries: entries, entryBytes: entries * 8, oaBits: 48, ds });
        }
      }
    });
  }
  it('a kernel with 4K pages and 48-bit VA has a whole level-0 table', () => {
    expect(value(stage1Geometry({ granule: '4K', vaBits: 48 }))).toEqual({
      stage: 1, granule: '4K', pageShift: 12, stride: 9, iaBits: 48, oaBits: 48, startLevel: 0, levels: 4, entryTables: 1, rootEntries: 512,
      entryBytes: 4096, entryAlignment: 4096, ds: false,
    });
  });
  it('FEAT_LPA is not FEAT_LPA2: with it 64K tables name 52 bits and 4K tables 48', () => {
    const oaBits = (granule: Granule, features: object) => value(stage1Geometry({ granule, vaBits: 48, paBits: 52, features })).oaBits;
    expect([oaBits('64K', { lpa: true }), oaBits('4K', { lpa: true }), oaBits('4K', { lpa2: true })]).toEqual([52, 48, 52]);
  });
  it('a 52-bit VA with 64K pages does not ask for 52-bit output addresses', () => {
    const geometry = value(stage1Geometry({ granule: '64K', vaBits: 52, features: { lva: true } }));
    expect(geometry).toMatchObject({ startLevel: 1, rootEntries: 1024, oaBits: 48 });
  });
  it('a 16-byte table is aligned to 64 bytes where it names 52-bit addresses', () => {
    const options = { granule: '4K', vaBits: 31, features: { lpa2: true } } as const;
    expect(value(stage1Geometry({ ...options, paBits: 52 }))).toMatchObject({ entryBytes: 16, entryAlignment: 64, ds: true });
    expect(value(stage1Geometry({ ...options, paBits: 48 }))).toMatchObject({ entryBytes: 16, entryAlignment: 16, ds: false });
  });
});

describe('ARMv7 stage 2', () => {
  it('KVM takes 40 bits: 1024 entries of 1 GiB in two level-1 tables, aligned to VTTBR_X = 13 bits', () => {
    expect(value(armv7Stage2Geometry({ ipaBits: 40 }))).toMatchObject({
      stage: 2, granule: '4K', iaBits: 40, oaBits: 40, startLevel: 1, levels: 3, entryTables: 2, rootEntries: 1024,
      entryBytes: 8192, entryAlignment: 8192,
    });
  });
  it('level 1 is legal from 31 to 40 bits and level 2 from 25 to 34; alignment is 5 - T0SZ and 14 - T0SZ bits', () => {
    for (let ipaBits = 25; ipaBits <= 40; ipaBits += 1) {
      const t0sz = 32 - ipaBits;
      const legal = ([1, 2] as const).filter((startLevel) => armv7Stage2Geometry({ ipaBits, startLevel }).kind === 'done');
      expect(legal).toEqual([...(ipaBits >= 31 ? [1] : []), ...(ipaBits <= 34 ? [2] : [])]);
      for (const startLevel of legal) {
        const log2 = (startLevel === 1 ? 5 : 14) - t0sz;
        expect(value(armv7Stage2Geometry({ ipaBits, startLevel })).entryAlignment).toBe(2 ** log2);
      }
      expect(value(armv7Stage2Geometry({ ipaBits })).startLevel).toBe(ipaBits <= 34 ? 2 : 1);
    }
  });
});

describe('ARMv7 stage 1', () => {
  it('starts at level 1 for TxSZ 0 and 1, and at level 2 from 2 on', () => {
    const levels = [0, 1, 2, 3, 4, 5, 6, 7].map((txsz) => value(armv7Stage1Geometry({ vaBits: 32 - txsz })).startLevel);
    expect(levels).toEqual([1, 1, 2, 2, 2, 2, 2, 2]);
    expect(value(armv7Stage1Geometry({ vaBits: 32 }))).toMatchObject({ rootEntries: 4, entryBytes: 32, entryAlignment: 32, oaBits: 40 });
  });
  const split = (t0sz: number, t1sz: number) => {
    const { lower, upper } = value(armv7Stage1Split({ t0sz, t1sz }));
    return [lower, upper].map((range) => range && [range.start, range.end, range.geometry.iaBits]);
  };
  it('TTBR0 has everything when both fields are zero', () => {
    expect(split(0, 0)).toEqual([[0, 2 ** 32, 32], undefined]);
  });
  it('one field alone gives the rest to the other TTBR', () => {
    expect(split(1, 0)).toEqual([[0, 0x8000_0000, 31], [0x8000_0000, 2 ** 32, 32]]);
    expect(split(0, 2)).toEqual([[0, 0xc000_0000, 32], [0xc000_0000, 2 ** 32, 30]]);
  });
  it('two fields leave a hole between', () => {
    expect(split(1, 1)).toEqual([[0, 0x8000_0000, 31], [0x8000_0000, 2 ** 32, 31]]);
    expect(split(2, 3)).toEqual([[0, 0x4000_0000, 30], [0xe000_0000, 2 ** 32, 29]]);
    expect(split(7, 7)).toEqual([[0, 0x200_0000, 25], [0xfe00_0000, 2 ** 32, 25]]);
  });
});
