import { describe, expect, it } from 'vitest';
import { operationOf } from '../src/cases/operations.js';

const NV = 1n << 42n;
const NV1 = 1n << 43n;
const privileged = (op: string, hcr: bigint, nv: boolean): boolean | undefined => operationOf(op, false, { hcr, vhe: true, nv, pan: true })?.access.privileged;

describe('LDTRB and STTRB at EL1', () => {
  it.each(['LDTRB_EL1', 'STTRB_EL1'])('%s has the rights of EL0, and those of EL1 where EL1 is a guest hypervisor (AArch64.IsUnprivAccessPriv)', (op) => {
    expect(privileged(op, 0n, true)).toBe(false);
    expect(privileged(op, NV, true)).toBe(false);
    expect(privileged(op, NV | NV1, true)).toBe(true);
    expect(privileged(op, NV | NV1, false)).toBe(false);
  });

  it('the other loads and stores have the rights of their level', () => {
    expect(['LDRB_EL1', 'STRB_EL1', 'LDRB_EL2', 'STRB_EL2'].map((op) => privileged(op, 0n, false))).toEqual([true, true, true, true]);
  });
});

describe('PSTATE.PAN', () => {
  it.each(['LDRB_EL1', 'S1E1RP'])('of %s is nothing where there is no FEAT_PAN', (op) => {
    const pan = (has: boolean): boolean | undefined => operationOf(op, true, { hcr: 0n, vhe: true, nv: false, pan: has })?.access.pan;
    expect([pan(true), pan(false)]).toEqual([true, false]);
  });
});
