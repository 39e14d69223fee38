import { ENTRY, type Format } from '@granule/contract';
import { stage2Geometry, type Level } from '@granule/geometry';
import { describe, expect, it } from 'vitest';
import { fake } from '../src/index.js';

function format(): Format {
  const geometry = stage2Geometry({ granule: '4K', ipaBits: 48 });
  const outcome = geometry.kind === 'done' ? fake.format('s2', { geometry: geometry.value }) : geometry;
  if (outcome.kind !== 'done') throw new Error(outcome.kind);
  return outcome.value;
}

const LEVELS: readonly Level[] = [0, 1, 2, 3];

describe('the fake backend', () => {
  it('makes a leaf that is no leaf and no table at any other level', () => {
    const fmt = format();
    for (const level of LEVELS) {
      const leaf = fmt.encodeLeaf({}, level);
      if (leaf.kind !== 'done') throw new Error(leaf.sentence);
      for (const other of LEVELS) {
        expect(fmt.kind(leaf.value.lo, leaf.value.hi, other)).toBe(other === level ? ENTRY.leaf : ENTRY.annotated);
      }
    }
  });

  it('shares neither type, write bit, access flag nor software bits with VMSAv8-64 stage 2 (DDI 0487 D8.3)', () => {
    const { numbers } = format();
    const arm = { type: 0b11, write: 1 << 7, af: 1 << 10, softwareHi: 0xf << 23 };
    expect(numbers.typeMask[4] & arm.type).toBe(0);
    expect(numbers.writeProtect.loSet & arm.write).toBe(0);
    expect(numbers.afLo & arm.af).toBe(0);
    expect(numbers.softwareHi & arm.softwareHi).toBe(0);
  });

  it('writes are forbidden by a set bit and output-address bits 43:40 stand at bits 11:8', () => {
    const fmt = format();
    const readOnly = fmt.encodeLeaf({ write: false }, 3);
    const writable = fmt.encodeLeaf({ write: true }, 3);
    if (readOnly.kind !== 'done' || writable.kind !== 'done') throw new Error('refused');
    expect(readOnly.value.lo - writable.value.lo).toBe(1 << 6);
    expect(fmt.encodeOutput(0xabc_1234_5000, 12)).toEqual({ kind: 'done', value: { lo: 0x1234_5a00, hi: 0xbc } });
  });

  it('answers not-modelled where it has no registers and no instructions, and refuses foreign regimes', () => {
    const fmt = format();
    expect(fake.registers.decode('VTTBR_EL2', 0n)).toMatchObject({ kind: 'not-modelled', id: 'fake.registers' });
    expect(fake.instructions.encode('TLBI', {})).toMatchObject({ kind: 'not-modelled', id: 'fake.instructions' });
    expect(fake.format('el10', { geometry: fmt.geometry })).toMatchObject({ kind: 'refused', id: 'format.regime' });
    expect(fake.format('s1', { geometry: fmt.geometry })).toMatchObject({ kind: 'refused', id: 'format.stage' });
    expect(fake.format('s2', { geometry: fmt.geometry, upper: true })).toMatchObject({ kind: 'refused', id: 'format.upper' });
  });
});
