import { ENTRY } from '@granule/contract';
import { toBigint } from '@granule/geometry/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { registers } from '../src/index.js';
import { CASES, formatOf, geometryOf, halves, LEVELS, MAIR } from './support.js';

const KINDS = [ENTRY.zero, ENTRY.annotated, ENTRY.leaf, ENTRY.table] as const;
const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

/** Bits 63…0, each exactly once and in order. */
function expectPartition(fields: readonly { readonly msb: number; readonly lsb: number }[], what: string): void {
  let next = 63;
  for (const { msb, lsb } of fields) {
    expect(msb, what).toBe(next);
    expect(lsb, what).toBeLessThanOrEqual(msb);
    next = lsb - 1;
  }
  expect(next, what).toBe(-1);
}

describe('layouts', () => {
  it('give every bit of every descriptor kind, level and configuration to exactly one field', () => {
    for (const { format, title } of CASES) {
      for (const kind of KINDS) {
        for (const level of LEVELS) expectPartition(format.layout(kind, level), `${title}, kind ${kind}, level ${level}`);
      }
    }
  });

  it('give every bit of every register to exactly one field', () => {
    for (const name of registers.names) expectPartition(registers.layout(name) ?? [], name);
  });

  it('cite a clause for every field', () => {
    const fields = [
      ...CASES.flatMap(({ format }) => LEVELS.flatMap((level) => KINDS.flatMap((kind) => format.layout(kind, level)))),
      ...registers.names.flatMap((name) => registers.layout(name) ?? []),
    ];
    expect(fields.filter(({ clause }) => !/^(DDI 0487 |Linux )/.test(clause))).toEqual([]);
  });
});

describe('explain', () => {
  it('is total: every word at every level, its fields those of the layout, their values the word', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CASES), word64, fc.constantFrom(...LEVELS), ({ format }, word, level) => {
        const { lo, hi } = halves(word);
        const fields = format.explain(lo, hi, level);
        expect(fields.map(({ name, msb, lsb, clause }) => ({ name, msb, lsb, clause }))).toEqual(
          format.layout(format.kind(lo, hi, level), level),
        );
        expect(fields.reduce((sum, { value, lsb }) => sum | (value << BigInt(lsb)), 0n)).toBe(toBigint(lo, hi));
        expect(fields.filter(({ meaning }) => meaning === '' || meaning.includes('undefined'))).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  const meanings = (fields: readonly { name: string; meaning: string }[]): Record<string, string> =>
    Object.fromEntries(fields.map(({ name, meaning }) => [name, meaning]));

  it('says what a stage-2 block of a real table says', () => {
    const format = formatOf('s2', { geometry: geometryOf(2, '4K', false), features: { xnx: true } });
    expect(meanings(format.explain(0x4460_07fd, 0x0040_0000, 2))).toMatchObject({
      'OA[47:21]': '0x44600000',
      XN: 'not executable',
      S2AP: 'read/write',
      MemAttr: 'normal',
      SH: 'inner shareable',
      AF: 'accessed',
      Type: 'block',
    });
  });

  it('says what XN of a stage-2 leaf with FEAT_XNX says, all four values (DDI 0487 D8.4.2)', () => {
    const format = formatOf('s2', { geometry: geometryOf(2, '4K', false), features: { xnx: true } });
    expect([0, 1, 2, 3].map((xn) => meanings(format.explain(3, xn << 21, 3))['XN'])).toEqual([
      'executable at EL1 and EL0',
      'executable at EL0, not at EL1',
      'not executable',
      'executable at EL1, not at EL0',
    ]);
  });

  it('tells AP[2:1] of a two-privilege regime as one permission (DDI 0487 D8.4.1)', () => {
    const format = formatOf('el10', { geometry: geometryOf(1, '4K', false), mair: MAIR });
    expect([0, 1, 2, 3].map((ap) => meanings(format.explain(3 | (ap << 6), 0, 3))['AP[2]'])).toEqual([
      'read/write at EL1, no access at EL0',
      'read/write at EL1 and EL0',
      'read-only at EL1, no access at EL0',
      'read-only at EL1 and EL0',
    ]);
  });

  it('names the attribute of the MAIR', () => {
    const format = formatOf('el10', { geometry: geometryOf(1, '4K', false), mair: MAIR });
    expect(meanings(format.explain(3 | (4 << 2), 0, 3))['AttrIndx']).toBe('Attr4 of the MAIR, 0x04: device-nGnRE');
  });

  it('says that a locked entry is locked, and that 0b01 at level 3 is reserved', () => {
    const format = formatOf('s2', { geometry: geometryOf(2, '4K', false) });
    expect(meanings(format.explain(0, 0x1000_0000, 3))['AnnotationType']).toBe('LOCKED: break-before-make in progress');
    expect(meanings(format.explain(1, 0, 3))['Valid']).toContain('reserved');
  });
});
