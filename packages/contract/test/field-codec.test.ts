import { describe, expect, it } from 'vitest';
import { explainFields, fittedBits, hasField, layoutOf, optionalSlot, reservedMeaning, slotOf } from '../src/codec/index.js';

const clause = 'a clause';
const row = (name: string, msb: number, lsb: number) => ({ name, msb, lsb, clause });

describe('layoutOf', () => {
  it('orders the rows and fills every gap with a RES0 field, so that each bit belongs to one field', () => {
    const layout = layoutOf([row('low', 3, 1), row('high', 60, 40)], undefined, 'of the gaps');
    expect(layout.map((field) => `${field.name} ${field.msb}:${field.lsb} ${field.clause}`)).toEqual([
      'RES0 63:61 of the gaps',
      'high 60:40 a clause',
      'RES0 39:4 of the gaps',
      'low 3:1 a clause',
      'RES0 0:0 of the gaps',
    ]);
  });

  it('takes the rows that the configuration has', () => {
    const rows = [
      { ...row('XN', 54, 53), when: (xnx: boolean) => xnx },
      { ...row('XN', 54, 54), when: (xnx: boolean) => !xnx },
    ];
    const widths = [true, false].map((xnx) => layoutOf(rows, xnx, clause).find(({ name }) => name === 'XN')!.lsb);
    expect(widths).toEqual([53, 54]);
  });

  it('begins at bit 31 in a 32-bit word', () => {
    expect(layoutOf([row('all', 31, 0)], undefined, clause, 32)).toEqual([row('all', 31, 0)]);
  });

  it.each([
    ['overlap', [row('A', 5, 2), row('B', 2, 0)], 64],
    ['are upside down', [row('A', 2, 5)], 64],
    ['reach beyond the word', [row('A', 32, 0)], 32],
  ] as const)('throws where rows %s', (_, rows, width) => {
    expect(() => layoutOf(rows, undefined, clause, width)).toThrow('overlaps');
  });
});

describe('slots of a layout', () => {
  const layout = layoutOf([row('wide', 63, 30), row('AF', 10, 10)], undefined, clause);

  it('are found by name; a field that is not there has none', () => {
    expect(slotOf(layout, 'AF')).toEqual({ high: false, shift: 10, mask: 1 });
    expect([optionalSlot(layout, 'AF'), optionalSlot(layout, 'nG')]).toEqual([{ high: false, shift: 10, mask: 1 }, undefined]);
    expect([hasField(layout, 'AF'), hasField(layout, 'nG')]).toEqual([true, false]);
    expect(() => slotOf(layout, 'nG')).toThrow('no field nG');
  });

  it('cannot be of a field across both halves', () => {
    expect(() => optionalSlot(layout, 'wide')).toThrow('not inside one half');
  });
});

describe('values of fields', () => {
  it('fit, as integers of their width and no others', () => {
    const field = row('T0SZ', 5, 2);
    expect([15, 15n, 0].map((value) => fittedBits(field, value))).toEqual([0x3cn, 0x3cn, 0n]);
    expect([16, 16n, -1, -1n, 1.5, NaN, 2 ** 53].map((value) => fittedBits(field, value))).toEqual(Array(7).fill(undefined));
  });

  it('are explained each in its own words', () => {
    const layout = layoutOf([row('B', 63, 32), row('A', 31, 0)], undefined, clause);
    expect(explainFields(layout, 0x7_0000_0005n, ({ name }, value) => `${name} is ${value}`)).toEqual([
      { ...row('B', 63, 32), value: 7n, meaning: 'B is 7' },
      { ...row('A', 31, 0), value: 5n, meaning: 'A is 5' },
    ]);
  });

  it('of reserved fields say what software should write', () => {
    const say = (name: string) => [0n, 1n].map((value) => reservedMeaning(row(name, 0, 0), value));
    expect(say('RES0')).toEqual(['reserved', 'reserved, should be zero']);
    expect(say('RES1')).toEqual(['reserved, should be one', 'reserved']);
    expect(say('AF')).toEqual([undefined, undefined]);
  });
});
