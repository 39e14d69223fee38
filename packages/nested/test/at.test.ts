import { armv8 } from '@granule/armv8';
import type { FaultValue, Registers } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { emulateAt, isFinal, type AtMachine, type HardwareAt } from '../src/index.js';
import { GUEST, RWX, vtcr, VTCR_40, Words } from './support.js';

const fault = (changes: Partial<FaultValue>): FaultValue => ({ type: 'translation', level: 3, stage: 1, s1ptw: false, access: 'at-read', address: 0x1000, upper: false, ...changes });
const hardware = (changes: Partial<FaultValue>): HardwareAt => ({ par: 0x81fn, fault: fault(changes) });

/**
 * Stage 1 of the nested guest: VA 0x20_0000 by a 2 MiB block to IPA 0x4020_0000 (39-bit, 4K, level 1 at IPA 0x1000), and its hypervisor's stage 2: level 1 at
 * 0x8000_0000, the first GiB one to one, the second as given.
 */
function machine(stage2: bigint, registers: Registers = {}): AtMachine {
  const memory = new Words()
    .set(0x1000, 0x2003n)
    .set(0x2008, 0x4020_0000n | 0x701n)
    .set(0x8000_0000, RWX | 1n)
    .set(0x8000_0008, stage2);
  return {
    guest: { ...GUEST, backend: armv8 },
    features: { paBits: 40, granules1: ['4K'], granules2: ['4K'], vhe: true, haf: true },
    registers: {
      SCTLR_EL1: 0x1005n, TCR_EL1: (2n << 32n) | (1n << 23n) | 25n, TTBR0_EL1: 0x1000n, MAIR_EL1: 0xffn,
      HCR_EL2: (1n << 31n) | 1n, VTCR_EL2: VTCR_40, VTTBR_EL2: (1n << 48n) | 0x8000_0000n,
      ...registers,
    },
    memory,
  };
}

const BLOCK = 0x1_4000_0000n | RWX | 1n;
const WRITE = 1n << 7n;
/** PAR_EL1 (DDI 0487): F 0, FST 6:1, PTW 8, S 9, PA 47:12. */
const pa = (par: bigint): bigint => par & 0xffff_ffff_f000n;
const parts = (par: bigint): readonly bigint[] => [par & 1n, (par >> 1n) & 0x3fn, (par >> 8n) & 1n, (par >> 9n) & 1n];

function par(name: string, va: bigint, on: AtMachine, found?: HardwareAt): { readonly path: string; readonly par: bigint } {
  const answer = emulateAt(name, va, on, found);
  if (answer.kind !== 'done') throw new Error(answer.kind);
  return answer.value;
}

describe('AT of a guest hypervisor', () => {
  it.each([
    ['a translation', { par: 0x1000n }, true],
    ['a permission fault of stage 1', hardware({ type: 'permission' }), true],
    ['an access flag fault of stage 1', hardware({ type: 'access-flag' }), true],
    ['a translation fault of stage 1', hardware({}), false],
    ['a fault of stage 2', hardware({ type: 'permission', stage: 2 }), false],
    ['a fault of stage 2 on the walk of stage 1', hardware({ type: 'permission', s1ptw: true }), false],
  ])('that hardware answers with %s: final is %3$s', (_, found, final) => {
    expect(isFinal(found)).toBe(final);
    expect(par('S1E1R', 0x20_0000n, machine(BLOCK), found).path).toBe(final ? 'hardware' : 'software');
  });

  it('is walked by software where the context is gone', () => {
    const { path, par: value } = par('S1E1R', 0x20_1000n, machine(BLOCK));
    expect([path, value & 1n, pa(value)]).toEqual(['software', 0n, 0x4020_1000n]);
  });

  it('of both stages goes through the guest hypervisor’s stage 2, whatever hardware found', () => {
    const { path, par: value } = par('S12E1R', 0x20_1000n, machine(BLOCK), { par: 0x1000n });
    expect([path, value & 1n, pa(value)]).toEqual(['software', 0n, 0x1_4020_1000n]);
  });

  it('of both stages reports faults of stage 2 with its level and S', () => {
    expect(parts(par('S12E1R', 0x20_0000n, machine(0n)).par)).toEqual([1n, 0x05n, 0n, 1n]);
    expect(parts(par('S12E1W', 0x20_0000n, machine(BLOCK - WRITE)).par)).toEqual([1n, 0x0dn, 0n, 1n]);
    expect(parts(par('S12E1R', 0x20_0000n, machine(BLOCK - WRITE)).par)[0]).toBe(0n);
    expect(parts(par('S12E1R', 0x20_0000n, machine(BLOCK - (1n << 10n))).par)).toEqual([1n, 0x09n, 0n, 1n]);
  });

  it('reports a fault of stage 1 as such', () => {
    expect(parts(par('S12E1R', 0x40_0000n, machine(BLOCK)).par)).toEqual([1n, 0x06n, 0n, 0n]);
  });

  it('reports what stage 2 does to the walk of stage 1 with the level of stage 1, PTW and S', () => {
    expect(parts(par('S1E1R', 0x20_0000n, machine(BLOCK, { TTBR0_EL1: 0xc000_0000n })).par)).toEqual([1n, 0x05n, 1n, 1n]);
    const second = machine(BLOCK);
    second.memory.exchange?.(0x1000, 0x2003n, 0xc000_0003n);
    expect(parts(par('S1E1R', 0x20_0000n, second).par)).toEqual([1n, 0x06n, 1n, 1n]);
  });

  it('of both stages is stage 1 alone with stage 2 off', () => {
    expect(pa(par('S12E1R', 0x20_1000n, machine(0n, { HCR_EL2: 1n << 31n })).par)).toBe(0x4020_1000n);
  });

  it('is refused where there is none of that name', () => {
    expect(emulateAt('S1E3R', 0n, machine(BLOCK))).toMatchObject({ kind: 'refused', id: 'at.unknown' });
  });

  it('is not modelled where KVM’s walk of stage 2 finds what hardware would not', () => {
    const beyond = machine(BLOCK, { VTCR_EL2: vtcr({ ia: 39, sl0: 1 }) });
    beyond.memory.exchange?.(0x2008, 0x4020_0701n, 0x80_0000_0701n);
    expect(emulateAt('S12E1R', 0x20_0000n, beyond)).toMatchObject({ kind: 'not-modelled', id: 'at.walks-differ' });
  });
});
