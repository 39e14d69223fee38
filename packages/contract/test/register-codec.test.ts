import { describe, expect, it } from 'vitest';
import { instructionCodec, registerFields, registerRows, type OperandField } from '../src/codec/index.js';
import type { Outcome } from '../src/index.js';

/** The value of an outcome, or its id. */
const answer = <T>(outcome: Outcome<T>): T | string => (outcome.kind === 'done' ? outcome.value : outcome.id);

/** What `explain` says, field by field. */
const said = (outcome: Outcome<readonly { name: string; meaning: string }[]>): readonly string[] =>
  outcome.kind === 'done' ? outcome.value.map(({ name, meaning }) => `${name}: ${meaning}`) : [outcome.id];

const rows = registerRows('BOOK 1');
const fault = rows('STATUS', 'F 31; RES1 9; CODE 5:0');
const registers = registerFields(
  [
    {
      name: 'STATUS',
      width: 32,
      rows: rows('STATUS', 'F 31; ADDRESS 30:12', { F: ['no fault', 'fault'] }),
      variant: (value) => (value >> 31n === 1n ? fault : undefined),
    },
    { name: 'BASE', rows: rows('BASE', '\n  ASID 63:48\n  BADDR 47:1; CnP 0\n', { BADDR: (value) => `at ${value << 1n}` }) },
  ],
  'BOOK',
);

describe('registers from tables', () => {
  it('have rows written as text, each citing its own clause', () => {
    expect(rows('BASE', 'ASID 63:48; CnP 0')).toEqual([
      { name: 'ASID', msb: 63, lsb: 48, clause: 'BOOK 1 BASE.ASID' },
      { name: 'CnP', msb: 0, lsb: 0, clause: 'BOOK 1 BASE.CnP' },
    ]);
  });

  it('are known by name, with a layout of all their bits', () => {
    expect(registers.names).toEqual(['STATUS', 'BASE']);
    const places = registers.layout('STATUS')!.map(({ name, msb, lsb }) => `${name} ${msb}:${lsb}`);
    expect(places).toEqual(['F 31:31', 'ADDRESS 30:12', 'RES0 11:0']);
    expect(registers.layout('BASE')![0].msb).toBe(63);
    expect(registers.layout('OTHER')).toBeUndefined();
  });

  it('decode to their named fields, by the variant that the value has', () => {
    expect(answer(registers.decode('STATUS', 0x0000_5001n))).toEqual({ F: 0n, ADDRESS: 5n });
    expect(answer(registers.decode('STATUS', 0x8000_0204n))).toEqual({ F: 1n, CODE: 4n });
  });

  it('encode from fields, by the variant that the fields say, RES1 bits set', () => {
    expect(answer(registers.encode('STATUS', { ADDRESS: 5 }))).toBe(0x5000n);
    expect(answer(registers.encode('STATUS', { F: 1, CODE: 4n }))).toBe(0x8000_0204n);
    expect(answer(registers.encode('BASE', { ASID: 0xffff, BADDR: 3, CnP: 1 }))).toBe(0xffff_0000_0000_0007n);
  });

  it('are explained by table, by function, or as a number', () => {
    expect(said(registers.explain('STATUS', 0x8000_0004n))).toEqual([
      'F: 0x1', 'RES0: reserved', 'RES1: reserved, should be one', 'RES0: reserved', 'CODE: 0x4',
    ]);
    expect(said(registers.explain('STATUS', 1n))).toEqual(['F: no fault', 'ADDRESS: 0x0', 'RES0: reserved, should be zero']);
    expect(said(registers.explain('BASE', 8n))).toEqual(['ASID: 0x0', 'BADDR: at 8', 'CnP: 0x0']);
  });

  it.each([
    ['a register that is not known', () => registers.decode('OTHER', 0n), 'register.unknown'],
    ['to encode one', () => registers.encode('OTHER', {}), 'register.unknown'],
    ['a value of more bits', () => registers.decode('STATUS', 1n << 32n), 'register.too-wide'],
    ['a negative value', () => registers.explain('BASE', -1n), 'register.too-wide'],
    ['a field that is not there', () => registers.encode('BASE', { VMID: 1 }), 'register.unknown-field'],
    ['a field of another variant', () => registers.encode('STATUS', { F: 1, ADDRESS: 1 }), 'register.unknown-field'],
    ['a reserved field', () => registers.encode('STATUS', { RES0: 1 }), 'register.unknown-field'],
    ['a field that does not fit', () => registers.encode('BASE', { CnP: 2 }), 'register.value-too-wide'],
  ])('refuse %s', (_, ask, id) => {
    expect(answer<unknown>(ask())).toBe(id);
  });
});

const clause = 'BOOK 2';
const VA: OperandField = { name: 'VA', msb: 43, lsb: 0, clause, addressLsb: 12, wraps: true };
const IPA: OperandField = { name: 'IPA', msb: 35, lsb: 0, clause, addressLsb: 12 };
const ASID: OperandField = { name: 'ASID', msb: 63, lsb: 48, clause };
const instructions = instructionCodec({
  operands: new Map([
    ['BY-VA', [ASID, VA]],
    ['BY-IPA', [IPA]],
    ['ALL', []],
  ]),
  width: 64,
  source: 'BOOK',
  meaning: ({ name }, value) => (name === 'ASID' && value === 0n ? 'the kernel' : undefined),
});

describe('instruction operands from tables', () => {
  it('take whole addresses, bits below the field dropped', () => {
    expect(answer(instructions.encode('BY-IPA', { IPA: 0x4000_0fff }))).toBe(0x4_0000n);
    expect(answer(instructions.decode('BY-IPA', 0x4_0000n))).toEqual({ IPA: 0x4000_0000n });
  });

  it('drop the sign extension of a VA and refuse an IPA that is too large', () => {
    expect(answer(instructions.encode('BY-VA', { ASID: 1, VA: 0xffff_8000_0000_1000n }))).toBe(0x0001_0ff8_0000_0001n);
    expect(answer(instructions.encode('BY-IPA', { IPA: 1n << 48n }))).toBe('instruction.value-too-wide');
    expect(answer(instructions.encode('BY-IPA', { IPA: (1n << 48n) - 1n }))).toBe((1n << 36n) - 1n);
  });

  it('are explained: addresses in full, others by their meaning or as numbers', () => {
    expect(said(instructions.explain('BY-VA', 1n))).toEqual(['ASID: the kernel', 'RES0: reserved', 'VA: 0x0000000000001000']);
    expect(said(instructions.explain('BY-VA', 0x0007_1000_0000_0000n))).toEqual([
      'ASID: 0x7', 'RES0: reserved, should be zero', 'VA: 0x0000000000000000',
    ]);
    expect(said(instructions.explain('ALL', 0n))).toEqual(['RES0: reserved']);
  });

  it.each([
    ['an instruction that is not known', () => instructions.encode('BY-WAY', {}), 'instruction.unknown'],
    ['to decode one', () => instructions.decode('BY-WAY', 0n), 'instruction.unknown'],
    ['to explain one', () => instructions.explain('BY-WAY', 0n), 'instruction.unknown'],
    ['a field that is not there', () => instructions.encode('ALL', { VA: 0 }), 'instruction.unknown-field'],
    ['a fraction', () => instructions.encode('BY-VA', { ASID: 0.5 }), 'instruction.value-too-wide'],
    ['an operand of more than 64 bits', () => instructions.explain('ALL', 1n << 64n), 'instruction.value-too-wide'],
  ])('refuse %s', (_, ask, id) => {
    expect(answer<unknown>(ask())).toBe(id);
  });
});
