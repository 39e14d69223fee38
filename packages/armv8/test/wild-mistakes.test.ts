import type { TlbiStep } from '@granule/contract';
import { stage1Geometry, stage2Geometry } from '@granule/geometry';
import { describe, expect, it } from 'vitest';
import { format, instructions, registers } from '../src/index.js';
import { formatOf, geometryOf, idOf, MAIR, value } from './support.js';

const MMFR0 = (fields: Record<string, number>): bigint => value(registers.encode('ID_AA64MMFR0_EL1', fields));

// Each was made by somebody, in the project and report named.
describe('mistakes found in other projects are not made here', () => {
  it('a TLBI operand is VA >> 12 for every granule (zephyr #115708)', () => {
    for (const name of ['VAE1IS', 'VALE2IS', 'VAAE1']) expect(value(instructions.encode(name, { VA: 0x4_0000n }))).toBe(0x40n);
  });

  it('high VA bits do not leak into TTL or ASID (littlekernel/lk #386, page_table_multiarch #21)', () => {
    const operand = value(instructions.encode('VAE1IS', { VA: 0xffff_ffff_ffff_f000n, ASID: 0 }));
    expect(value(instructions.decode('VAE1IS', operand))).toEqual({ ASID: 0n, TTL: 0n, VA: 0x00ff_ffff_ffff_f000n });
  });

  it('TG0 and TG1 encode differently (rust-embedded/cortex-a #25)', () => {
    const granules = (tg0: number, tg1: number): string[] => {
      const tcr = value(registers.encode('TCR_EL1', { TG0: tg0, TG1: tg1, T0SZ: 16, T1SZ: 17, IPS: 5 }));
      return value(registers.roots({ TCR_EL1: tcr, TTBR0_EL1: 0x10_0000n, TTBR1_EL1: 0x20_0000n }, 'el10')).map(
        (root) => root.format.geometry.granule,
      );
    };
    expect(granules(0, 2)).toEqual(['4K', '4K']);
    expect(granules(1, 3)).toEqual(['64K', '64K']);
    expect(granules(2, 1)).toEqual(['16K', '16K']);
  });

  it('PS is a table, not 32 + 4 * PS (gef #120)', () => {
    const oaBits = (ps: number): number => {
      const tcr = value(registers.encode('TCR_EL1', { T0SZ: 25, EPD1: 1, IPS: ps }));
      return value(registers.roots({ TCR_EL1: tcr, TTBR0_EL1: 0x1000n }, 'el10'))[0].format.geometry.oaBits;
    };
    expect([0, 1, 2, 3, 4, 5].map(oaBits)).toEqual([32, 36, 40, 42, 44, 48]);
  });

  it('a concatenated root has more entries than one table (gef #120)', () => {
    const [root] = value(registers.roots({ VTCR_EL2: 0x802d_3558n, VTTBR_EL2: 0x440e_a000n }, 's2'));
    expect([root.format.geometry.rootEntries, root.format.geometry.entryTables]).toEqual([1024, 2]);
  });

  it('a level 0 block is illegal without LPA2 (nuttx #17372)', () => {
    const plain = formatOf('el10', { geometry: geometryOf(1, '4K', false) });
    expect(idOf(plain.encodeLeaf({}, 0))).toBe('attributes.level');
    expect(plain.kind(0x701, 0, 0)).toBe(1);
    expect(idOf(formatOf('el10', { geometry: geometryOf(1, '4K', true) }).encodeLeaf({}, 0))).toBe('done');
  });

  it('an address that is not block-aligned is refused, not ORed in (zephyr #39182)', () => {
    const s2 = formatOf('s2', { geometry: geometryOf(2, '4K', false) });
    expect(idOf(s2.encodeOutput(0x4020_1000, 21))).toBe('oa.not-aligned');
  });

  it('DS is bit 59 of TCR_EL1, and 32 of TCR_EL2 and VTCR_EL2 (edk2 #11721)', () => {
    expect(value(registers.encode('TCR_EL1', { DS: 1 }))).toBe(1n << 59n);
    expect(value(registers.encode('TCR_EL2_E2H', { DS: 1 }))).toBe(1n << 59n);
    for (const name of ['TCR_EL2', 'VTCR_EL2']) expect(value(registers.decode(name, 1n << 32n))['DS']).toBe(1n);
  });

  it('the root of a 52-bit 4K table is at level -1 (edk2 #11721)', () => {
    const tcr = value(registers.encode('TCR_EL1', { T0SZ: 12, DS: 1, IPS: 6, EPD1: 1 }));
    expect(value(registers.roots({ TCR_EL1: tcr, TTBR0_EL1: 0x1000n }, 'el10'))[0].format.geometry.startLevel).toBe(-1);
  });

  it('FEAT_LPA is not FEAT_LPA2 (edk2 #11961)', () => {
    const features = registers.features({ ID_AA64MMFR0_EL1: MMFR0({ PARange: 6, TGran16: 1 }) });
    expect(features).toMatchObject({ lpa: true, lpa2Granules1: [], lpa2Granules2: [] });
    const tcr = value(registers.encode('TCR_EL1', { T0SZ: 16, DS: 1, IPS: 6, EPD1: 1 }));
    expect(value(registers.roots({ TCR_EL1: tcr, TTBR0_EL1: 0x1000n }, 'el10', features))[0].format.geometry).toMatchObject({
      ds: false,
      oaBits: 48,
    });
  });

  it('TGran4 = 1 means supported, 15 does not (bsa-acs #86, nanos #1854, unikraft #1819)', () => {
    const granules = (tgran4: number): readonly string[] => registers.features({ ID_AA64MMFR0_EL1: MMFR0({ TGran4: tgran4 }) }).granules1;
    expect([0, 1, 15].map((each) => granules(each).includes('4K'))).toEqual([true, true, false]);
  });

  it('a stage-1 AttrIndx is not taken for a stage-2 MemAttr (seL4 #1668, microkit #482)', () => {
    const s2 = formatOf('s2', { geometry: geometryOf(2, '4K', false) });
    expect(idOf(s2.encodeLeaf({ memory: 'normal', attrIndex: 0 }, 3))).toBe('attributes.memory-conflict');
    expect(value(s2.encodeLeaf({ memory: 'normal' }, 3)).lo & 0x3c).toBe(0x3c);
  });

  it('a TLBI sequence begins with a DSB and is broadcast (tgoskits #2008)', () => {
    for (const regime of ['s2', 'el2', 'el10', 'el20']) {
      const { tlbi } = formatOf(regime, { geometry: geometryOf(regime === 's2' ? 2 : 1, '4K', false), features: { tlbirange: true } });
      for (const steps of [tlbi.leaf, tlbi.table, tlbi.range, tlbi.all]) {
        expect(steps[0]).toEqual({ type: 'dsb', domain: 'ishst' });
        for (const step of steps) if (step.type === 'tlbi') expect(step.op).toMatch(/IS$/);
        expect(steps.at(-1)).toEqual({ type: 'isb' });
      }
    }
  });

  it('a TLBI is one of the regime (patina #1794)', () => {
    const ops = (regime: string): string[] => {
      const { tlbi } = formatOf(regime, { geometry: geometryOf(regime === 's2' ? 2 : 1, '4K', false) });
      const steps: readonly TlbiStep[] = [...tlbi.leaf, ...tlbi.leafLocal, ...tlbi.table, ...tlbi.range, ...tlbi.all];
      return steps.flatMap((step) => (step.type === 'tlbi' ? [step.op] : []));
    };
    expect(ops('el2').every((op) => op.includes('E2'))).toBe(true);
    expect(ops('el10').every((op) => op.includes('E1'))).toBe(true);
    for (const op of [...ops('s2'), ...ops('el2'), ...ops('el10'), ...ops('el20')]) expect(instructions.names).toContain(op);
  });

  it('XN of el2 is one bit, UXN and PXN of el10 are two (TF-A #924)', () => {
    const el2 = formatOf('el2', { geometry: geometryOf(1, '4K', false) });
    expect(idOf(el2.encodeLeaf({ px: true, ux: false }, 3))).toBe('attributes.not-in-regime');
    expect(value(el2.encodeLeaf({ px: false, ux: false }, 3)).hi >>> 21).toBe(0b10);
    const el10 = formatOf('el10', { geometry: geometryOf(1, '4K', false) });
    expect(value(el10.encodeLeaf({ px: true, ux: false }, 3)).hi >>> 21).toBe(0b10);
    expect(value(el10.encodeLeaf({ px: false, ux: true }, 3)).hi >>> 21).toBe(0b01);
  });

  it('VTTBR.CnP and VMID are not part of the table address, which may use all of BADDR (aarch64-cpu #18, Theseus #701)', () => {
    const [root] = value(registers.roots({ VTCR_EL2: 0x802d_3558n, VTTBR_EL2: 0xffff_ffff_ffff_e001n }, 's2'));
    expect([root.root, root.vmid]).toEqual([0xffff_ffff_e000, 0xffff]);
  });
});

describe('formats are refused', () => {
  const s1 = value(stage1Geometry({ granule: '4K', vaBits: 48 }));
  const s2 = value(stage2Geometry({ granule: '4K', ipaBits: 40 }));
  it.each([
    ['pl10', { geometry: s1 }, 'format.unknown-regime'],
    ['s2', { geometry: s1 }, 'format.stage'],
    ['el10', { geometry: s2 }, 'format.stage'],
    ['el2', { geometry: s1, upper: true }, 'format.upper'],
    ['el10', { geometry: s1, fwb: true }, 'format.not-in-stage'],
    ['s2', { geometry: s2, mair: 0n }, 'format.not-in-stage'],
    ['s2', { geometry: s2, hpd: true }, 'format.not-in-stage'],
    ['s2', { geometry: s2, sh: 4 }, 'format.shareability'],
  ] as const)('%s with %o: %s', (regime, config, id) => {
    expect(idOf(format(regime, config))).toBe(id);
  });
});

describe('attributes are refused', () => {
  const s2 = formatOf('s2', { geometry: geometryOf(2, '4K', false) });
  const el10 = formatOf('el10', { geometry: geometryOf(1, '4K', false), mair: MAIR });
  const bare = formatOf('el10', { geometry: geometryOf(1, '4K', false) });
  const lpa2 = formatOf('s2', { geometry: geometryOf(2, '4K', true), sh: 3 });
  it.each([
    ['EL0 access at stage 2', s2, { user: true }, 'attributes.not-in-regime'],
    ['px without ux and without FEAT_XNX', s2, { px: true, ux: false }, 'attributes.execute-needs-xnx'],
    ['a reserved memory type', s2, { memory: 'reserved' }, 'attributes.memory-type'],
    ['as-stage1 without S2FWB', s2, { memory: 'as-stage1' }, 'attributes.memory-type'],
    ['a MemAttr of five bits', s2, { attrIndex: 16 }, 'attributes.attr-index'],
    ['another shareability than VTCR.SH0 with DS = 1', lpa2, { shareability: 'non' }, 'attributes.shareability'],
    ['five software bits', s2, { software: 16 }, 'attributes.software'],
    ['no read permission at stage 1', el10, { read: false }, 'attributes.not-in-regime'],
    ['a type that the MAIR lacks', el10, { memory: 'device-GRE' }, 'attributes.memory-type'],
    ['a type without a MAIR', bare, { memory: 'normal' }, 'attributes.no-mair'],
    ['AttrIndx 8', bare, { attrIndex: 8 }, 'attributes.attr-index'],
  ] as const)('%s', (_, each, request, id) => {
    expect(idOf(each.encodeLeaf(request, 3))).toBe(id);
  });
});
