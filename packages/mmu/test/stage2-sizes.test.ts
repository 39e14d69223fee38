import { armv8 } from '@granule/armv8';
import { describe, expect, it } from 'vitest';
import { context } from '../src/index.js';
import { FEATURES, HCR } from './support.js';

/** 64K, T0SZ = 12 (a 52-bit IPA), SL0 = 2 (start level 1), PS = 52 bits. */
const WIDE = { HCR_EL2: HCR.rw | HCR.vm, VTCR_EL2: 12n | (2n << 6n) | (1n << 14n) | (6n << 16n) };

function ipaBits(paBits: number, lpa: boolean, lva: boolean): number | undefined {
  const decoded = context(armv8, { ...FEATURES, paBits, lpa, lva }, WIDE);
  if (decoded.kind !== 'done') throw new Error(decoded.sentence);
  return decoded.value.stage2?.tables?.format.geometry.iaBits;
}

describe('a 52-bit IPA with 64K pages', () => {
  it('needs FEAT_LPA, the 52-bit physical address, and not FEAT_LVA, which is of VAs (DDI 0487 AArch64.S2MinTxSZ)', () => {
    expect(ipaBits(52, true, false)).toBe(52);
    expect(ipaBits(52, true, true)).toBe(52);
    expect(ipaBits(48, false, true)).toBeUndefined();
  });
});
