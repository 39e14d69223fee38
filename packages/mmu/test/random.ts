import type { AccessType, Features, Registers, Words } from '@granule/contract';
import type { Access, DescriptorMemory } from '../src/index.js';

/** A small generator (mulberry32): the same seed gives the same numbers everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 … 2^32 − 1. */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(n: number): number {
    return this.word() % n;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  word64(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }

  /** 64 bits, few of them set, or few clear, or all alike. */
  odd64(): bigint {
    switch (this.below(4)) {
      case 0:
        return this.word64();
      case 1:
        return this.word64() & this.word64() & this.word64();
      case 2:
        return this.word64() | this.word64() | this.word64();
      default:
        return 1n << BigInt(this.below(64));
    }
  }
}

const V8 = ['SCTLR_EL1', 'TCR_EL1', 'TTBR0_EL1', 'TTBR1_EL1', 'MAIR_EL1', 'HCR_EL2', 'VTCR_EL2', 'VTTBR_EL2', 'SCTLR_EL2', 'TCR_EL2', 'TTBR0_EL2', 'TTBR1_EL2', 'MAIR_EL2'];
const V7 = ['SCTLR', 'TTBCR', 'TTBR0', 'TTBR1', 'MAIR0', 'MAIR1', 'HCR', 'VTCR', 'VTTBR', 'HSCTLR', 'HTCR', 'HTTBR', 'HMAIR0', 'HMAIR1'];

/** TxSZ, TG and for stage 2 SL0 that go together, as bits of VTCR_EL2. */
const STAGE2 = [[40, 0, 1], [40, 0, 2], [34, 0, 0], [39, 0, 1], [43, 0, 2], [52, 0, 2], [40, 1, 1], [44, 1, 2], [33, 1, 0], [40, 2, 1], [40, 2, 2]] as const;
const VA_BITS = [25, 32, 36, 39, 42, 44, 48, 48];

const sized = (random: Random, lsb: bigint): bigint => BigInt(64 - random.pick(VA_BITS)) << lsb;

/** TCR with legal sizes, walks on and large addresses; with E2H or without. */
function tcr(random: Random, register: bigint): bigint {
  const low = register & ~0x3f_003fn & ~(1n << 7n) & ~(1n << 23n) & ~(7n << 32n);
  return low | sized(random, 0n) | sized(random, 16n) | (random.chance(8) ? 0n : BigInt(5 + random.below(2)) << 32n);
}

function vtcr(random: Random, register: bigint): bigint {
  const [bits, tg, sl0] = random.pick(STAGE2);
  const low = register & ~0x7c0ffn & ~(0xfn << 36n) & ~(1n << 40n);
  return low | BigInt(64 - bits) | (BigInt(sl0) << 6n) | (BigInt(tg) << 14n) | (random.chance(8) ? 0n : BigInt(5 + random.below(2)) << 16n);
}

/** Registers, most of them legal enough for a walk to begin. */
export function randomRegisters(random: Random, state: 'armv8' | 'armv7'): Registers {
  const registers: Record<string, bigint> = {};
  for (const name of state === 'armv8' ? V8 : V7) registers[name] = random.odd64();
  if (state === 'armv7') {
    for (const name of ['SCTLR', 'HSCTLR']) registers[name] |= 1n;
    return { ...registers, HCR: registers['HCR'] & ~(0x1001n << 12n), TTBCR: (BigInt.asUintN(32, registers['TTBCR']) & ~0x80_0080n) | (1n << 31n) };
  }
  if (random.chance(8)) return registers;
  for (const name of ['SCTLR_EL1', 'SCTLR_EL2']) registers[name] |= 1n;
  registers['HCR_EL2'] = (registers['HCR_EL2'] & ~(1n << 12n) & ~(1n << 27n)) | (1n << 31n) | BigInt(random.below(2));
  for (const name of ['TCR_EL1', 'TCR_EL2']) registers[name] = tcr(random, registers[name]);
  if ((registers['HCR_EL2'] & (1n << 34n)) === 0n) registers['TCR_EL2'] = (registers['TCR_EL2'] & ~0x70000n) | (5n << 16n);
  registers['VTCR_EL2'] = vtcr(random, registers['VTCR_EL2']);
  if (random.chance(2)) {
    registers['TCR_EL1'] |= 3n << 39n;
    registers['VTCR_EL2'] |= 3n << 21n;
  }
  for (const name of Object.keys(registers)) if (/TTBR/u.test(name)) registers[name] &= 0xffff_0000_ffff_ffc0n;
  return registers;
}

const GRANULES = ['4K', '16K', '64K'] as const;

/** Everything or nothing of most features. */
export function randomFeatures(random: Random): Partial<Features> {
  const some = (): boolean => !random.chance(4);
  const lpa2 = random.chance(3);
  return {
    paBits: lpa2 ? 52 : random.pick([40, 44, 48, 48, 48, 52]),
    granules1: GRANULES,
    granules2: GRANULES,
    lpa2Granules1: lpa2 ? ['4K', '16K'] : [],
    lpa2Granules2: lpa2 ? ['4K', '16K'] : [],
    lpa: true, lva: some(), ttst: some(), xnx: some(), s2fwb: some(), hpds: some(), haf: some(), hdbs: some(), pan: some(), pan3: some(),
    e0pd: some(), vhe: true, xs: some(), mte: some(), pauth: some(), nv: some(),
  };
}

/** Descriptors out of a hash of the address: every address has one, mostly a table or a leaf, and some are no memory. */
export class HashMemory implements DescriptorMemory {
  readonly written = new Map<number, Readonly<Words>>();
  readonly #seed: number;
  readonly #plain: boolean;

  constructor(random: Random) {
    this.#seed = random.word();
    this.#plain = random.chance(2);
  }

  load(pa: number, into: Words): boolean {
    const written = this.written.get(pa);
    if (written !== undefined) {
      into.lo = written.lo;
      into.hi = written.hi;
      return true;
    }
    const random = new Random((this.#seed ^ pa ^ Math.floor(pa / 4294967296)) >>> 0);
    if (random.chance(64)) return false;
    into.lo = random.word();
    into.hi = random.word();
    if (!random.chance(32)) into.lo = (into.lo | (random.chance(12) ? 1 : 3)) >>> 0;
    if (!random.chance(8)) into.lo = (into.lo | 0x4c0) >>> 0;
    if (this.#plain) into.hi &= 0x00080000;
    if (this.#plain) into.lo = (into.lo & ~0xf000) >>> 0;
    into.hi >>>= 0;
    return true;
  }
}

const TYPES: readonly AccessType[] = ['read', 'write', 'fetch', 'cache-maintenance', 'at-read', 'at-write'];

export function randomAccess(random: Random, regimes: readonly string[]): Access {
  return {
    regime: random.pick(regimes),
    type: random.pick(TYPES),
    privileged: random.chance(2),
    pan: random.chance(2),
    stages: random.chance(4) ? 'one' : 'both',
  };
}

/** An address of one of the ranges, most often; or any. `bits`: input bits of the lower and the upper range. */
export function randomAddress(random: Random, state: 'armv8' | 'armv7', bits: readonly number[]): bigint {
  if (state === 'armv7') return BigInt(random.word());
  if (random.chance(16)) return random.word64();
  const range = random.below(bits.length);
  const low = BigInt.asUintN(bits[range], random.word64());
  return range === 0 ? low : BigInt.asUintN(64, -1n - low);
}
