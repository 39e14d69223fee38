import type { Registers, TranslationControls } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { registers } from '../src/index.js';
import { bits, value } from './support.js';

const EAE = 1n << 31n;
const TTBR0 = 0x0012_0001_0000_0fe0n;
const TTBR1 = 0x0034_0002_0000_1fe0n;
const controlsOf = (given: Registers): TranslationControls => value(registers.controls!(given, registers.features(given)));

describe('what a walker needs to know', () => {
  it('for any sizes the ranges are those of roots, and together with the hole between them 4 GiB', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 7 }), (t0sz, t1sz) => {
        const given = { TTBCR: EAE | (BigInt(t1sz) << 16n) | BigInt(t0sz), TTBR0, TTBR1, SCTLR: 1n };
        const [pl10] = controlsOf(given).stage1;
        const roots = value(registers.roots(given, 'pl10'));
        const bases = roots.map(({ root, format }) => [root, format.geometry.iaBits]);
        const found = [pl10.lower, pl10.upper].flatMap((each) => (each === undefined ? [] : [[each.base, each.iaBits]]));
        expect(found).toEqual(bases);
        // DDI 0406C B3.6: an address is TTBR1's where T1SZ top bits are ones, or with T1SZ = 0 where T0SZ top bits are not all zero.
        const start = t1sz > 0 ? 2 ** 32 - 2 ** (32 - t1sz) : t0sz > 0 ? 2 ** (32 - t0sz) : 2 ** 32;
        expect(pl10.upperStart).toBe(start);
        expect(pl10.upper === undefined).toBe(start === 2 ** 32);
      }),
    );
  });

  it('EPD0 and EPD1 stop the walks of their range', () => {
    const [pl10] = controlsOf({ TTBCR: EAE | 0x2_0002n | (1n << 7n), TTBR0, TTBR1 }).stage1;
    expect([pl10.lower.walkOff, pl10.upper!.walkOff]).toEqual([true, false]);
  });

  it('SCTLR and HSCTLR say what they say, field by field', () => {
    const word = fc.bigInt({ min: 0n, max: (1n << 32n) - 1n });
    fc.assert(
      fc.property(word, word, (SCTLR, HSCTLR) => {
        const [pl10, pl2] = controlsOf({ TTBCR: EAE, SCTLR, HSCTLR }).stage1;
        const shown = [pl10, pl2].map(({ on, dataCache, instructionCache, wxn, uwxn, bigEndian }) =>
          [on, dataCache, instructionCache, wxn, uwxn, bigEndian].map(Number),
        );
        const told = (value32: bigint): number[] => [0, 2, 12, 19, 20, 25].map((bit) => bits(value32, bit, bit));
        expect(shown[0]).toEqual(told(SCTLR));
        expect(shown[1]).toEqual(told(HSCTLR).map((bit, i) => (i === 4 ? 0 : bit)));
      }),
    );
  });

  it('HCR.DC and HCR.TGE switch stage 1 of PL1&0 off; VM and DC switch stage 2 on', () => {
    const on = (HCR: bigint): unknown => {
      const { stage1, stage2 } = controlsOf({ TTBCR: EAE, SCTLR: 1n, HCR });
      return [stage1[0].on, stage2!.on];
    };
    expect([on(0n), on(1n), on(1n << 12n), on(1n << 27n)]).toEqual([
      [true, false],
      [true, true],
      [false, true],
      [false, false],
    ]);
  });

  it('a stage 2 whose SL0 and T0SZ do not go together has no format, and faults at level 1', () => {
    for (const VTCR of [0x8000_3598n, 0x8000_3518n, 0x8000_3542n]) {
      const { stage2 } = controlsOf({ TTBCR: EAE, VTCR, HCR: 1n });
      expect([stage2!.range.format, stage2!.faultLevel]).toEqual([undefined, 1]);
    }
    expect(controlsOf({ TTBCR: EAE, VTCR: 0x8000_3558n }).stage2!.range).toMatchObject({ iaBits: 40 });
  });

  it('short descriptors are not modelled while PL1&0 is on', () => {
    expect(registers.controls!({ TTBCR: 0n, SCTLR: 1n }, {}).kind).toBe('not-modelled');
    expect(registers.controls!({ TTBCR: 0n, SCTLR: 0n }, {}).kind).toBe('done');
  });
});
