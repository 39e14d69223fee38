import type { CaseMachine, TranslationCase } from '@granule/contract';
import { bigEndianReverse, field } from './bits.js';

/** FEAT_ names, from the identification registers (DDI 0487, D24.2, ID_AA64*). */
export interface TwinFeatures {
  readonly paMax: number;
  readonly lpa: boolean;
  readonly lva: boolean;
  readonly ttst: boolean;
  readonly haf: boolean;
  readonly hdbs: boolean;
  readonly hpds: boolean;
  readonly pan: boolean;
  readonly pan3: boolean;
  readonly xnx: boolean;
  readonly vhe: boolean;
  readonly nv: boolean;
  readonly s2fwb: boolean;
  readonly e0pd: boolean;
  readonly pauth: boolean;
  readonly xs: boolean;
  readonly mte2: boolean;
  readonly ras: boolean;
  /** By stage: log2 of the granules that there are, and of those that DS goes with. */
  readonly granules: Readonly<Record<1 | 2, readonly number[]>>;
  readonly lpa2: Readonly<Record<1 | 2, readonly number[]>>;
}

const PA_BITS = [32, 36, 40, 42, 44, 48, 52];

export function featuresOf(id: Readonly<Record<string, bigint>>): TwinFeatures {
  const at = (name: string, lsb: number): number => field(id[name] ?? 0n, lsb + 3, lsb);
  const mmfr0 = (lsb: number): number => at('ID_AA64MMFR0_EL1', lsb);
  const mmfr1 = (lsb: number): number => at('ID_AA64MMFR1_EL1', lsb);
  const mmfr2 = (lsb: number): number => at('ID_AA64MMFR2_EL1', lsb);
  const has = { 12: mmfr0(28) !== 15, 14: mmfr0(20) !== 0, 16: mmfr0(24) !== 15 };
  const ds = { 12: mmfr0(28) === 1, 14: mmfr0(20) === 2 };
  // The stage-2 fields: 0 is as stage 1, 1 is none, 2 is there, 3 with 52 bits.
  const second = (lsb: number, one: boolean): boolean => (mmfr0(lsb) === 0 ? one : mmfr0(lsb) !== 1);
  const has2 = { 12: second(40, has[12]), 14: second(32, has[14]), 16: second(36, has[16]) };
  const ds2 = { 12: mmfr0(40) === 0 ? ds[12] : mmfr0(40) === 3, 14: mmfr0(32) === 0 ? ds[14] : mmfr0(32) === 3 };
  const paMax = PA_BITS[Math.min(mmfr0(0), 6)];
  return {
    paMax,
    lpa: paMax === 52,
    lva: mmfr2(16) >= 1,
    ttst: mmfr2(28) >= 1,
    haf: mmfr1(0) >= 1,
    hdbs: mmfr1(0) >= 2,
    hpds: mmfr1(12) >= 1,
    pan: mmfr1(20) >= 1,
    pan3: mmfr1(20) >= 3,
    xnx: mmfr1(28) >= 1,
    vhe: mmfr1(8) >= 1,
    nv: mmfr2(24) >= 1,
    s2fwb: mmfr2(40) >= 1,
    e0pd: mmfr2(60) >= 1,
    pauth: at('ID_AA64ISAR1_EL1', 4) + at('ID_AA64ISAR1_EL1', 8) + at('ID_AA64ISAR2_EL1', 12) > 0,
    xs: at('ID_AA64ISAR1_EL1', 56) >= 1,
    mte2: at('ID_AA64PFR1_EL1', 8) >= 2,
    ras: at('ID_AA64PFR0_EL1', 28) >= 1,
    granules: { 1: [12, 14, 16].filter((shift) => has[shift as 12]), 2: [12, 14, 16].filter((shift) => has2[shift as 12]) },
    lpa2: { 1: [12, 14].filter((shift) => ds[shift as 12]), 2: [12, 14].filter((shift) => ds2[shift as 12]) },
  };
}

/** What every function of the pseudocode sees: registers, features and memory. Each query has its own, for hardware writes into it. */
export class TwinMachine {
  readonly features: TwinFeatures;
  readonly changed = new Map<bigint, bigint>();
  readonly #words: ReadonlyMap<bigint, bigint>;
  readonly #windows: readonly (readonly [bigint, bigint])[];
  readonly #registers: Readonly<Record<string, bigint>>;

  constructor({ registers, memory }: Pick<TranslationCase, 'registers' | 'memory'>, machine: CaseMachine) {
    this.features = featuresOf(machine.id);
    this.#registers = registers;
    this.#words = new Map(memory.map(([address, value]) => [BigInt(address), value]));
    this.#windows = machine.windows.map(([base, size]) => [BigInt(base), BigInt(size)]);
  }

  /** A register; one that the case does not name is 0. */
  reg(name: string): bigint {
    return this.#registers[name] ?? 0n;
  }

  /** Whether a word is there already, or was written. */
  protected known(address: bigint): bigint | undefined {
    return this.changed.get(address) ?? this.#words.get(address);
  }

  /** FetchDescriptor; undefined: an external abort. Memory that is not named reads as 0 inside the windows. */
  fetch(address: bigint, ee: boolean): bigint | undefined {
    const word = this.known(address);
    if (word !== undefined) return ee ? bigEndianReverse(word) : word;
    return this.#windows.some(([base, size]) => address >= base && address < base + size) ? 0n : undefined;
  }

  /** AArch64.MemSwapTableDesc, which here finds no one else writing. */
  swap(address: bigint, descriptor: bigint, ee: boolean): void {
    this.changed.set(address, ee ? bigEndianReverse(descriptor) : descriptor);
  }
}
