import type { CaseMachine, CaseQuery, TranslationCase } from '@granule/contract';
import { align, bigEndianReverse } from './bits.js';
import { TwinMachine } from './machine.js';
import type { Random } from './random.js';

export interface Generated {
  readonly machine: CaseMachine;
  readonly each: TranslationCase;
}

/** The word with one field replaced. */
export const put = (word: bigint, lsb: number, width: number, value: number | bigint): bigint => (word & ~(((1n << BigInt(width)) - 1n) << BigInt(lsb))) | (BigInt(value) << BigInt(lsb));

/** How descriptors of one case look. */
export interface Style {
  readonly addressBits: number;
  readonly blocks: number;
  readonly restricted: number;
  readonly high: boolean;
}

/** One descriptor: mostly valid, with an address in range and most permissions; now and then one odd bit, or all of them. */
function randomDescriptor(random: Random, { addressBits, blocks, restricted, high }: Style): bigint {
  if (random.once(40)) return random.bits(64);
  let word = align(random.bits(addressBits), 12) | (random.once(blocks) ? 1n : 3n);
  if (!high || !random.once(2)) word &= ~0xf000n;
  word |= random.bits(3) << 2n;
  word = put(word, 5, 1, random.once(3) ? 0 : 1);
  word = put(word, 6, 2, random.once(restricted) ? random.below(4) : random.pick([1, 3]));
  word = put(word, 8, 2, high && random.once(2) ? random.below(4) : random.pick([0, 2, 3]) * (high ? 0 : 1));
  word = put(word, 10, 1, random.once(restricted) ? 0 : 1);
  word = put(word, 11, 1, random.below(2));
  word |= (random.once(restricted) ? random.bits(16) : random.once(3) ? random.few(16) & 0x7fcn : 0n) << 48n;
  if (high && random.once(4)) word |= random.bits(2) << 48n;
  return random.once(30) ? word ^ (1n << BigInt(random.below(64))) : word;
}

/** All of memory but for words that are missing. */
export function windowsOf(holes: readonly bigint[]): CaseMachine['windows'] {
  const windows: [number, number][] = [];
  let from = 0n;
  for (const hole of [...holes].sort((one, two) => (one < two ? -1 : 1))) {
    if (hole > from) windows.push([Number(from), Number(hole - from)]);
    from = hole + 8n;
  }
  return [...windows, [Number(from), Number((1n << 52n) - from)]];
}

/** Memory that comes into being where the twin reads it. */
class GrowingMachine extends TwinMachine {
  readonly #grown: Map<bigint, bigint>;
  readonly #holes: Set<bigint>;
  readonly #make: () => bigint | undefined;

  constructor({ each, machine }: Generated, grown: Map<bigint, bigint>, holes: Set<bigint>, make: () => bigint | undefined) {
    super(each, machine);
    this.#grown = grown;
    this.#holes = holes;
    this.#make = make;
  }

  override fetch(address: bigint, ee: boolean): bigint | undefined {
    if (this.known(address) === undefined && !this.#holes.has(address)) {
      const word = this.#make();
      if (word === undefined) this.#holes.add(address);
      else this.#grown.set(address, ee ? bigEndianReverse(word) : word);
    }
    return this.#holes.has(address) ? undefined : super.fetch(address, ee);
  }

  protected override known(address: bigint): bigint | undefined {
    return super.known(address) ?? this.#grown.get(address);
  }
}

/** A query with nothing recorded. */
export const query = (op: string, va: bigint, pan: boolean): CaseQuery => ({ op, va, pan, changed: [], doubt: [] });

/** Fills memory where `answer`, the twin, reads it, so that the walks of a case find mostly valid descriptors. `aborts`: one word in so many is not there. */
export function grown(random: Random, { machine, each }: Generated, style: Style, aborts: number, answer: (own: TwinMachine, query: CaseQuery) => unknown): Generated {
  const words = new Map<bigint, bigint>();
  const holes = new Set<bigint>();
  const make = (): bigint | undefined => (random.once(aborts) ? undefined : randomDescriptor(random, style));
  for (const one of each.queries) answer(new GrowingMachine({ each, machine }, words, holes, make), one);
  return { machine: { ...machine, windows: windowsOf([...holes]) }, each: { ...each, memory: [...words].map(([address, word]) => [Number(address), word] as const) } };
}
