import { ENTRY, type Attributes, type AttributeRequest } from '@granule/contract';
import { toBigint } from '@granule/geometry/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { armv7Lpae, format, KVM_ARM_STAGE2 } from '../src/index.js';
import { bits, CASES, formatOf, halves, idOf, LEVELS, MAIR, STAGE1, STAGE2, value, type Case } from './support.js';

const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const level = fc.constantFrom(...LEVELS);
const anyCase = fc.constantFrom(...CASES);

/** DDI 0406C B3.6.1: levels 1 to 3; blocks and tables at 1 and 2, pages at 3. */
function oracleKind(word: bigint, at: number): number {
  if (word === 0n) return ENTRY.zero;
  const type = word & 3n;
  if (at < 1 || type === 0n || type === 2n) return ENTRY.annotated;
  if (at === 3) return type === 3n ? ENTRY.leaf : ENTRY.annotated;
  return type === 3n ? ENTRY.table : ENTRY.leaf;
}

/** Bits 39:lsb; 51:40 are not address in ARMv7. */
function oracleAddress(word: bigint, lsb: number): bigint {
  return ((word & 0xff_ffff_ffffn) >> BigInt(lsb)) << BigInt(lsb);
}

const SH = ['non', 'reserved', 'outer', 'inner'] as const;
/** DDI 0406C B3.8: MemAttr[3:2] = 00 Strongly-ordered or Device, by MemAttr[1:0]; else outer, with inner in [1:0]; 01 NC, 10 WT, 11 WB. */
const S2_MEMORY = [
  ['device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE'],
  ['reserved', 'normal-nc', 'normal-nc-wt', 'normal-nc-wb'],
  ['reserved', 'normal-wt-nc', 'normal-wt', 'normal-wt-wb'],
  ['reserved', 'normal-wb-nc', 'normal-wb-wt', 'normal'],
] as const;
/** Of {@link MAIR}: 0x00, 0x44, 0xaa, 0xee, 0x04, 0x00, 0x00, 0xff. */
const S1_MEMORY = [
  'device-nGnRnE',
  'normal-nc',
  'normal-wt',
  'normal',
  'device-nGnRE',
  'device-nGnRnE',
  'device-nGnRnE',
  'normal',
] as const;

/** What a leaf says, from the bits and the published tables alone. */
function oracleLeaf({ format: { regime }, mair }: Case, word: bigint): Attributes {
  const flag = (bit: number): boolean => bits(word, bit, bit) === 1;
  const stage2 = regime === 's2';
  const two = regime === 'pl10';
  const attrIndex = bits(word, 4, 2);
  return {
    read: stage2 ? flag(6) : true,
    write: stage2 ? flag(7) : !flag(7),
    px: !flag(54) && !(two && flag(53)),
    ux: !flag(54),
    user: two && flag(6),
    memory: stage2 ? S2_MEMORY[bits(word, 5, 4)][bits(word, 3, 2)] : mair === undefined ? 'unknown' : S1_MEMORY[attrIndex],
    attrIndex: stage2 ? bits(word, 5, 2) : attrIndex,
    shareability: SH[bits(word, 9, 8)],
    af: flag(10),
    dbm: false,
    contiguous: flag(52),
    nG: two && flag(11),
    ns: !stage2 && flag(5),
    gp: false,
    software: bits(word, 58, 55),
  };
}

describe('descriptors of every regime, against bigint twins', () => {
  it('tells zero, annotated, leaf and table apart as the type bits and level say', () => {
    fc.assert(
      fc.property(anyCase, word64, level, ({ format: each }, word, at) => {
        const { lo, hi } = halves(word);
        expect(each.kind(lo, hi, at)).toBe(oracleKind(word, at));
      }),
      { numRuns: 2000 },
    );
  });

  it('decodes every leaf attribute', () => {
    fc.assert(
      fc.property(anyCase, word64, (each, word) => {
        const { lo, hi } = halves(word);
        expect(each.format.decodeLeaf(lo, hi, 3)).toEqual(oracleLeaf(each, word));
      }),
      { numRuns: 3000 },
    );
  });

  it('decodes output addresses of leaves by level and of tables by page, and looks at no bit above 39', () => {
    fc.assert(
      fc.property(anyCase, word64, fc.constantFrom(1, 2, 3), ({ format: each }, word, at) => {
        const { lo, hi } = halves(word);
        expect(BigInt(each.leafOutput(lo, hi, at))).toBe(oracleAddress(word, [30, 21, 12][at - 1]));
        expect(BigInt(each.tableOutput(lo, hi))).toBe(oracleAddress(word, 12));
      }),
      { numRuns: 2000 },
    );
  });

  it('encodes what decode tells back to the same bits, reserved bits, address and a PXN beside XN aside', () => {
    const kept = { s2: 0x07d0_0000_0000_07fcn, pl10: 0x07f0_0000_0000_0ffcn, pl2: 0x07d0_0000_0000_07bcn } as const;
    fc.assert(
      fc.property(anyCase, word64, ({ format: each }, word) => {
        const { lo, hi } = halves(word);
        const encoded = value(each.encodeLeaf(each.decodeLeaf(lo, hi, 3), 3));
        const xn = each.regime === 'pl10' && (word >> 54n) & 1n ? ~(1n << 53n) : -1n;
        const res1 = each.regime === 'pl2' ? 0x40n : 0n;
        expect(toBigint(encoded.lo, encoded.hi)).toBe((word & kept[each.regime as keyof typeof kept] & xn) | res1 | 3n);
      }),
      { numRuns: 2000 },
    );
  });

  it('decodes hierarchical attributes: XNTable bears on PL1 too', () => {
    fc.assert(
      fc.property(anyCase, word64, ({ format: each }, word) => {
        const { lo, hi } = halves(word);
        const flag = (bit: number): boolean => each.stage === 1 && bits(word, bit, bit) === 1;
        const two = each.regime === 'pl10';
        const apTable = each.stage === 2 ? 0 : two ? bits(word, 62, 61) : bits(word, 62, 62) * 2;
        expect(each.decodeTable(lo, hi)).toEqual({
          nsTable: flag(63),
          apTable,
          uxnTable: flag(60),
          pxnTable: flag(60) || (two && flag(59)),
        });
      }),
      { numRuns: 2000 },
    );
  });
});

describe('words of KVM and Linux on 32-bit Arm', () => {
  it('a stage-2 page: L_PTE_S2_RDWR, Write-Back, Inner Shareable, AF, executable', () => {
    const { lo, hi } = value(formatOf('s2').encodeLeaf({ px: true, ux: true }, 3));
    expect(toBigint(lo, hi)).toBe(0x7ffn);
  });

  it('a device page of a VM: L_PTE_S2_MT_DEV_SHARED, HAP RW, XN', () => {
    const { lo, hi } = value(formatOf('s2').encodeLeaf({ memory: 'device-nGnRE' }, 3));
    expect(toBigint(lo, hi)).toBe(0x0040_0000_0000_07c7n);
  });

  it('a Hyp page (PAGE_HYP): AP[1] is RES1', () => {
    const { lo, hi } = value(formatOf('pl2', { mair: MAIR }).encodeLeaf({ px: true, ux: true, attrIndex: 7 }, 3));
    expect(toBigint(lo, hi)).toBe(0x75fn);
  });

  it('gives every VM the same stage 2: two tables of 512 entries from level 1, aligned to 2^13', () => {
    const { geometry, t0sz, sl0, vttbrX } = KVM_ARM_STAGE2;
    expect(geometry).toMatchObject({ iaBits: 40, startLevel: 1, entryTables: 2, rootEntries: 1024, entryAlignment: 2 ** 13, oaBits: 40 });
    expect([t0sz, sl0, vttbrX]).toEqual([-8, 1, 13]);
  });
});

describe('refusals', () => {
  const ask = (regime: string, request: AttributeRequest): string =>
    idOf(formatOf(regime, regime === 's2' ? {} : { mair: MAIR }).encodeLeaf(request, 3));

  it.each([
    ['s2', { user: true }],
    ['s2', { nG: true }],
    ['s2', { ns: true }],
    ['s2', { px: true, ux: false }],
    ['s2', { dbm: true }],
    ['s2', { gp: true }],
    ['pl10', { dbm: true }],
    ['pl10', { gp: true }],
    ['pl10', { read: false }],
    ['pl10', { px: true, ux: false }],
    ['pl2', { user: true }],
    ['pl2', { nG: true }],
    ['pl2', { px: false, ux: true }],
  ] as const)('%s has no %o', (regime, request) => {
    expect(ask(regime, request)).toBe('attributes.not-in-regime');
  });

  it('name what is wrong with a request', () => {
    expect(ask('s2', { memory: 'as-stage1' })).toBe('attributes.memory-type');
    expect(ask('s2', { attrIndex: 16 })).toBe('attributes.attr-index');
    expect(ask('s2', { attrIndex: 1, memory: 'normal' })).toBe('attributes.memory-conflict');
    expect(ask('pl10', { attrIndex: 8 })).toBe('attributes.attr-index');
    expect(ask('pl10', { memory: 'normal-tagged' })).toBe('attributes.memory-type');
    expect(ask('pl10', { software: 16 })).toBe('attributes.software');
    expect(idOf(formatOf('pl10').encodeLeaf({ memory: 'normal' }, 3))).toBe('attributes.no-mair');
    expect(idOf(formatOf('s2').encodeLeaf({}, 0))).toBe('attributes.level');
  });

  it('XN bears on both privileges: a table or a relaxation cannot say PL1 alone', () => {
    const pl10 = formatOf('pl10');
    expect(idOf(pl10.encodeTable({ uxnTable: true, pxnTable: false }))).toBe('attributes.not-in-regime');
    expect(value(pl10.encodeTable({ uxnTable: true })).hi >>> 0).toBe(0x1000_0000);
    expect(idOf(pl10.relax({ px: true }))).toBe('relax.execute-incomplete');
    expect(idOf(pl10.relax({ ux: true }))).toBe('relax.execute-incomplete');
    expect(idOf(pl10.relax({ px: true, ux: false }))).toBe('relax.not-in-regime');
    expect(idOf(formatOf('pl2').encodeTable({ apTable: 1 }))).toBe('attributes.not-in-regime');
    expect(idOf(formatOf('s2').encodeTable({ nsTable: true }))).toBe('attributes.not-in-regime');
  });

  it('an output address of more than 40 bits', () => {
    expect(idOf(formatOf('s2').encodeOutput(2 ** 40, 12))).toBe('oa.too-large');
    expect(idOf(formatOf('s2').encodeOutput(2 ** 40 - 4096, 12))).toBe('done');
  });

  it('configurations that ARMv7 does not have', () => {
    const s1 = STAGE1[0];
    const s2 = STAGE2[0];
    expect(idOf(format('el10', { geometry: s1 }))).toBe('format.unknown-regime');
    expect(idOf(format('s2', { geometry: s1 }))).toBe('format.stage');
    expect(idOf(format('pl10', { geometry: { ...s1, granule: '16K' } }))).toBe('format.geometry');
    expect(idOf(format('pl10', { geometry: { ...s1, iaBits: 33 } }))).toBe('format.geometry');
    expect(idOf(format('pl10', { geometry: { ...s1, oaBits: 48 } }))).toBe('format.geometry');
    expect(idOf(format('s2', { geometry: { ...s2, startLevel: 0 } }))).toBe('format.geometry');
    expect(idOf(format('pl2', { geometry: s1, upper: true }))).toBe('format.upper');
    expect(idOf(format('s2', { geometry: s2, fwb: true }))).toBe('format.not-in-architecture');
    expect(idOf(format('s2', { geometry: s2, mair: 0n }))).toBe('format.not-in-stage');
    expect(format('pl10', { geometry: s1, hpd: true }).kind).toBe('not-modelled');
  });
});

describe('tables of types', () => {
  it('all 16 MemAttr have a name, three of them reserved', () => {
    const decoded = Array.from({ length: 16 }, (_, memAttr) => formatOf('s2').decodeLeaf(0b11 | (memAttr << 2), 0, 3).memory);
    expect(decoded).toEqual(S2_MEMORY.flat());
  });

  it('are those of one backend', () => {
    expect(armv7Lpae.regimes).toEqual(['pl10', 'pl2', 's2']);
  });
});
