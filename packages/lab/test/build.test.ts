import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { Features } from '@granule/contract';
import { armv7Stage1Geometry, armv7Stage2Geometry, type Granule, stage1Geometry, stage2Geometry, type TableGeometry } from '@granule/geometry';
import { bytesSource } from '@granule/memory';
import { openImage as openMemory } from '@granule/snapshot';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildAssembly, type BuildOptions, buildTables, type BuiltTables, type Image, readMappings, readRegionMap, type Region, walkAddress } from '../src/index.js';
import { openBytes, valueOf } from './support.js';

const BASE = 0x9000_0000;
const WIDE: Partial<Features> = { lpa: true, lva: true, lpa2Granules1: ['4K', '16K'], lpa2Granules2: ['4K', '16K'] };
const PAGE_BYTES: Readonly<Record<Granule, number>> = { '4K': 0x1000, '16K': 0x4000, '64K': 0x1_0000 };

type Setting = Pick<BuildOptions, 'backend' | 'regime' | 'geometry' | 'features'> & { readonly name: string };

function armv8Setting(regime: string, granule: Granule, bits: number): Setting {
  const wide = bits > 48;
  const common = { granule, paBits: wide ? 52 : 48, features: { lpa: wide, lva: wide, lpa2: wide, ttst: true } };
  const geometry: TableGeometry = valueOf(regime === 's2' ? stage2Geometry({ ...common, ipaBits: bits }) : stage1Geometry({ ...common, vaBits: bits }));
  return { name: `armv8 ${regime} ${granule} ${bits}`, backend: armv8, regime, geometry, features: wide ? WIDE : {} };
}

const SETTINGS: readonly Setting[] = [
  ...['s2', 'el10', 'el20', 'el2'].flatMap((regime) =>
    (['4K', '16K', '64K'] as const).flatMap((granule) => [36, 40, 48, 52].map((bits) => armv8Setting(regime, granule, bits))),
  ),
  { name: 'armv7 s2', backend: armv7Lpae, regime: 's2', geometry: valueOf(armv7Stage2Geometry({ ipaBits: 40 })), features: {} },
  { name: 'armv7 pl2', backend: armv7Lpae, regime: 'pl2', geometry: valueOf(armv7Stage1Geometry({ vaBits: 32 })), features: {} },
  { name: 'armv7 pl10', backend: armv7Lpae, regime: 'pl10', geometry: valueOf(armv7Stage1Geometry({ vaBits: 32 })), features: {} },
];

/** The tables read back from their bytes and registers, as an image of a machine is. */
function imageOf({ bytes, registers }: BuiltTables): Image {
  return openBytes(valueOf(openMemory(bytesSource(bytes), { base: BASE })).memory, { registers });
}

/** Regions of whole pages in ascending order that do not touch, with an output of their own here and there. */
function regionsOf(setting: Setting): fc.Arbitrary<readonly Region[]> {
  const { granule, iaBits, oaBits, stage } = setting.geometry;
  const page = PAGE_BYTES[granule];
  const room = 2 ** Math.min(iaBits, oaBits);
  const type = fc.record({
    permissions: fc.constantFrom('RW-', 'R--', 'R-X', ...(stage === 2 ? ['RWX', '---'] : [])),
    memory: fc.constantFrom<Region['type']['memory'][]>('normal', 'device-nGnRnE', 'device-nGnRE', 'normal-nc'),
  });
  const place = fc.record({ gap: fc.integer({ min: 1, max: 40_000 }), pages: fc.integer({ min: 1, max: 9000 }), shift: fc.integer({ min: -1, max: 5 }), type });
  return fc.array(place, { minLength: 1, maxLength: 6 }).map((places) => {
    let next = 0;
    return places.flatMap((each, index) => {
      const start = next + each.gap * page;
      const size = each.pages * page;
      const output = each.shift < 0 ? start : each.shift * 2 ** 21;
      next = start + size;
      return next > room ? [] : [{ line: index + 1, start, size, output, type: each.type, label: '' }];
    });
  });
}

describe.each(SETTINGS)('tables built for $name', (setting) => {
  it('read back as the regions, and take as many pages as the pool was said to need', () => {
    fc.assert(
      fc.property(regionsOf(setting), (regions) => {
        fc.pre(regions.length > 0);
        const built = valueOf(buildTables({ ...setting, base: BASE, regions }));
        expect(built.bytes.length).toBe(built.pool.exact.bytes);
        const [tables, ...others] = valueOf(imageOf(built).tables(setting.regime));
        expect(others).toEqual([]);
        const found: unknown[] = [];
        const scan = readMappings(tables, {
          mapping({ start, end, output, leaf }) {
            const last = found.at(-1) as { end: number } | undefined;
            const { permissions, type } = leaf;
            if (last?.end === start) last.end = end;
            else found.push({ start, end, output, permissions: permissions.replace(/^.*EL1\/|^.*EL2\/|^.*PL1\//, ''), type });
          },
        });
        expect(scan.findings).toEqual([]);
        expect(found).toEqual(regions.map(({ start, size, output, type }) => ({ start, end: start + size, output, permissions: type.permissions, type: type.memory })));
      }),
      { numRuns: 8 },
    );
  });

  it('translate in the model of the hardware', () => {
    const page = PAGE_BYTES[setting.geometry.granule];
    const type = { permissions: 'RW-', memory: 'normal' } as const;
    const region: Region = { line: 1, start: 8 * page, size: page, output: 3 * page, type, label: '' };
    const walk = valueOf(walkAddress(imageOf(valueOf(buildTables({ ...setting, base: BASE, regions: [region] }))), setting.regime, BigInt(8 * page + 12)));
    expect(walk.end).toMatchObject({ kind: 'translated', output: 3 * page + 12 });
  });

  it('say the same as assembly', () => {
    const { geometry } = setting;
    const type = { permissions: 'R--', memory: 'normal' } as const;
    const built = valueOf(buildTables({ ...setting, base: BASE, regions: [{ line: 1, start: 0, size: 3 * PAGE_BYTES[geometry.granule], output: 0, type, label: 'a /* b */' }] }));
    const words = [...buildAssembly(built)].join('').split('\n').flatMap((line) => {
      const [, directive, value] = /^\t\.(quad|zero)\t(\w+)/.exec(line) ?? [];
      return directive === 'quad' ? [BigInt(value)] : directive === 'zero' ? Array<bigint>(Number(value) / 8).fill(0n) : [];
    });
    const view = new DataView(built.bytes.buffer, built.bytes.byteOffset);
    expect(words).toEqual(Array.from({ length: built.bytes.length / 8 }, (_, i) => view.getBigUint64(8 * i, true)));
  });
});

describe('a region map', () => {
  const read = (text: string): readonly Region[] => valueOf(readRegionMap(text));

  it('has lines ADDRESS, LENGTH, TYPE, LABEL, and OUTPUT where a region is not mapped to itself', () => {
    expect(read('# a board\r\n\r\nADDRESS, LENGTH, TYPE, LABEL\r\n0x1c09_0000, 4K, device, UART0\r\n0x80000000,2G,R-X normal-nc,RAM,0x4000_0000\r\n')).toEqual([
      { line: 4, start: 0x1c09_0000, size: 0x1000, output: 0x1c09_0000, type: { permissions: 'RW-', memory: 'device-nGnRnE' }, label: 'UART0' },
      { line: 5, start: 0x8000_0000, size: 0x8000_0000, output: 0x4000_0000, type: { permissions: 'R-X', memory: 'normal-nc' }, label: 'RAM' },
    ]);
  });

  it.each([
    ['', /no region/],
    ['0x1000, 4K\n', /^Line 1: There are 2 columns/],
    ['\n0x1000, 4K, CODE, a, 0, b', /^Line 2: There are 6 columns/],
    ['here, 4K, CODE', /^Line 1: The ADDRESS here/],
    ['0x20000000000000, 4K, CODE', /^Line 1: The ADDRESS/],
    ['0, 0, CODE', /^Line 1: The LENGTH 0 /],
    ['0, 4Q, CODE', /^Line 1: The LENGTH 4Q/],
    ['0, 4K, constructor', /^Line 1: The TYPE constructor/],
    ['0, 4K, RWX tagged', /^Line 1: The TYPE RWX tagged/],
    ['0, 4K, CODE, a, there', /^Line 1: The OUTPUT there/],
    ['0x1000, 8K, CODE\n0, 8K, CODE', /^Line 2: The region overlaps the one of line 1 at 0x0000000000001000\.$/],
  ])('%j is refused in one sentence', (text, sentence) => {
    expect(readRegionMap(text)).toMatchObject({ kind: 'refused', sentence: expect.stringMatching(sentence) as unknown });
  });
});

describe('what cannot be built', () => {
  const setting = armv8Setting('s2', '64K', 40);
  const build = (text: string, options: Partial<BuildOptions> = {}): ReturnType<typeof buildTables> =>
    buildTables({ ...setting, base: BASE, regions: valueOf(readRegionMap(text)), ...options });

  it.each<[string, string, Partial<BuildOptions>, string, RegExp]>([
    ['a region that is not whole pages', '0x10000, 4K, CODE', {}, 'map.not-pages', /^Line 1: .*not whole pages of 64K/],
    ['one beyond the input addresses', '0, 64K, CODE\n0xffffff0000, 128K, CODE', {}, 'map.beyond-ia', /^Line 2: .*40-bit/],
    ['an output between pages', '0, 64K, CODE, a, 0x1000', {}, 'map.output', /^Line 1: /],
    ['an output beyond the format', '0, 64K, CODE, a, 0x1_0000_0000_0000', {}, 'oa.too-large', /^Line 1: /],
    ['a base that is not aligned', '0, 64K, CODE', { base: 0x9000_1000 }, 'build.base', /multiple of 64K/],
    ['a base beyond the output addresses', '0, 64K, CODE', { base: 2 ** 50 }, 'build.base', /2\^48/],
    ['more tables than there is room for', '0, 64K, CODE', { base: 2 ** 48 - 0x1_0000 }, 'pool.exhausted', /^Line 1: /],
    ['regions that overlap once they are rounded', '0, 4K, CODE\n0x1000, 4K, CODE', { roundOut: true }, 'geometry.regions-overlap', /overlaps/],
  ])('%s is refused', (_, text, options, id, sentence) => {
    expect(build(text, options)).toMatchObject({ kind: 'refused', id, sentence: expect.stringMatching(sentence) as unknown });
  });

  it('regions may be rounded outwards, their outputs with them', () => {
    const { regions } = valueOf(build('0x10_1000, 4K, CODE, a, 0x20_1000', { roundOut: true }));
    expect(regions).toMatchObject([{ start: 0x10_0000, size: 0x1_0000, output: 0x20_0000 }]);
  });

  it('stage 1 has no mapping without the right to read', () => {
    expect(build('0, 64K, --- normal', armv8Setting('el10', '64K', 40))).toMatchObject({ kind: 'refused', id: 'attributes.not-in-regime' });
  });
});
