import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cp15Encoding, cp15Operation, instructions } from '../src/index.js';
import { idOf, value } from './support.js';

const word32 = fc.bigInt({ min: 0n, max: (1n << 32n) - 1n });

/** DDI 0406C B3.17, CP15 c7 and c8; DDI 0487 G7.3: `p15, opc1, Rt, c<CRn>, c<CRm>, opc2`, as Linux writes them. */
const MCR: readonly (readonly [string, string])[] = [
  ['TLBIALLIS', 'p15, 0, c8, c3, 0'],
  ['TLBIMVAIS', 'p15, 0, c8, c3, 1'],
  ['TLBIASIDIS', 'p15, 0, c8, c3, 2'],
  ['TLBIMVAAIS', 'p15, 0, c8, c3, 3'],
  ['TLBIALL', 'p15, 0, c8, c7, 0'],
  ['TLBIMVA', 'p15, 0, c8, c7, 1'],
  ['TLBIASID', 'p15, 0, c8, c7, 2'],
  ['TLBIMVAA', 'p15, 0, c8, c7, 3'],
  ['TLBIALLHIS', 'p15, 4, c8, c3, 0'],
  ['TLBIMVAHIS', 'p15, 4, c8, c3, 1'],
  ['TLBIALLNSNHIS', 'p15, 4, c8, c3, 4'],
  ['TLBIALLH', 'p15, 4, c8, c7, 0'],
  ['TLBIMVAH', 'p15, 4, c8, c7, 1'],
  ['TLBIALLNSNH', 'p15, 4, c8, c7, 4'],
  ['TLBIIPAS2IS', 'p15, 4, c8, c0, 1'],
  ['TLBIIPAS2', 'p15, 4, c8, c4, 1'],
  ['DCISW', 'p15, 0, c7, c6, 2'],
  ['DCCSW', 'p15, 0, c7, c10, 2'],
  ['DCCISW', 'p15, 0, c7, c14, 2'],
  ['DCIMVAC', 'p15, 0, c7, c6, 1'],
  ['DCCMVAC', 'p15, 0, c7, c10, 1'],
  ['DCCMVAU', 'p15, 0, c7, c11, 1'],
  ['DCCIMVAC', 'p15, 0, c7, c14, 1'],
  ['ICIALLUIS', 'p15, 0, c7, c1, 0'],
  ['ICIALLU', 'p15, 0, c7, c5, 0'],
  ['ICIMVAU', 'p15, 0, c7, c5, 1'],
  ['ATS1CPR', 'p15, 0, c7, c8, 0'],
  ['ATS1CPW', 'p15, 0, c7, c8, 1'],
  ['ATS1CUR', 'p15, 0, c7, c8, 2'],
  ['ATS1CUW', 'p15, 0, c7, c8, 3'],
  ['ATS12NSOPR', 'p15, 0, c7, c8, 4'],
  ['ATS12NSOPW', 'p15, 0, c7, c8, 5'],
  ['ATS12NSOUR', 'p15, 0, c7, c8, 6'],
  ['ATS12NSOUW', 'p15, 0, c7, c8, 7'],
  ['ATS1HR', 'p15, 4, c7, c8, 0'],
  ['ATS1HW', 'p15, 4, c7, c8, 1'],
];

describe('CP15 encodings', () => {
  it.each(MCR)('%s is MCR %s', (name, text) => {
    const { opc1, crn, crm, opc2 } = value(cp15Encoding(name));
    expect(`p15, ${opc1}, c${crn}, c${crm}, ${opc2}`).toBe(text);
  });

  it('name one operation each', () => {
    for (const name of instructions.names) expect(cp15Operation(value(cp15Encoding(name)))).toBe(name);
    expect(cp15Operation({ crn: 7, opc1: 0, crm: 15, opc2: 7 })).toBeUndefined();
    expect(idOf(cp15Encoding('IPAS2E1IS'))).toBe('instruction.unknown');
  });

  it('tell what ARMv7 lacks: invalidation by IPA and of the last level alone', () => {
    const later = instructions.names.filter((name) => value(cp15Encoding(name)).armv8);
    expect(later.every((name) => /IPAS2|MVAA?LH?(?:IS)?$/.test(name))).toBe(true);
    expect(later).toHaveLength(10);
  });
});

describe('operands', () => {
  it('come back as they went in, bits outside the fields dropped', () => {
    fc.assert(
      fc.property(fc.constantFrom(...instructions.names), word32, (name, word) => {
        const fields = value(instructions.decode(name, word));
        const again = value(instructions.encode(name, fields));
        expect(value(instructions.decode(name, again))).toEqual(fields);
        expect(again & ~word).toBe(0n);
        const explained = value(instructions.explain(name, word));
        expect(explained.reduce((bits, { msb, lsb }) => bits + msb - lsb + 1, 0)).toBe(32);
        expect(explained.filter(({ meaning }) => meaning === '' || meaning.includes('undefined'))).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['TLBIMVAIS', { MVA: 0xc012_3fffn, ASID: 0x12 }, 0xc012_3012n],
    ['TLBIASIDIS', { ASID: 0xff }, 0xffn],
    ['TLBIMVAAIS', { MVA: 0xc012_3000n }, 0xc012_3000n],
    ['TLBIALLIS', {}, 0n],
    ['TLBIIPAS2IS', { IPA: 0xff_ffff_f000n }, 0x0fff_ffffn],
    ['DCCISW', { SetWay: 0x100, Level: 1 }, 0x1002n],
    ['ATS12NSOPR', { VA: 0xc012_3456n }, 0xc012_3456n],
  ] as const)('%s %o (DDI 0406C B4.2)', (name, fields, operand) => {
    expect(value(instructions.encode(name, fields))).toBe(operand);
  });

  it('refuse what they do not have', () => {
    expect(idOf(instructions.encode('VAE1', {}))).toBe('instruction.unknown');
    expect(idOf(instructions.encode('TLBIALLIS', { MVA: 0 }))).toBe('instruction.unknown-field');
    expect(idOf(instructions.encode('TLBIMVA', { MVA: 1n << 32n }))).toBe('instruction.value-too-wide');
    expect(idOf(instructions.encode('TLBIMVA', { ASID: 256 }))).toBe('instruction.value-too-wide');
    expect(idOf(instructions.encode('TLBIIPAS2', { IPA: 1n << 40n }))).toBe('instruction.value-too-wide');
    expect(idOf(instructions.explain('TLBIMVA', 1n << 32n))).toBe('instruction.value-too-wide');
  });
});
