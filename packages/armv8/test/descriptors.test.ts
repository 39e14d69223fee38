import { ENTRY, type Attributes, type AttributeRequest } from '@granule/contract';
import type { Granule, Level } from '@granule/geometry';
import { toBigint } from '@granule/geometry/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bits, CASES, halves, idOf, LEVELS, value, type Case } from './support.js';

const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const level = fc.constantFrom(...LEVELS);
const anyCase = fc.constantFrom(...CASES);
const PAGE_SHIFT: Readonly<Record<Granule, number>> = { '4K': 12, '16K': 14, '64K': 16 };

/** Leaf levels of the block tables in DDI 0487 D8.3.1, written out: [granule][48 or 52 bits]. */
const LEAF_LEVELS: Readonly<Record<Granule, readonly [plain: readonly number[], wide: readonly number[]]>> = {
  '4K': [
    [1, 2, 3],
    [0, 1, 2, 3],
  ],
  '16K': [
    [2, 3],
    [1, 2, 3],
  ],
  '64K': [
    [2, 3],
    [1, 2, 3],
  ],
};

function oracleKind({ granule, wide }: Case, word: bigint, at: number): number {
  if (word === 0n) return ENTRY.zero;
  if ((word & 1n) === 0n) return ENTRY.annotated;
  const two = (word & 2n) !== 0n;
  if (at === 3) return two ? ENTRY.leaf : ENTRY.annotated;
  if (two) return ENTRY.table;
  return LEAF_LEVELS[granule][wide ? 1 : 0].includes(at) ? ENTRY.leaf : ENTRY.annotated;
}

function oracleAddress({ granule, wide }: Case, word: bigint, lsb: number): bigint {
  const plain = wide && granule !== '64K' ? 50 : 48;
  const low = ((word & ((1n << BigInt(plain)) - 1n)) >> BigInt(lsb)) << BigInt(lsb);
  if (!wide) return low;
  return granule === '64K' ? low | (BigInt(bits(word, 15, 12)) << 48n) : low | (BigInt(bits(word, 9, 8)) << 50n);
}

const SH = ['non', 'reserved', 'outer', 'inner'] as const;
const S2_MEMORY = [
  'device-nGnRnE',
  'device-nGnRE',
  'device-nGRE',
  'device-GRE',
  'reserved',
  'normal-nc',
  'normal-nc-wt',
  'normal-nc-wb',
  'reserved',
  'normal-wt-nc',
  'normal-wt',
  'normal-wt-wb',
  'reserved',
  'normal-wb-nc',
  'normal-wb-wt',
  'normal',
] as const;
const S2_MEMORY_FWB = [
  'device-nGnRnE',
  'device-nGnRE',
  'device-nGRE',
  'device-GRE',
  'reserved',
  'normal-nc',
  'normal',
  'as-stage1',
] as const;
const S1_MEMORY = [
  'normal',
  'normal-wt',
  'normal-nc',
  'device-nGnRnE',
  'device-nGnRE',
  'normal-tagged',
  'normal-wb-nc',
  'reserved',
] as const;

/** What a leaf says, from the bits and the published tables alone. */
function oracleLeaf({ format, config, wide, granule }: Case, word: bigint): Attributes {
  const flag = (bit: number): boolean => bits(word, bit, bit) === 1;
  const common = {
    shareability: wide && granule !== '64K' ? ('outer' as const) : SH[bits(word, 9, 8)],
    af: flag(10),
    dbm: flag(51),
    contiguous: flag(52),
    software: bits(word, 58, 55),
  };
  if (format.regime === 's2') {
    const memAttr = bits(word, 5, 2);
    const xn = config.features?.xnx === true ? bits(word, 54, 53) : bits(word, 54, 54) * 2;
    return {
      ...common,
      read: flag(6),
      write: flag(7),
      px: xn === 0 || xn === 3,
      ux: xn === 0 || xn === 1,
      user: false,
      memory: config.fwb === true ? S2_MEMORY_FWB[memAttr] ?? 'reserved' : S2_MEMORY[memAttr],
      attrIndex: memAttr,
      nG: false,
      ns: false,
      gp: false,
    };
  }
  const attrIndex = bits(word, 4, 2);
  const el2 = format.regime === 'el2';
  return {
    ...common,
    read: true,
    write: !flag(7),
    px: !flag(el2 ? 54 : 53),
    ux: !flag(54),
    user: !el2 && flag(6),
    memory: config.mair === undefined ? 'unknown' : S1_MEMORY[attrIndex],
    attrIndex,
    nG: !el2 && flag(11),
    ns: flag(5),
    gp: flag(50),
  };
}

/** Bits of a leaf that this model gives a meaning to, address and type aside. */
function leafMask({ format, wide, granule, config }: Case): bigint {
  const range = (msb: number, lsb: number): bigint => ((1n << BigInt(msb + 1)) - 1n) & ~((1n << BigInt(lsb)) - 1n);
  const common = range(58, 55) | range(52, 51) | range(10, 10) | (wide && granule !== '64K' ? 0n : range(9, 8));
  if (format.regime === 's2') return common | range(7, 2) | range(54, config.features?.xnx === true ? 53 : 54);
  if (format.regime === 'el2') return common | range(54, 54) | range(50, 50) | range(7, 7) | range(5, 2);
  return common | range(54, 53) | range(50, 50) | range(11, 11) | range(7, 2);
}

describe('descriptors of every regime, granule, width and feature set, against bigint twins', () => {
  it('tells zero, annotated, leaf and table apart as the type bits and level say', () => {
    fc.assert(
      fc.property(anyCase, word64, level, (each, word, at) => {
        const { lo, hi } = halves(word);
        expect(each.format.kind(lo, hi, at)).toBe(oracleKind(each, word, at));
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

  it('decodes output addresses: those of leaves by level, those of tables by page', () => {
    fc.assert(
      fc.property(anyCase, word64, level, (each, word, at) => {
        const { lo, hi } = halves(word);
        const page = PAGE_SHIFT[each.granule];
        expect(BigInt(each.format.tableOutput(lo, hi))).toBe(oracleAddress(each, word, page));
        if (each.format.numbers.leafType[at + 1] < 0) return;
        expect(BigInt(each.format.leafOutput(lo, hi, at))).toBe(oracleAddress(each, word, page + (3 - at) * (page - 3)));
      }),
      { numRuns: 3000 },
    );
  });

  it('encodes what it decodes: attributes, type and address give the meaningful bits back', () => {
    fc.assert(
      fc.property(anyCase, word64, level, (each, word, at) => {
        const { format, granule } = each;
        const { lo, hi } = halves(word);
        const page = PAGE_SHIFT[granule];
        const type = at === 3 ? 3n : 1n;
        if (format.numbers.leafType[at + 1] < 0) {
          expect(idOf(format.encodeLeaf({}, at))).toBe('attributes.level');
          return;
        }
        const leaf = value(format.encodeLeaf(format.decodeLeaf(lo, hi, at), at));
        const res1 = format.regime === 'el2' ? 0x40n : 0n;
        expect(toBigint(leaf.lo, leaf.hi)).toBe((word & leafMask(each)) | type | res1);
        const shift = page + (3 - at) * (page - 3);
        const address = value(format.encodeOutput(format.leafOutput(lo, hi, at), shift));
        const back = toBigint(address.lo, address.hi);
        expect(oracleAddress(each, back, shift)).toBe(oracleAddress(each, word, shift));
        expect(back & leafMask(each)).toBe(0n);
      }),
      { numRuns: 3000 },
    );
  });

  it('places every address of the format without loss', () => {
    fc.assert(
      fc.property(anyCase, fc.bigInt({ min: 0n, max: (1n << 52n) - 1n }), (each, raw) => {
        const page = PAGE_SHIFT[each.granule];
        const address = ((raw & ((1n << (each.wide ? 52n : 48n)) - 1n)) >> BigInt(page)) << BigInt(page);
        const { lo, hi } = value(each.format.encodeOutput(Number(address), page));
        expect(oracleAddress(each, toBigint(lo, hi), page)).toBe(address);
        expect(each.format.tableOutput(lo, hi)).toBe(Number(address));
        expect(each.format.leafOutput(lo, hi, 3)).toBe(Number(address));
      }),
      { numRuns: 2000 },
    );
  });

  it('refuses an address beyond the output size, off its alignment, or not an integer', () => {
    for (const { format, wide } of CASES) {
      expect(idOf(format.encodeOutput(wide ? 2 ** 52 : 2 ** 48, 12))).toBe('oa.too-large');
      expect(idOf(format.encodeOutput(0x20_1000, 21))).toBe('oa.not-aligned');
      expect(idOf(format.encodeOutput(0.5, 12))).toBe('oa.not-integer');
      expect(idOf(format.encodeOutput(-4096, 12))).toBe('oa.not-integer');
    }
  });

  it('gives defaults that it can encode, and decodes them to themselves', () => {
    for (const { format, title } of CASES) {
      const { lo, hi } = value(format.encodeLeaf({}, 3));
      expect(format.decodeLeaf(lo, hi, 3), title).toEqual(format.defaults);
    }
  });
});

describe('hot-loop numbers', () => {
  it('are unsigned halves, but for the types, which may be -1', () => {
    for (const { format } of CASES) {
      const { leafType, tableType, writeProtect, ...rest } = format.numbers;
      const numbers = [...Object.values(rest).flat(), ...Object.values({ ...writeProtect })] as number[];
      for (const each of numbers) expect(each).toBe(each >>> 0);
      expect(Math.min(...leafType, ...tableType)).toBe(-1);
    }
  });

  it('agree with the functions of the format on every word', () => {
    fc.assert(
      fc.property(anyCase, word64, level, ({ format }, word, at) => {
        const { lo, hi } = halves(word);
        const { numbers } = format;
        const type = lo & numbers.typeMask[at + 1];
        const kind = format.kind(lo, hi, at);
        expect(type === numbers.leafType[at + 1]).toBe(kind === ENTRY.leaf);
        expect(type === numbers.tableType[at + 1]).toBe(kind === ENTRY.table);
        const attributes = format.decodeLeaf(lo, hi, 3);
        expect((lo & numbers.afLo) !== 0).toBe(attributes.af);
        expect((lo & numbers.writableLoMask) === numbers.writableLo).toBe(attributes.write);
        expect((hi & numbers.contiguousHi) !== 0).toBe(attributes.contiguous);
      }),
      { numRuns: 2000 },
    );
  });

  it('write-protect takes write away, and DBM where hardware looks at it (FEAT_HAFDBS), and changes nothing else', () => {
    fc.assert(
      fc.property(anyCase, word64, ({ format, config }, word) => {
        const { lo, hi } = halves(word);
        const { loClear, loSet, hiClear, hiSet } = format.numbers.writeProtect;
        const after = format.decodeLeaf(((lo & ~loClear) | loSet) >>> 0, ((hi & ~hiClear) | hiSet) >>> 0, 3);
        const before = format.decodeLeaf(lo, hi, 3);
        expect(after).toEqual({ ...before, write: false, dbm: before.dbm && config.features?.hdbs !== true });
      }),
      { numRuns: 1000 },
    );
  });

  it('have one object shape in every format', () => {
    const shapes = new Set(CASES.map(({ format }) => JSON.stringify([Object.keys(format), Object.keys(format.numbers)])));
    expect(shapes.size).toBe(1);
  });
});

describe('relax', () => {
  const choice = fc.option(fc.boolean(), { nil: undefined });

  it('adds read and write, sets execute exactly, and leaves all else alone', () => {
    fc.assert(
      fc.property(anyCase, word64, choice, choice, choice, choice, ({ format }, word, read, write, px, ux) => {
        const add = {
          ...(read === undefined ? {} : { read }),
          ...(write === undefined ? {} : { write }),
          ...(px === undefined ? {} : { px }),
          ...(ux === undefined ? {} : { ux }),
        };
        const change = format.relax(add);
        if (change.kind !== 'done') {
          expect(change.id).toMatch(/^relax\./);
          return;
        }
        const { lo, hi } = halves(word);
        const { loClear, loSet, hiClear, hiSet } = change.value;
        const before = format.decodeLeaf(lo, hi, 3);
        const after = format.decodeLeaf(((lo & ~loClear) | loSet) >>> 0, ((hi & ~hiClear) | hiSet) >>> 0, 3);
        const want: AttributeRequest = { ...before, read: before.read || read === true, write: before.write || write === true };
        const oneXn = value(format.encodeLeaf({ px: true, ux: true }, 3));
        const tied = format.regime === 'el2' || idOf(format.encodeLeaf({ px: true, ux: false }, 3)) !== 'done';
        expect(oneXn.lo & 3).toBe(3);
        expect(after).toEqual({ ...want, px: px ?? (tied ? ux ?? before.px : before.px), ux: ux ?? (tied ? px ?? before.ux : before.ux) });
      }),
      { numRuns: 2000 },
    );
  });
});

describe('annotations', () => {
  it('come back as they went in, in an invalid entry', () => {
    fc.assert(
      fc.property(
        anyCase,
        fc.integer({ min: 1, max: 15 }),
        fc.bigInt({ min: 0n, max: (1n << 59n) - 1n }),
        level,
        ({ format }, type, note, at) => {
          const { lo, hi } = value(format.encodeAnnotation(type, note));
          expect(format.kind(lo, hi, at)).toBe(ENTRY.annotated);
          expect(format.decodeAnnotation(lo, hi)).toEqual({ type, value: note });
        },
      ),
    );
  });

  it('refuse type 0, type 16 and a value of 60 bits; the locked entry is type 1', () => {
    for (const { format } of CASES) {
      expect(idOf(format.encodeAnnotation(0, 1n))).toBe('annotation.type');
      expect(idOf(format.encodeAnnotation(16, 1n))).toBe('annotation.type');
      expect(idOf(format.encodeAnnotation(1, 1n << 59n))).toBe('annotation.value');
      expect(toBigint(format.locked.lo, format.locked.hi)).toBe(1n << 60n);
    }
  });
});

describe('hierarchical attributes', () => {
  const attributes = fc.record({
    nsTable: fc.boolean(),
    apTable: fc.integer({ min: 0, max: 3 }),
    uxnTable: fc.boolean(),
    pxnTable: fc.boolean(),
  });

  it('are in bits 63:59 of stage-1 tables, without APTable[0] and PXNTable in el2, and nowhere at stage 2', () => {
    fc.assert(
      fc.property(anyCase, attributes, ({ format }, want) => {
        const encoded = format.encodeTable(want);
        const word =
          (want.nsTable ? 1n << 63n : 0n) |
          (BigInt(want.apTable) << 61n) |
          (want.uxnTable ? 1n << 60n : 0n) |
          (want.pxnTable ? 1n << 59n : 0n);
        const allowed = format.regime === 's2' ? 0n : format.regime === 'el2' ? 0b1101n << 60n : 0b11111n << 59n;
        if ((word & ~allowed) !== 0n) {
          expect(idOf(encoded)).toBe('attributes.not-in-regime');
          return;
        }
        const { lo, hi } = value(encoded);
        expect(toBigint(lo, hi)).toBe(word | 3n);
        expect(format.decodeTable(lo, hi)).toEqual(want);
      }),
    );
  });
});

describe('contents of a table descriptor', () => {
  it('names the next table of each level but the last', () => {
    for (const { format } of CASES) {
      for (const at of LEVELS) expect(format.kind(3, 0, at)).toBe(at === 3 ? ENTRY.leaf : ENTRY.table);
    }
    const reserved: Level = 3;
    for (const { format } of CASES) expect(format.kind(1, 0, reserved)).toBe(ENTRY.annotated);
  });
});
