import type { TlbEntry, TlbiScope, TlbModel, TlbQuery, TlbStage } from '@granule/contract';
import { shiftDown } from '@granule/geometry/bits';
import { createReplacer, type Replacement, type Replacer } from '../replacement.js';
import { inScope } from './scope.js';

/** One array of a finite TLB: what it takes, how large it is and what gives way. */
export interface TlbArray {
  readonly name: string;
  /** A power of 2. */
  readonly sets: number;
  readonly ways: number;
  readonly replacement: Replacement;
  readonly stages: readonly TlbStage[];
  readonly kind: 'leaf' | 'table';
  /** log2 of the entry sizes that it takes; absent: every size. */
  readonly shifts?: readonly number[];
}

export interface FiniteTlbConfig {
  /** An entry goes to the first array that takes it; one that none takes is not held. */
  readonly arrays: readonly TlbArray[];
  /** Whether level and granule hints limit what an invalidation removes; default false, as hardware that does not use them. */
  readonly heedHints?: boolean;
}

const REGIMES = { el10: 0, el20: 1, el2: 2 } as const;
const STAGES = { stage1: 0, stage2: 1, combined: 2 } as const;
const KINDS = { leaf: 0, table: 1 } as const;

type Tags = Pick<TlbEntry, 'regime' | 'stage' | 'kind' | 'vmid'>;

/** Everything that a lookup compares for equality, but address and ASID: 5 bits above a VMID of 16. The other regimes have no VMID. */
function keyOf({ regime, stage, kind, vmid }: Tags): number {
  return (((REGIMES[regime] * 3 + STAGES[stage]) * 2 + KINDS[kind]) << 16) | (regime === 'el10' ? vmid : 0);
}

/** Sizes of input addresses, log2: 53 bits. */
const SHIFTS = 64;
const EMPTY = -1;

/** The columns of one array; slots of a set are neighbours. */
class Columns {
  readonly config: TlbArray;
  readonly entries: (TlbEntry | undefined)[];
  /** input / 2^shift · 64 + shift; −1: empty. */
  readonly #pages: Float64Array;
  readonly #keys: Int32Array;
  readonly #asids: Int32Array;
  readonly #replacer: Replacer;
  readonly #mask: number;
  readonly #ways: number;
  /** Entries held of each size, and the sizes held, ascending. */
  readonly #held = new Int32Array(SHIFTS);
  shifts: readonly number[] = [];
  size = 0;
  hits = 0;

  constructor(config: TlbArray) {
    const slots = config.sets * config.ways;
    if (!Number.isInteger(Math.log2(config.sets)) || !(config.ways >= 1)) {
      throw new RangeError(`TLB array ${config.name} has ${config.sets} sets of ${config.ways}: sets are a power of 2, ways 1 or more.`);
    }
    this.config = config;
    this.entries = new Array<TlbEntry | undefined>(slots).fill(undefined);
    this.#pages = new Float64Array(slots).fill(EMPTY);
    this.#keys = new Int32Array(slots);
    this.#asids = new Int32Array(slots);
    this.#replacer = createReplacer(config.replacement, config.sets, config.ways);
    this.#mask = config.sets - 1;
    this.#ways = config.ways;
  }

  takes({ stage, kind, shift }: TlbEntry): boolean {
    const { config } = this;
    return config.kind === kind && config.stages.includes(stage) && (config.shifts?.includes(shift) ?? true);
  }

  /** The slot that answers for this size, from `from` on; −1: none. */
  find(query: Readonly<TlbQuery>, key: number, shift: number, from = -1): number {
    const page = shiftDown(query.address, shift);
    const first = (page & this.#mask) * this.#ways;
    const tag = page * SHIFTS + shift;
    const { asid } = query;
    for (let slot = Math.max(first, from); slot < first + this.#ways; slot += 1) {
      if (this.#pages[slot] === tag && this.#keys[slot] === key) {
        const held = this.#asids[slot];
        if (held === -1 || held === asid) return slot;
      }
    }
    return -1;
  }

  touch(slot: number): void {
    this.#replacer.touch(slot);
  }

  insert(entry: TlbEntry): void {
    const { shift, asid } = entry;
    const page = shiftDown(entry.input, shift);
    const set = page & this.#mask;
    const tag = page * SHIFTS + shift;
    const key = keyOf(entry);
    const slot = this.#slotFor(set, tag, key, asid);
    this.remove(slot);
    this.entries[slot] = entry;
    this.#pages[slot] = tag;
    this.#keys[slot] = key;
    this.#asids[slot] = asid;
    this.#count(shift, 1);
    this.#replacer.touch(slot);
  }

  remove(slot: number): void {
    const entry = this.entries[slot];
    if (entry === undefined) return;
    this.entries[slot] = undefined;
    this.#pages[slot] = EMPTY;
    this.#count(entry.shift, -1);
  }

  /** The slot of the same tags, else an empty one, else the victim. */
  #slotFor(set: number, tag: number, key: number, asid: number): number {
    let empty = -1;
    for (let slot = set * this.#ways; slot < (set + 1) * this.#ways; slot += 1) {
      if (this.#pages[slot] === tag && this.#keys[slot] === key && this.#asids[slot] === asid) return slot;
      if (empty === -1 && this.#pages[slot] === EMPTY) empty = slot;
    }
    return empty === -1 ? this.#replacer.victim(set) : empty;
  }

  #count(shift: number, by: 1 | -1): void {
    this.size += by;
    const before = this.#held[shift];
    this.#held[shift] = before + by;
    if (before === 0) this.shifts = [...this.shifts, shift].sort((a, b) => a - b);
    else if (before + by === 0) this.shifts = this.shifts.filter((each) => each !== shift);
  }
}

/**
 * A TLB of sets and ways that evicts, and counts. A fill with the tags of an entry that is held replaces it; entries of other sizes for the
 * same address may coexist with it, as in hardware. Of several that match, the smallest answers.
 */
export class FiniteTlb implements TlbModel {
  readonly #arrays: readonly Columns[];
  readonly #heedHints: boolean;
  /** Of each (stage, kind), the arrays that take it. */
  readonly #of: readonly (readonly Columns[])[];
  /** Lookups that found nothing in any array. */
  misses = 0;

  /** @throws RangeError where an array has sets that are no power of 2, or no ways */
  constructor({ arrays, heedHints = false }: FiniteTlbConfig) {
    this.#arrays = arrays.map((each) => new Columns(each));
    this.#heedHints = heedHints;
    const holding = (stage: TlbStage, kind: string): readonly Columns[] =>
      this.#arrays.filter(({ config }) => config.kind === kind && config.stages.includes(stage));
    this.#of = Object.keys(STAGES).flatMap((stage) => Object.keys(KINDS).map((kind) => holding(stage as TlbStage, kind)));
  }

  get size(): number {
    return this.#arrays.reduce((sum, { size }) => sum + size, 0);
  }

  get capacity(): number {
    return this.#arrays.reduce((sum, { entries }) => sum + entries.length, 0);
  }

  /** Lookups that each array answered, by its name. */
  get hits(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#arrays.map(({ config, hits }) => [config.name, hits]));
  }

  insert(entry: TlbEntry): void {
    this.#arrays.find((each) => each.takes(entry))?.insert(entry);
  }

  lookup(query: Readonly<TlbQuery>): TlbEntry | undefined {
    const key = keyOf(query);
    const arrays = this.#of[STAGES[query.stage] * 2 + KINDS[query.kind]];
    let found: TlbEntry | undefined;
    for (let i = 0; i < arrays.length; i += 1) {
      const array = arrays[i];
      const { shifts } = array;
      for (let j = 0; j < shifts.length; j += 1) {
        const slot = array.find(query, key, shifts[j]);
        if (slot === -1) continue;
        const entry = array.entries[slot]!;
        array.touch(slot);
        array.hits += 1;
        if (found === undefined || entry.shift < found.shift) found = entry;
        break;
      }
    }
    if (found === undefined) this.misses += 1;
    return found;
  }

  matches(query: Readonly<TlbQuery>, into: TlbEntry[]): number {
    const key = keyOf(query);
    let count = 0;
    for (const array of this.#of[STAGES[query.stage] * 2 + KINDS[query.kind]]) {
      for (const shift of array.shifts) {
        for (let slot = array.find(query, key, shift); slot !== -1; slot = array.find(query, key, shift, slot + 1)) {
          into[count++] = array.entries[slot]!;
        }
      }
    }
    return count;
  }

  invalidate(scope: TlbiScope, removed?: (entry: TlbEntry) => void): number {
    let count = 0;
    for (const array of this.#arrays) {
      for (const [slot, entry] of array.entries.entries()) {
        if (entry === undefined || !inScope(scope, entry, this.#heedHints)) continue;
        array.remove(slot);
        removed?.(entry);
        count += 1;
      }
    }
    return count;
  }

  entries(): readonly TlbEntry[] {
    return this.#arrays.flatMap(({ entries }) => entries.filter((each) => each !== undefined));
  }

  clear(): void {
    for (const array of this.#arrays) for (const slot of array.entries.keys()) array.remove(slot);
  }
}
