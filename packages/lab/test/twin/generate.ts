import type { CaseMachine, CaseQuery } from '@granule/contract';
import { align, bit, field } from './bits.js';
import { featuresOf, type TwinFeatures, type TwinMachine } from './machine.js';
import { grown, put, query, windowsOf, type Generated, type Style } from './memory.js';
import type { Random } from './random.js';

const nibbles = (fields: Readonly<Record<number, number>>): bigint => Object.entries(fields).reduce((sum, [lsb, value]) => sum | (BigInt(value) << BigInt(lsb)), 0n);

/** Identification registers: any mixture of features that the architecture lets go together. */
export function randomMachine(random: Random): CaseMachine {
  const paRange = random.pick([0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6]);
  const lpa2 = paRange === 6 && random.once(2);
  const all = random.once(2);
  const some = (most: number): number => (all ? most : random.below(most + 1));
  const granule = (values: readonly number[], usual: number): number => (random.once(4) ? random.pick(values) : usual);
  const id: Record<string, bigint> = {
    ID_AA64PFR0_EL1: nibbles({ 0: 2, 4: 2, 8: 2, 12: 2, 28: some(2) }),
    ID_AA64PFR1_EL1: nibbles({ 8: some(3) }),
    ID_AA64ISAR1_EL1: nibbles({ 4: some(1), 56: some(1) }),
    ID_AA64MMFR0_EL1: nibbles({
      0: paRange, 4: 2, 8: 1, 12: 1, 20: lpa2 ? 2 : granule([0, 1], 1), 24: granule([0, 15], 0), 28: lpa2 ? 1 : 0,
      32: granule(lpa2 ? [1, 2, 3] : [1, 2], 0), 36: granule([1, 2], 0), 40: granule(lpa2 ? [2, 3] : [2], 0),
    }),
    ID_AA64MMFR1_EL1: nibbles({ 0: some(2), 4: 2, 8: some(1), 12: some(2), 20: some(3), 28: some(1) }),
    ID_AA64MMFR2_EL1: nibbles({ 16: lpa2 ? 1 : some(1), 24: some(2), 28: some(1), 40: some(1), 60: some(1) }),
  };
  return { name: 'random', state: 'aarch64', windows: windowsOf([]), id };
}

/** Attributes of MAIR that are allocated. */
export function mair(random: Random, special: readonly number[]): bigint {
  const one = (): number => {
    const outer = random.pick([0, 0, 4, 4, 15, 15, 15, ...Array.from({ length: 15 }, (_, i) => i + 1)]);
    const inner = random.pick([4, 15, outer, random.below(15) + 1]);
    return outer === 0 ? random.below(4) * 4 : outer * 16 + Math.max(inner, 1);
  };
  return Array.from({ length: 8 }, () => (random.once(10) ? random.pick(special) : one())).reduce((sum, attr) => (sum << 8n) | BigInt(attr), 0n);
}

const VA_BITS = [16, 25, 30, 32, 36, 37, 39, 39, 40, 42, 44, 47, 47, 48, 48, 48, 48, 52];

/** At and around the least and the most that there is, with FEAT_LVA or FEAT_LPA2, with FEAT_TTST, and without. */
const LIMITS = [11, 12, 13, 15, 16, 17, 39, 40, 47, 48, 49];

function txsz(random: Random): number {
  if (random.once(10)) return random.pick(LIMITS);
  return random.once(20) ? random.below(64) : 64 - random.pick(VA_BITS);
}

/** TCR_EL1, and TCR_EL2 with E2H. */
function tcr(random: Random): bigint {
  let register = random.once(3) ? random.bits(64) : random.few(64);
  register = put(put(register, 0, 6, txsz(random)), 16, 6, txsz(random));
  register = put(register, 30, 2, 1 + random.below(3));
  register = put(register, 14, 2, random.below(3));
  register = put(register, 32, 3, random.once(6) ? random.below(7) : 5 + random.below(2));
  for (const epd of [7, 23]) if (!random.once(16)) register = put(register, epd, 1, 0);
  for (const e0pd of [55, 56]) if (!random.once(4)) register = put(register, e0pd, 1, 0);
  return register;
}

function tcrEl2(random: Random): bigint {
  const register = put(put(random.bits(64), 0, 6, txsz(random)), 14, 2, random.below(3));
  return put(register, 16, 3, random.once(6) ? random.below(7) : 5 + random.below(2));
}

/** T0SZ and SL0 that mostly go together, by the granule. */
function vtcr(random: Random): bigint {
  const tg = random.below(3);
  const stride = [9, 13, 11][tg];
  const shift = [12, 16, 14][tg];
  const start = random.pick(tg === 0 ? [-1, 0, 0, 1, 1, 1, 2, 2, 3] : tg === 1 ? [1, 1, 2, 2, 3] : [0, 1, 1, 2, 2, 3]);
  const least = (3 - start) * stride + shift + 1;
  const bits = Math.min(Math.max(least + random.below(stride + 4), 16), 52);
  const sl = start < 0 ? 0 : tg === 0 ? [2, 1, 0, 3][start] : 3 - start;
  let register = random.once(3) ? random.bits(64) : random.few(64);
  register = put(put(register, 0, 6, random.once(16) ? random.pick(LIMITS) : 64 - bits), 6, 2, random.once(24) ? random.below(4) : sl);
  register = put(put(register, 14, 2, tg), 16, 3, random.once(6) ? random.below(7) : 5 + random.below(2));
  register = put(register, 33, 1, start < 0 ? 1 : random.once(24) ? 1 : 0);
  if (start < 0 || random.once(2)) register = put(register, 32, 1, start < 0 || random.once(2) ? 1 : 0);
  // S2PIE, S2POE, D128 and what goes with them are not the subject.
  return register & ~(0xfffn << 34n);
}

function hcr(random: Random): bigint {
  let register = random.once(2) ? random.few(64) : random.bits(64);
  const set = (at: number, oneIn: number): void => void (register = put(register, at, 1, random.once(oneIn) ? 1 : 0));
  set(0, random.pick([1, 2]));
  set(12, 16);
  set(27, 6);
  set(31, 1);
  if (bit(register, 43)) register |= 1n << 42n;
  return register;
}

/** A base that mostly has its bits below 2^52 alone, and the low address bits that stand for [51:48] sometimes. */
function ttbr(random: Random, addressBits: number): bigint {
  const size = random.once(20) ? 48 : Math.min(addressBits, 48);
  return align(random.bits(size), random.once(12) ? 1 : 12) | (random.once(8) ? random.bits(6) : 0n) | (random.bits(16) << 48n);
}

/** Bits of an address that stage 1 may put out. */
const ipaBits = (hcrEl2: bigint, vtcrEl2: bigint, paMax: number): number => ((hcrEl2 & 0x1001n) === 0n ? paMax : Math.max(Math.min(paMax, 64 - field(vtcrEl2, 5, 0)), 25));

function randomRegisters(random: Random, { paMax, xs, mte2 }: TwinFeatures): Record<string, bigint> {
  const special = [0xff, ...(xs ? [0x40, 0xa0, 0x01, 0x05, 0x0d] : []), ...(mte2 ? [0xf0] : [])];
  const sctlr = (): bigint => {
    const on = put(random.once(2) ? random.few(64) : random.bits(64), 0, 1, random.once(8) ? 0 : 1);
    // EE and EPAN.
    return put(put(on, 25, 1, random.once(4) ? 1 : 0), 57, 1, random.below(2));
  };
  const hcrEl2 = hcr(random);
  const vtcrEl2 = vtcr(random);
  const ipa = ipaBits(hcrEl2, vtcrEl2, paMax);
  return {
    SCTLR_EL1: sctlr(), TCR_EL1: tcr(random), TTBR0_EL1: ttbr(random, ipa), TTBR1_EL1: ttbr(random, ipa), MAIR_EL1: mair(random, special),
    HCR_EL2: hcrEl2, VTCR_EL2: vtcrEl2, VTTBR_EL2: ttbr(random, paMax),
    SCTLR_EL2: sctlr(), TCR_EL2: bit(hcrEl2, 34) ? tcr(random) : tcrEl2(random), TTBR0_EL2: ttbr(random, paMax), TTBR1_EL2: ttbr(random, paMax), MAIR_EL2: mair(random, special),
  };
}

const AT = ['S1E1R', 'S1E1W', 'S1E0R', 'S1E0W', 'S1E1RP', 'S1E1WP', 'S12E1R', 'S12E1W', 'S12E0R', 'S12E0W', 'S12E1R', 'S12E1W', 'S12E0R', 'S12E0W', 'S1E2R', 'S1E2W'];
const HOST = ['FETCH_EL0', 'FETCH_EL2', 'LDRB_EL2', 'STRB_EL2'];
const GUEST = ['FETCH_EL1', 'LDRB_EL1', 'STRB_EL1', 'LDTRB_EL1', 'STTRB_EL1'];

function randomAddress(random: Random, op: string, registers: Readonly<Record<string, bigint>>): bigint {
  // Small enough for stage 2, where stage 1 is off.
  if (random.once(4)) return align(random.bits(31), 2);
  const two = op.includes('E2') || op.includes('EL2');
  const tcrOf = registers[two ? 'TCR_EL2' : 'TCR_EL1'];
  const upper = random.once(3);
  const size = 64 - (upper ? field(tcrOf, 21, 16) : field(tcrOf, 5, 0));
  const low = random.bits(random.once(20) ? 64 : Math.min(size, random.once(3) ? 32 : 64));
  const va = upper ? BigInt.asUintN(64, -1n - low) : low;
  const tagged = random.once(6) ? put(va, 56, 8, random.bits(8)) : va;
  return op.startsWith('FETCH') ? align(tagged, 2) : tagged;
}

function randomQuery(random: Random, registers: Readonly<Record<string, bigint>>): CaseQuery {
  const guest = bit(registers['HCR_EL2'], 27) ? [] : GUEST;
  const op = random.pick(random.once(2) ? AT : [...HOST, ...guest, ...guest, ...guest]);
  return query(op, randomAddress(random, op, registers), random.once(3));
}

/** A case of random identification, registers, memory and queries. */
export function generate(random: Random, answer: (own: TwinMachine, one: CaseQuery) => unknown): Generated {
  const machine = randomMachine(random);
  const features = featuresOf(machine.id);
  const { paMax } = features;
  const registers = randomRegisters(random, features);
  const queries = Array.from({ length: 6 }, () => randomQuery(random, registers));
  const style: Style = {
    addressBits: Math.min(random.pick([32, 36, 39, 40, 48]), ipaBits(registers['HCR_EL2'], registers['VTCR_EL2'], paMax) + (random.once(16) ? 4 : 0)),
    blocks: random.pick([3, 6, 100]),
    restricted: random.pick([2, 4, 12]),
    high: paMax === 52 && random.once(2),
  };
  const each = { id: 'random', note: '', machine: machine.name, registers, memory: [], queries };
  return grown(random, { machine, each }, style, random.pick([30, 1000, 1_000_000]), answer);
}
