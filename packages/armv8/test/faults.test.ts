import type { FaultType, FaultValue } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { describe, expect, it } from 'vitest';
import { describeFaultStatus, faults, registers } from '../src/index.js';
import { value } from './support.js';

const fault = (type: FaultType, level: Level, more: Partial<FaultValue> = {}): FaultValue => ({
  type,
  level,
  stage: 1,
  s1ptw: false,
  access: 'at-read',
  address: 0,
  upper: false,
  ...more,
});

/** DDI 0487, ESR_EL2.ISS for a Data Abort, DFSC. */
const CODES: readonly (readonly [FaultType, Level, number])[] = [
  ['address-size', -1, 0x29],
  ['address-size', 0, 0x00],
  ['address-size', 1, 0x01],
  ['address-size', 2, 0x02],
  ['address-size', 3, 0x03],
  ['translation', -1, 0x2b],
  ['translation', 0, 0x04],
  ['translation', 1, 0x05],
  ['translation', 2, 0x06],
  ['translation', 3, 0x07],
  ['access-flag', 0, 0x08],
  ['access-flag', 1, 0x09],
  ['access-flag', 2, 0x0a],
  ['access-flag', 3, 0x0b],
  ['permission', 0, 0x0c],
  ['permission', 1, 0x0d],
  ['permission', 2, 0x0e],
  ['permission', 3, 0x0f],
  ['external-abort-on-walk', -1, 0x13],
  ['external-abort-on-walk', 0, 0x14],
  ['external-abort-on-walk', 3, 0x17],
  ['external-abort', 3, 0x10],
  ['alignment', 3, 0x21],
  ['tlb-conflict', 2, 0x30],
  ['unsupported-atomic-update', 3, 0x31],
];

describe('fault status codes', () => {
  it.each(CODES)('%s at level %i is 0x%s', (type, level, code) => {
    expect(faults.statusCode(fault(type, level))).toBe(code);
  });

  it('are told apart in words', () => {
    expect(describeFaultStatus(0x2b)).toBe('translation fault, level -1');
    expect(describeFaultStatus(0x0f)).toBe('permission fault, level 3');
    expect(describeFaultStatus(0x21)).toBe('alignment fault');
    expect(describeFaultStatus(0x3f)).toBe('status 0x3f');
  });

  it('do not exist for a leaf of level -1', () => {
    expect(() => faults.statusCode(fault('permission', -1))).toThrow('level -1');
  });
});

describe('PAR_EL1 of an aborted AT', () => {
  it.each([
    [fault('translation', 0), 0x809n],
    [fault('permission', 3), 0x81fn],
    [fault('translation', 2, { stage: 2 }), 0xa0dn],
    [fault('translation', 1, { stage: 2, s1ptw: true }), 0xb0bn],
    [fault('address-size', -1), 0x853n],
  ])('%o is 0x%s', (each, par) => {
    expect(faults.par(each)).toBe(par);
  });

  it('reads back by the register layout', () => {
    const par = faults.par(fault('access-flag', 2, { stage: 2, s1ptw: true }));
    expect(value(registers.decode('PAR_EL1', par))).toEqual({ S: 1n, PTW: 1n, FST: 0x0an, F: 1n });
  });
});

describe('PAR_EL1 of an AT that translated (DDI 0487, PAR_EL1 when F is 0)', () => {
  it('has ATTR, PA[51:12], SH, and the bits 11 and 9 set', () => {
    expect(faults.parSuccess!({ output: 0x000f_1234_5678_9abc, attributes: 0xff, shareability: 3 })).toBe(0xff0f_1234_5678_9b80n);
    expect(faults.parSuccess!({ output: 0xfff, attributes: 0, shareability: 2 })).toBe(0xb00n);
  });
});

describe('the syndrome of an abort (DDI 0487, ESR_EL2, HPFAR_EL2)', () => {
  const fault = { type: 'translation', level: 3, stage: 2, s1ptw: false, access: 'read', address: 0x1234, upper: false, ipa: 0x12_3456_7000 } as const;
  const transfer = { sas: 0, signed: false, register: 0, wide: false, ordered: false };
  const access = { from: 1, to: 2, va: 0xffff_8000_0000_1234n, write: false, transfer };

  it('of a byte load at stage 2 describes the instruction (ISV)', () => {
    expect(faults.abort!(fault, access)).toEqual({ el: 2, esr: 0x9300_0007n, far: 0xffff_8000_0000_1234n, hpfar: 0x1_2345_670n });
    const wide = { ...access, write: true, transfer: { sas: 3, signed: true, register: 30, wide: true, ordered: true } };
    expect(faults.abort!(fault, wide).esr).toBe(0x93fe_c047n);
  });

  it('on a stage-1 walk has S1PTW and no instruction', () => {
    expect(faults.abort!({ ...fault, s1ptw: true }, access).esr).toBe(0x9200_0087n);
  });

  it('has no HPFAR after a permission fault, but on a stage-1 walk', () => {
    expect(faults.abort!({ ...fault, type: 'permission' }, access)).not.toHaveProperty('hpfar');
    expect(faults.abort!({ ...fault, type: 'permission', s1ptw: true }, access).hpfar).toBe(0x1_2345_670n);
    expect(faults.abort!({ ...fault, type: 'external-abort-on-walk', s1ptw: true }, access)).not.toHaveProperty('hpfar');
  });

  it('of an instruction fetch has no WnR; from the same exception level the class is one more', () => {
    expect(faults.abort!({ ...fault, stage: 1, access: 'fetch', type: 'permission' }, { ...access, from: 1, to: 1 }).esr).toBe(0x8600_000fn);
    expect(faults.abort!({ ...fault, stage: 1, access: 'fetch', type: 'permission' }, { ...access, from: 0, to: 1 }).esr).toBe(0x8200_000fn);
  });

  it('of an external abort on the walk of an AT counts as cache maintenance that writes', () => {
    const walk = { ...fault, type: 'external-abort-on-walk', stage: 1, access: 'at-read', level: 1 } as const;
    expect(faults.abort!(walk, { from: 3, to: 3, va: 0n, write: false, maintenance: true }).esr).toBe(0x9600_0155n);
  });
});
