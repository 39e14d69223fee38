import type { CaseMachine, CaseQuery } from '@granule/contract';
import { align, bit } from './bits.js';
import { mair } from './generate.js';
import type { TwinMachine } from './machine.js';
import { grown, put, query, windowsOf, type Generated, type Style } from './memory.js';
import type { Random } from './random.js';

/** A Cortex-A15: ARMv7 with the Large Physical Address and Virtualization Extensions. */
const MACHINE: CaseMachine = {
  name: 'armv7',
  state: 'aarch32',
  windows: windowsOf([]),
  id: { MIDR: 0x414f_c0f0n, ID_PFR0: 0x1131n, ID_PFR1: 0x1_1011n, ID_MMFR0: 0x1020_1105n, ID_MMFR1: 0x2000_0000n, ID_MMFR2: 0x124_0000n, ID_MMFR3: 0x210_2211n },
};

function vtcr(random: Random): bigint {
  const sl0 = random.below(2);
  // Level 2 has 25 to 34 bits, level 1 has 31 to 40.
  const bits = sl0 === 0 ? 25 + random.below(10) : 31 + random.below(10);
  const t0sz = BigInt.asUintN(4, BigInt(random.once(24) ? random.below(16) : 32 - bits));
  const register = put(put(random.bits(32) & ~(1n << 31n), 0, 4, t0sz), 4, 1, bit(t0sz, 3) ? 1 : 0);
  return put(register, 6, 2, random.once(24) ? random.below(4) : sl0);
}

function randomRegisters(random: Random): Record<string, bigint> {
  const sctlr = (): bigint => put(put(random.bits(32), 0, 1, random.once(8) ? 0 : 1), 25, 1, random.once(4) ? 1 : 0);
  const ttbr = (): bigint => align(random.bits(random.pick([32, 40])), random.once(8) ? 3 : 12) | (random.bits(8) << 48n);
  const attrs = mair(random, [0xff]);
  const hypAttrs = mair(random, [0xff]);
  const low = (word: bigint): bigint => BigInt.asUintN(32, word);
  const hcr = put(put(put(random.bits(28), 0, 1, random.below(2)), 12, 1, random.once(16) ? 1 : 0), 27, 1, random.once(12) ? 1 : 0);
  const epd = random.once(12) ? 0n : (1n << 7n) | (1n << 23n);
  return {
    SCTLR: sctlr(), TTBCR: (random.bits(32) | (1n << 31n)) & ~epd, TTBR0: ttbr(), TTBR1: ttbr(), MAIR0: low(attrs), MAIR1: attrs >> 32n,
    HCR: hcr, VTCR: vtcr(random), VTTBR: ttbr(),
    HSCTLR: sctlr(), HTCR: random.bits(31), HTTBR: ttbr(), HMAIR0: low(hypAttrs), HMAIR1: hypAttrs >> 32n,
  };
}

const ATS = ['ATS1CPR', 'ATS1CPW', 'ATS1CUR', 'ATS1CUW', 'ATS12NSOPR', 'ATS12NSOPW', 'ATS12NSOUR', 'ATS12NSOUW', 'ATS1HR', 'ATS1HW'];

/** A case of the long-descriptor format of ARMv7. */
export function generate32(random: Random, answer: (own: TwinMachine, one: CaseQuery) => unknown): Generated {
  const queries = Array.from({ length: 6 }, () => query(random.pick(ATS), random.bits(random.once(2) ? 32 : 28), false));
  const style: Style = { addressBits: random.pick([28, 32, 36, 40]), blocks: random.pick([3, 6]), restricted: random.pick([2, 4, 12]), high: false };
  const each = { id: 'random', note: '', machine: MACHINE.name, registers: randomRegisters(random), memory: [], queries };
  return grown(random, { machine: MACHINE, each }, style, random.pick([30, 1_000_000]), answer);
}
