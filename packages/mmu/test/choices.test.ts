import { describe, expect, it } from 'vitest';
import { EL1, EL1_TABLES, FETCH, GUEST, HCR, PTE, READ, run, S2, TCR } from './support.js';

/** What the architecture leaves open: docs/decisions/0005-translation-choices.md. */

const page = (bits: bigint): Record<number, bigint> => ({ ...EL1_TABLES, 0x3000: 0x8000n | PTE.page | PTE.af | bits });

describe('choices of an implementation', () => {
  it('T0SZ out of range faults at level 0, or acts as the nearest legal size', () => {
    const small = { ...EL1, TCR_EL1: TCR.ips48 | TCR.epd1 | 10n };
    expect(run(small, {}, 0, READ)).toMatchObject({ fault: { type: 'translation', level: 0, stage: 1 } });
    expect(run(small, { 0x1000: 0n }, 0, READ, { txszOutOfRange: 'clamp' })).toMatchObject({ fault: { type: 'translation', level: 0 }, out: { fetches: { count: 1 } } });
  });

  it('a reserved granule acts as the smallest or the largest implemented', () => {
    const reserved = { ...EL1, TCR_EL1: EL1['TCR_EL1'] | (3n << 14n) };
    expect(run(reserved, page(0n), 0, READ).out.fetches.count).toBe(3);
    // 64K pages: start level 2, and an entry table aligned to 8 KiB, so at 0.
    const large = run(reserved, { 0: 0n }, 0, READ, { reservedGranule: 'largest' });
    expect(large).toMatchObject({ fault: { type: 'translation', level: 2 }, out: { fetches: { count: 1 } } });
  });

  it('SH = 0b01 shows as written, or as one of the others', () => {
    const odd = page(1n << 8n);
    expect(run(EL1, odd, 0, READ).out.shareability).toBe(1);
    expect(run(EL1, odd, 0, READ, { reservedShareability: 'outer' }).out.shareability).toBe(2);
    expect(run(EL1, odd, 0, READ, { reservedShareability: 'inner' }).out.shareability).toBe(3);
    expect(run(EL1, odd, 0, READ, { reservedShareability: 'non' }).out.shareability).toBe(0);
  });

  it('an instruction fetched from Device memory is permitted, or a permission fault', () => {
    const device = { ...EL1, MAIR_EL1: 0n };
    expect(run(device, page(0n), 0, FETCH)).toMatchObject({ fault: undefined, out: { attributes: 0x44, shareability: 2 } });
    expect(run(device, page(0n), 0, FETCH, { fetchFromDevice: 'fault' })).toMatchObject({ fault: { type: 'permission', level: 3, stage: 1 } });
  });

  it('with FWB a Device page that stage 2 makes Write-Back has the descriptor’s shareability, or is Outer Shareable', () => {
    const forced = { ...GUEST, MAIR_EL1: 0n, HCR_EL2: HCR.rw | HCR.vm | (1n << 46n) };
    const words = { ...page(0n), 0x10000: 1n | S2.read | S2.write | S2.af | (6n << 2n) };
    expect(run(forced, words, 0, READ).out).toMatchObject({ attributes: 0xff, shareability: 0 });
    expect(run(forced, words, 0, READ, { stage1Shareability: 'effective' }).out).toMatchObject({ attributes: 0xff, shareability: 2 });
  });
});
