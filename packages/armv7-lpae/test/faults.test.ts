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

/** DDI 0406C B3.13, Fault status register encodings for the long-descriptor format; address size: DDI 0487 G8.2, DFSR. */
const CODES: readonly (readonly [FaultType, Level, number])[] = [
  ['address-size', 0, 0x00],
  ['address-size', 1, 0x01],
  ['address-size', 3, 0x03],
  ['translation', 1, 0x05],
  ['translation', 2, 0x06],
  ['translation', 3, 0x07],
  ['access-flag', 1, 0x09],
  ['access-flag', 2, 0x0a],
  ['access-flag', 3, 0x0b],
  ['permission', 1, 0x0d],
  ['permission', 2, 0x0e],
  ['permission', 3, 0x0f],
  ['external-abort', 3, 0x10],
  ['external-abort-on-walk', 1, 0x15],
  ['external-abort-on-walk', 3, 0x17],
  ['alignment', 3, 0x21],
  ['tlb-conflict', 2, 0x30],
];

describe('fault status codes', () => {
  it.each(CODES)('%s at level %i is 0x%s', (type, level, code) => {
    expect(faults.statusCode(fault(type, level))).toBe(code);
  });

  it('are told apart in words', () => {
    expect(describeFaultStatus(0x05)).toBe('translation fault, level 1');
    expect(describeFaultStatus(0x0f)).toBe('permission fault, level 3');
    expect(describeFaultStatus(0x11)).toBe('asynchronous external abort');
    expect(describeFaultStatus(0x04)).toBe('status 0x04');
    expect(describeFaultStatus(0x3f)).toBe('status 0x3f');
  });

  it('do not exist for levels and faults that ARMv7 does not have', () => {
    expect(() => faults.statusCode(fault('translation', 0))).toThrow('level 0');
    expect(() => faults.statusCode(fault('address-size', -1))).toThrow('level -1');
    expect(() => faults.statusCode(fault('unsupported-atomic-update', 3))).toThrow('unsupported-atomic-update');
  });
});

describe('the 64-bit PAR of an aborted operation', () => {
  it.each([
    [fault('translation', 1), 0x80bn],
    [fault('permission', 3), 0x81fn],
    [fault('translation', 2, { stage: 2 }), 0xa0dn],
    [fault('translation', 1, { stage: 2, s1ptw: true }), 0xb0bn],
  ])('%o is 0x%s', (each, par) => {
    expect(faults.par(each)).toBe(par);
  });

  it('reads back by the register layout', () => {
    const par = faults.par(fault('access-flag', 2, { stage: 2, s1ptw: true }));
    expect(value(registers.decode('PAR', par))).toEqual({ LPAE: 1n, FSTAGE: 1n, S2WLK: 1n, FST: 0x0an, F: 1n });
  });
});

describe('PAR of an operation that succeeded', () => {
  it('has ATTR, the page, LPAE, NS and SH', () => {
    const par = faults.parSuccess!({ output: 0x40_1234_5678, attributes: 0xff, shareability: 3 });
    expect(value(registers.decode('PAR', par))).toEqual({ ATTR: 0xffn, PA: 0x4012345n, LPAE: 1n, IMP: 0n, NS: 1n, SH: 3n, F: 0n });
  });
});

describe('syndromes', () => {
  const transfer = { sas: 2, signed: true, register: 5, wide: false, ordered: false };
  const access = { from: 0, to: 2, va: 0xc012_3456n, write: true };

  it('a store of a guest to an IPA that is not mapped: HSR with ISV, HDFAR, HPFAR', () => {
    const each = fault('translation', 2, { access: 'write', stage: 2, ipa: 0x40_1234_5678 });
    const { el, esr, far, hpfar } = faults.abort!(each, { ...access, transfer });
    expect([el, far, hpfar]).toEqual([2, 0xc012_3456n, 0x4012345n << 4n]);
    expect(value(registers.decode('HSR', esr))).toEqual({
      EC: 0x24n,
      IL: 1n,
      ISV: 1n,
      SAS: 2n,
      SSE: 1n,
      SRT: 5n,
      EA: 0n,
      CM: 0n,
      S1PTW: 0n,
      WnR: 1n,
      DFSC: 6n,
    });
  });

  it('a prefetch abort on a stage-1 walk: S1PTW, no ISV', () => {
    const each = fault('translation', 1, { access: 'fetch', stage: 2, s1ptw: true, ipa: 0x4000_0000 });
    const { esr, hpfar } = faults.abort!(each, { ...access, write: false, transfer });
    expect(value(registers.decode('HSR', esr))).toMatchObject({ EC: 0x20n, S1PTW: 1n, IFSC: 5n });
    expect(hpfar).toBe(0x40_0000n);
  });

  it('an abort of Hyp mode itself has the class one above', () => {
    const { esr, hpfar } = faults.abort!(fault('permission', 3, { access: 'write' }), { ...access, from: 2 });
    expect(value(registers.decode('HSR', esr))).toMatchObject({ EC: 0x25n, WnR: 1n, ISV: 0n, DFSC: 0x0fn });
    expect(hpfar).toBeUndefined();
  });

  it('an abort taken to PL1: DFSR or IFSR in the long-descriptor format', () => {
    const data = faults.abort!(fault('permission', 3, { access: 'write' }), { ...access, to: 1 });
    expect(value(registers.decode('DFSR', data.esr))).toEqual({ CM: 0n, ExT: 0n, WnR: 1n, LPAE: 1n, STATUS: 0x0fn });
    const fetch = faults.abort!(fault('translation', 1, { access: 'fetch' }), { ...access, to: 1, write: false });
    expect(value(registers.decode('IFSR', fetch.esr))).toEqual({ ExT: 0n, LPAE: 1n, STATUS: 5n });
  });

  it('the write of a real kernel that took a level 2 translation fault is the DFSR that this machine showed', () => {
    const { esr } = faults.abort!(fault('translation', 2, { access: 'write' }), { ...access, to: 1 });
    expect(esr).toBe(0xa06n);
  });
});
