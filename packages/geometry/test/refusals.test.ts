import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  armv7Stage1Geometry,
  armv7Stage1Split,
  armv7Stage2Geometry,
  kvmIpaLimit,
  legalStartLevels,
  stage1Geometry,
  stage2Geometry,
  tablePool,
  type Level,
  type Result,
} from '../src/index.js';

const asked = new Set<string>();

function refusal(result: Result<unknown>): string {
  if (result.kind === 'done') expect.fail('it was not refused');
  expect(result.source).not.toBe('');
  asked.add(result.id);
  return `${result.id}: ${result.sentence}`;
}

describe('sizes that do not exist', () => {
  it('IPA', () => {
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 53 }))).toMatchInlineSnapshot(
      `"geometry.ipa-out-of-range: IPA size is 53; with 4K pages it is 16 to 52 bits"`,
    );
    expect(refusal(stage2Geometry({ granule: '64K', ipaBits: 16, features: { ttst: true } }))).toMatchInlineSnapshot(
      `"geometry.ipa-out-of-range: IPA size is 16; with 64K pages it is 17 to 52 bits"`,
    );
    expect(refusal(stage2Geometry({ granule: '16K', ipaBits: 40.5 }))).toMatchInlineSnapshot(
      `"geometry.ipa-out-of-range: IPA size is 40.5; with 16K pages it is 16 to 52 bits"`,
    );
    expect(refusal(armv7Stage2Geometry({ ipaBits: 41 }))).toMatchInlineSnapshot(
      `"geometry.ipa-out-of-range: IPA size is 41; with ARMv7 it is 25 to 40 bits"`,
    );
  });
  it('VA', () => {
    expect(refusal(stage1Geometry({ granule: '4K', vaBits: 15 }))).toMatchInlineSnapshot(
      `"geometry.va-out-of-range: VA size is 15; with 4K pages it is 16 to 52 bits"`,
    );
    expect(refusal(armv7Stage1Geometry({ vaBits: 33 }))).toMatchInlineSnapshot(
      `"geometry.va-out-of-range: VA size is 33; with ARMv7 it is 25 to 32 bits"`,
    );
  });
  it('TTBCR fields', () => {
    expect(refusal(armv7Stage1Split({ t0sz: 1, t1sz: 8 }))).toMatchInlineSnapshot(
      `"geometry.txsz-out-of-range: TTBCR.T1SZ is 8; it has 3 bits, 0 to 7"`,
    );
  });
  it('PA', () => {
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 40, paBits: 46 }))).toMatchInlineSnapshot(
      `"geometry.pa-not-a-parange: paBits is 46; a physical address size is 32, 36, 40, 42, 44, 48 or 52 bits"`,
    );
    expect(refusal(stage1Geometry({ granule: '4K', vaBits: 40, oaBits: 56 }))).toMatchInlineSnapshot(
      `"geometry.pa-not-a-parange: oaBits is 56; a physical address size is 32, 36, 40, 42, 44, 48 or 52 bits"`,
    );
    expect(refusal(kvmIpaLimit({ granule: '4K', paBits: 41 }))).toMatchInlineSnapshot(
      `"geometry.pa-not-a-parange: paBits is 41; a physical address size is 32, 36, 40, 42, 44, 48 or 52 bits"`,
    );
  });
  it('an IPA beyond the physical addresses', () => {
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 41, paBits: 40 }))).toMatchInlineSnapshot(
      `"geometry.ipa-exceeds-pa: a 41-bit IPA exceeds the 40-bit physical address size"`,
    );
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 41, paBits: 40, guest: 'aarch32' }))).toMatchInlineSnapshot(
      `"geometry.ipa-exceeds-pa: a 41-bit IPA exceeds the 40-bit physical address size"`,
    );
    expect(refusal(legalStartLevels({ granule: '64K', ipaBits: 52, paBits: 48 }))).toMatchInlineSnapshot(
      `"geometry.ipa-exceeds-pa: a 52-bit IPA exceeds the 48-bit physical address size"`,
    );
  });
  it('an IPA below what KVM gives', () => {
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 31 }))).toMatchInlineSnapshot(
      `"geometry.kvm-ipa-below-32: KVM gives a guest at least 32 bits of IPA, not 31; another policy or a start level allows fewer"`,
    );
  });
});

describe('what the implementation does not have', () => {
  it('a granule', () => {
    expect(refusal(stage2Geometry({ granule: '16K', ipaBits: 40, features: { granules: ['4K', '64K'] } }))).toMatchInlineSnapshot(
      `"geometry.granule-not-implemented: the implementation has no 16K granule at this stage"`,
    );
    expect(refusal(stage1Geometry({ granule: '16K', vaBits: 40, features: { granules: [] } }))).toMatchInlineSnapshot(
      `"geometry.granule-not-implemented: the implementation has no 16K granule at this stage"`,
    );
    expect(refusal(kvmIpaLimit({ granule: '64K', paBits: 40, features: { granules: ['4K'] } }))).toMatchInlineSnapshot(
      `"geometry.granule-not-implemented: the implementation has no 64K granule at this stage"`,
    );
  });
  it('FEAT_TTST', () => {
    expect(refusal(stage1Geometry({ granule: '4K', vaBits: 24 }))).toMatchInlineSnapshot(
      `"geometry.needs-ttst: a 24-bit VA is T0SZ = 40; T0SZ above 39 needs FEAT_TTST"`,
    );
    expect(refusal(stage2Geometry({ granule: '64K', ipaBits: 24 }))).toMatchInlineSnapshot(
      `"geometry.needs-ttst: a 24-bit IPA is T0SZ = 40; T0SZ above 39 needs FEAT_TTST"`,
    );
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 25, startLevel: 3 }))).toMatchInlineSnapshot(
      `"geometry.needs-ttst: start level 3 with 4K pages needs FEAT_TTST"`,
    );
  });
  it('FEAT_LVA', () => {
    expect(refusal(stage1Geometry({ granule: '64K', vaBits: 52 }))).toMatchInlineSnapshot(
      `"geometry.needs-lva: a 52-bit VA with 64K pages needs FEAT_LVA"`,
    );
  });
  it('FEAT_LPA', () => {
    expect(refusal(stage2Geometry({ granule: '64K', ipaBits: 52 }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa: paBits is 52, which needs FEAT_LPA"`,
    );
    expect(refusal(stage1Geometry({ granule: '64K', vaBits: 48, paBits: 52 }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa: paBits is 52, which needs FEAT_LPA"`,
    );
  });
  it('FEAT_LPA2, which FEAT_LPA is not', () => {
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 52, features: { lpa: true } }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa2: a 52-bit IPA with 4K pages needs FEAT_LPA2 and DS = 1"`,
    );
    expect(refusal(stage1Geometry({ granule: '16K', vaBits: 52, features: { lva: true } }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa2: a 52-bit VA with 16K pages needs FEAT_LPA2 and DS = 1"`,
    );
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 40, ds: true }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa2: DS = 1 with 4K pages needs FEAT_LPA2"`,
    );
    expect(refusal(stage2Geometry({ granule: '4K', ipaBits: 52, ds: false, features: { lpa2: true } }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa2: a 52-bit IPA with 4K pages needs FEAT_LPA2 and DS = 1"`,
    );
    expect(refusal(stage2Geometry({ granule: '16K', ipaBits: 48, startLevel: 0 }))).toMatchInlineSnapshot(
      `"geometry.needs-lpa2: start level 0 with 16K pages needs FEAT_LPA2 and DS = 1"`,
    );
  });
});

describe('start levels', () => {
  const at = (granule: '4K' | '16K' | '64K', ipaBits: number, startLevel: Level, paBits?: number) =>
    refusal(stage2Geometry({ granule, ipaBits, startLevel, ...(paBits === undefined ? {} : { paBits }), features: { lpa2: true } }));
  it('that cannot be encoded', () => {
    expect(at('64K', 52, 0)).toMatchInlineSnapshot(`"geometry.start-level-reserved: start level 0 does not exist with 64K pages"`);
    expect(at('16K', 52, -1)).toMatchInlineSnapshot(`"geometry.start-level-reserved: start level -1 does not exist with 16K pages"`);
    expect(refusal(armv7Stage2Geometry({ ipaBits: 40, startLevel: 0 as 1 }))).toMatchInlineSnapshot(
      `"geometry.start-level-reserved: start level 0 does not exist at stage 2 of ARMv7"`,
    );
  });
  it('for which the physical addresses are too small', () => {
    expect(at('4K', 40, 0, 42)).toMatchInlineSnapshot(
      `"geometry.pa-too-small-for-start-level: start level 0 with 4K pages needs a physical address size of 44 bits or more, not 42"`,
    );
    expect(at('16K', 40, 1, 40)).toMatchInlineSnapshot(
      `"geometry.pa-too-small-for-start-level: start level 1 with 16K pages needs a physical address size of 42 bits or more, not 40"`,
    );
    expect(at('64K', 43, 1, 42)).toMatch(/^geometry.ipa-exceeds-pa/);
    expect(at('16K', 48, 0, 48)).toMatchInlineSnapshot(
      `"geometry.pa-too-small-for-start-level: start level 0 with 16K pages needs a physical address size of 52 bits or more, not 48"`,
    );
  });
  it('that have nothing to resolve', () => {
    expect(at('4K', 39, 0)).toMatchInlineSnapshot(
      `"geometry.start-level-too-shallow: start level 0 with 4K pages needs an IPA of 40 bits or more, not 39"`,
    );
    expect(at('4K', 48, -1, 52)).toMatchInlineSnapshot(
      `"geometry.start-level-too-shallow: start level -1 with 4K pages needs an IPA of 49 bits or more, not 48"`,
    );
    expect(refusal(armv7Stage2Geometry({ ipaBits: 30, startLevel: 1 }))).toMatchInlineSnapshot(
      `"geometry.start-level-too-shallow: start level 1 with 4K pages needs an IPA of 31 bits or more, not 30"`,
    );
  });
  it('that would take more than 16 tables', () => {
    expect(at('4K', 35, 2)).toMatchInlineSnapshot(
      `"geometry.concatenation-over-16: start level 2 takes 32 tables for a 35-bit IPA with 4K pages; at most 16 may be concatenated"`,
    );
    expect(at('16K', 48, 2)).toMatchInlineSnapshot(
      `"geometry.concatenation-over-16: start level 2 takes 4096 tables for a 48-bit IPA with 16K pages; at most 16 may be concatenated"`,
    );
    expect(refusal(armv7Stage2Geometry({ ipaBits: 40, startLevel: 2 }))).toMatchInlineSnapshot(
      `"geometry.concatenation-over-16: start level 2 takes 1024 tables for a 40-bit IPA with 4K pages; at most 16 may be concatenated"`,
    );
  });
});

describe('hosts', () => {
  it('with fewer levels than stage 2', () => {
    expect(refusal(stage2Geometry({ granule: '16K', ipaBits: 42, host: { granule: '16K', vaBits: 36 } }))).toMatchInlineSnapshot(
      `"geometry.host-levels: stage-2 needs 3 levels for a 42-bit IPA with 16K pages; a host with 36-bit VA has 2"`,
    );
    expect(
      refusal(stage2Geometry({ granule: '4K', ipaBits: 40, startLevel: 0, host: { granule: '4K', vaBits: 39 } })),
    ).toMatchInlineSnapshot(`"geometry.host-levels: stage-2 needs 4 levels for a 40-bit IPA with 4K pages; a host with 39-bit VA has 3"`);
  });
  it('with other pages', () => {
    expect(refusal(stage2Geometry({ granule: '16K', ipaBits: 40, host: { granule: '4K', vaBits: 48 } }))).toMatchInlineSnapshot(
      `"geometry.host-granule: stage-2 with 16K pages cannot borrow the page-table helpers of a host with 4K pages"`,
    );
  });
});

describe('regions of a table pool', () => {
  const geometry = stage2Geometry({ granule: '4K', ipaBits: 40 });
  if (geometry.kind === 'refused') throw new Error(geometry.sentence);
  const pool = (...regions: { start: number; size: number; oa?: number }[]) => refusal(tablePool(geometry.value, regions));
  it('that are not pages', () => {
    expect(pool({ start: 0, size: 0 })).toMatchInlineSnapshot(
      `"geometry.region-not-pages: region at 0 of 0 bytes, mapped to 0, is not one or more whole pages of 4096 bytes"`,
    );
    expect(pool({ start: 0x800, size: 4096 })).toMatchInlineSnapshot(
      `"geometry.region-not-pages: region at 2048 of 4096 bytes, mapped to 2048, is not one or more whole pages of 4096 bytes"`,
    );
    expect(pool({ start: 0x1000, size: 4096, oa: 0x10 })).toMatchInlineSnapshot(
      `"geometry.region-not-pages: region at 4096 of 4096 bytes, mapped to 16, is not one or more whole pages of 4096 bytes"`,
    );
    for (const bad of [
      { start: -4096, size: 8192 },
      { start: 0, size: 4097 },
      { start: NaN, size: 4096 },
    ])
      expect(pool(bad)).toMatch('region-not-pages');
  });
  it('that end beyond the input address', () => {
    expect(pool({ start: 2 ** 40 - 4096, size: 8192 })).toMatchInlineSnapshot(
      `"geometry.region-beyond-ia: region [0x000000fffffff000, 0x0000010000001000) ends beyond the 40-bit input address"`,
    );
  });
  it('that overlap', () => {
    expect(pool({ start: 0x4000, size: 0x1000 }, { start: 0, size: 0x5000 })).toMatchInlineSnapshot(
      `"geometry.regions-overlap: region at 0x0000000000004000 overlaps the region at 0x0000000000000000"`,
    );
  });
});

describe('the table of refusals in the README', () => {
  it('has every refusal that is tested here, and no other', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const listed = [...readme.matchAll(/^\| `(geometry\.[a-z0-9-]+)` \|/gm)].map((match) => match[1]);
    expect(listed).toEqual([...asked].sort());
  });
});
