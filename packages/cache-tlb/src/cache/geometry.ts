import type { CacheShape } from './lines.js';

/** A way of a set of one level, as an operation by set/way names it. */
export interface SetWay {
  /** Cache level, 1 … 7. */
  readonly level: number;
  readonly set: number;
  readonly way: number;
}

const log2Up = (n: number): number => Math.ceil(Math.log2(n));

/**
 * The set, way and level of an operand of DC ISW, CSW, CISW: the way in the top bits, as many as the ways need, the set above the line's
 * offset (DDI 0487 C5.3, DC CISW). The operand comes as the backend decodes it.
 * @param setWay bits 31:4
 * @param level bits 3:1, 0 for level 1
 */
export function decodeSetWay(setWay: number, level: number, { sets, ways }: Pick<CacheShape, 'sets' | 'ways'>, lineBytes: number): SetWay {
  const operand = setWay * 16;
  const way = Math.floor(operand / 2 ** (32 - log2Up(ways))) % 2 ** log2Up(ways);
  return { level: level + 1, set: Math.floor(operand / lineBytes) % sets, way };
}

/** The operand, 32 bits, that names a set and way. */
export function encodeSetWay({ level, set, way }: SetWay, { ways }: Pick<CacheShape, 'ways'>, lineBytes: number): number {
  return way * 2 ** (32 - log2Up(ways)) + set * lineBytes + (level - 1) * 2;
}

/** Every set and way of a cache, as a loop over CCSIDR_EL1 goes through them. */
export function allSetWays(level: number, { sets, ways }: Pick<CacheShape, 'sets' | 'ways'>): readonly SetWay[] {
  return Array.from({ length: sets * ways }, (_, index) => ({ level, set: index % sets, way: Math.floor(index / sets) }));
}

/** CCSIDR_EL1 without FEAT_CCIDX: NumSets − 1, Associativity − 1, log2(line bytes) − 4 (DDI 0487 D24.2, CCSIDR_EL1). */
export function ccsidr({ sets, ways }: Pick<CacheShape, 'sets' | 'ways'>, lineBytes: number): bigint {
  return (BigInt(sets - 1) << 13n) | (BigInt(ways - 1) << 3n) | BigInt(Math.log2(lineBytes) - 4);
}

/** The shape that a CCSIDR_EL1 without FEAT_CCIDX tells. */
export function shapeOfCcsidr(value: bigint): { readonly sets: number; readonly ways: number; readonly lineBytes: number } {
  return {
    sets: Number((value >> 13n) & 0x7fffn) + 1,
    ways: Number((value >> 3n) & 0x3ffn) + 1,
    lineBytes: 2 ** (Number(value & 7n) + 4),
  };
}

/** What the identification registers tell of a hierarchy. A system cache is in none of them. */
export interface Identified {
  readonly lineBytes: number;
  readonly zeroBytes: number;
  readonly instructionIndex: 'virtual' | 'physical';
  readonly outer: boolean;
  readonly idc: boolean;
  readonly dic: boolean;
}

/**
 * CLIDR_EL1: level 1 has separate caches, level 2 (where it exists) a unified one. Coherency is reached behind all of them, unification
 * behind level 1, or needs nothing with IDC.
 */
export function clidr({ outer, idc }: Identified): bigint {
  const separate = 0b011n;
  const unified = outer ? 0b100n << 3n : 0n;
  const coherency = outer ? 2n : 1n;
  const unification = idc ? 0n : 1n;
  return (unification << 27n) | (coherency << 24n) | (unification << 21n) | unified | separate;
}

/** CTR_EL0: line sizes in words, L1Ip VIPT or PIPT, IDC, DIC. */
export function ctr({ lineBytes, instructionIndex, idc, dic }: Pick<Identified, 'lineBytes' | 'instructionIndex' | 'idc' | 'dic'>): bigint {
  const words = BigInt(Math.log2(lineBytes / 4));
  const policy = instructionIndex === 'virtual' ? 0b10n : 0b11n;
  const flags = (idc ? 1n << 28n : 0n) | (dic ? 1n << 29n : 0n);
  return (1n << 31n) | flags | (words << 24n) | (words << 20n) | (words << 16n) | (policy << 14n) | words;
}

/** DCZID_EL0.BS: log2 of the words that DC ZVA zeroes. */
export function dczid({ zeroBytes }: Identified): bigint {
  return BigInt(Math.log2(zeroBytes / 4));
}
