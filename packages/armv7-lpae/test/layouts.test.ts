import { ENTRY } from '@granule/contract';
import { toBigint } from '@granule/geometry/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CASES, formatOf, halves, LEVELS, MAIR } from './support.js';

const KINDS = [ENTRY.zero, ENTRY.annotated, ENTRY.leaf, ENTRY.table] as const;
const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

const meanings = (fields: readonly { name: string; meaning: string }[]): Record<string, string> =>
  Object.fromEntries(fields.map(({ name, meaning }) => [name, meaning]));

describe('layouts', () => {
  it('give every bit of every kind and level to exactly one field, each with its clause', () => {
    for (const { format, title } of CASES) {
      for (const kind of KINDS) {
        for (const level of LEVELS) {
          let next = 63;
          for (const { msb, lsb, clause } of format.layout(kind, level)) {
            expect(msb, `${title}, kind ${kind}, level ${level}`).toBe(next);
            expect(clause).toMatch(/^(?:DDI 0406C |Linux )/);
            next = lsb - 1;
          }
          expect(next).toBe(-1);
        }
      }
    }
  });

  it('put the fields of a page where DDI 0406C B3.6.1 and B3.6.2 have them', () => {
    const named = (regime: string): string[] => formatOf(regime).layout(ENTRY.leaf, 3).map(({ name, msb, lsb }) => `${name} ${msb}:${lsb}`);
    expect(named('s2')).toEqual([
      'ignored 63:59',
      'Software 58:55',
      'XN 54:54',
      'RES0 53:53',
      'Contiguous 52:52',
      'RES0 51:40',
      'OA[39:12] 39:12',
      'RES0 11:11',
      'AF 10:10',
      'SH 9:8',
      'HAP 7:6',
      'MemAttr 5:2',
      'Type 1:1',
      'Valid 0:0',
    ]);
    expect(named('pl10')).toEqual([
      'ignored 63:59',
      'Software 58:55',
      'XN 54:54',
      'PXN 53:53',
      'Contiguous 52:52',
      'RES0 51:40',
      'OA[39:12] 39:12',
      'nG 11:11',
      'AF 10:10',
      'SH 9:8',
      'AP[2] 7:7',
      'AP[1] 6:6',
      'NS 5:5',
      'AttrIndx 4:2',
      'Type 1:1',
      'Valid 0:0',
    ]);
  });
});

describe('explain', () => {
  it('is total: every word at every level, its fields those of the layout, their values the word', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CASES), word64, fc.constantFrom(...LEVELS), ({ format }, word, level) => {
        const { lo, hi } = halves(word);
        const fields = format.explain(lo, hi, level);
        const bare = fields.map(({ name, msb, lsb, clause }) => ({ name, msb, lsb, clause }));
        expect(bare).toEqual(format.layout(format.kind(lo, hi, level), level));
        expect(fields.reduce((sum, { value, lsb }) => sum | (value << BigInt(lsb)), 0n)).toBe(toBigint(lo, hi));
        expect(fields.filter(({ meaning }) => meaning === '' || meaning.includes('undefined'))).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  it('says what a block of a real kernel says', () => {
    const { lo, hi } = halves(0x0040_0000_4000_071dn);
    expect(meanings(formatOf('pl10', { mair: MAIR }).explain(lo, hi, 2))).toMatchObject({
      'OA[39:21]': '0x40000000',
      XN: 'not executable at PL1 and PL0',
      'AP[2]': 'read/write at PL1, no access at PL0',
      AttrIndx: 'Attr7, of MAIR1, 0xff: normal',
      SH: 'inner shareable',
      AF: 'accessed',
      Type: 'block',
    });
  });

  it('says that 0b01 at level 3 is reserved', () => {
    expect(meanings(formatOf('s2').explain(1, 0, 3))['Valid']).toContain('reserved');
    expect(meanings(formatOf('s2').explain(0, 0x1000_0000, 3))['AnnotationType']).toBe('LOCKED: break-before-make in progress');
  });
});
