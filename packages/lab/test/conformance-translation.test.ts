import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { fake, geometries, translationConformance } from '@granule/conformance';
import type { Format } from '@granule/contract';
import { armv7Stage1Geometry, armv7Stage2Geometry, legalStartLevels, type Result } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { mmu } from '@granule/mmu';
import { pgtable } from '@granule/pgtable';
import { describe, expect, it } from 'vitest';

// What the page-table core maps, the model of the hardware finds: on every geometry of both architectures.

const memory = ({ pageShift, pages }: { readonly pageShift: number; readonly pages: number }) =>
  createTableArena({ pageShift, maxPages: pages, initialPages: pages });

function value<T>(result: Result<T>): T {
  if (result.kind === 'done') return result.value;
  throw new Error(result.sentence);
}

/** Write-Back, Non-cacheable, Write-Through, Device of all kinds, and outer and inner that differ. */
const MAIR = 0xf4_0c_08_04_00_bb_44_ffn;
const FEATURES = { xnx: true, lpa: true, s2fwb: true } as const;

describe('ARMv8', () => {
  const config = (regime: string) => (regime === 's2' ? { features: FEATURES } : { features: FEATURES, mair: MAIR, sh: 2 });
  translationConformance(mmu, { describe, it, backend: armv8, core: pgtable, memory, config, runs: 10 });
});

describe('ARMv8, upper ranges, no hierarchical permissions', () => {
  const config = () => ({ features: FEATURES, mair: MAIR, upper: true, hpd: true });
  const some = geometries(1).filter(({ iaBits }) => [36, 48, 52].includes(iaBits));
  translationConformance(mmu, { describe, it, backend: armv8, core: pgtable, memory, config, geometries: some, regimes: ['el10', 'el20'], runs: 10 });
});

describe('ARMv8, forced Write-Back, one XN bit, small addresses', () => {
  const config = () => ({ features: { s2fwb: true }, fwb: true });
  const some = [
    ...value(legalStartLevels({ granule: '4K', ipaBits: 32, paBits: 36 })),
    ...value(legalStartLevels({ granule: '16K', ipaBits: 40, paBits: 40 })),
    ...value(legalStartLevels({ granule: '64K', ipaBits: 42, paBits: 44 })),
  ];
  translationConformance(mmu, { describe, it, backend: armv8, core: pgtable, memory, config, geometries: some, regimes: ['s2'], runs: 10 });
});

describe('ARMv7', () => {
  const stage1 = [25, 28, 30, 31, 32].map((vaBits) => value(armv7Stage1Geometry({ vaBits })));
  const stage2 = [25, 30, 31, 32, 34, 36, 40].flatMap((ipaBits) =>
    ([1, 2] as const).map((startLevel) => armv7Stage2Geometry({ ipaBits, startLevel })).flatMap((each) => (each.kind === 'done' ? [each.value] : [])),
  );
  // Faults before the first fetch are of level 1 (DDI 0406C B3.13); a 32-bit program has no address beyond 32 bits.
  const outsideLevel = ({ stage, geometry }: Format) => (stage === 2 || geometry.iaBits < 32 ? 1 : undefined);
  for (const upper of [false, true]) {
    describe(upper ? 'upper range' : 'lower range', () => {
      const config = (regime: string) => (regime === 's2' ? {} : { mair: MAIR, upper });
      const regimes = upper ? ['pl10'] : ['pl10', 'pl2', 's2'];
      const all = [...stage1, ...stage2];
      translationConformance(mmu, { describe, it, backend: armv7Lpae, core: pgtable, memory, config, geometries: all, regimes, outsideLevel, runs: 10 });
    });
  }
});

describe('a format that is not of Arm', () => {
  it('is refused by the model of Arm hardware', () => {
    const geometry = geometries(2)[0];
    const format = fake.format('s2', { geometry });
    if (format.kind !== 'done') throw new Error(format.sentence);
    expect(mmu.open({ format: format.value, config: { geometry }, memory: memory({ pageShift: 12, pages: 16 }), root: 0 })).toMatchObject({ kind: 'refused', id: 'walker.format' });
  });
});
