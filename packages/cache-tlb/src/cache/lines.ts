import { createReplacer, type Replacement, type Replacer } from '../replacement.js';

/** Size of a cache and what gives way in it. */
export interface CacheShape {
  /** A power of 2. */
  readonly sets: number;
  readonly ways: number;
  readonly replacement: Replacement;
}

const EMPTY = -1;

/**
 * The lines of one cache. Lines are named by their physical address; the set comes from `index`, which a virtually indexed cache makes of a
 * VA.
 */
export class Lines {
  readonly shape: CacheShape;
  readonly lineBytes: number;
  readonly #tags: Float64Array;
  readonly #dirty: Uint8Array;
  /** The line may be held by the level behind too: where its write-back goes. */
  readonly #outer: Uint8Array;
  readonly #data: readonly Uint8Array[];
  readonly #replacer: Replacer;
  hits = 0;
  misses = 0;

  /** @throws RangeError where sets are no power of 2, or there are no ways */
  constructor(shape: CacheShape, lineBytes: number) {
    const { sets, ways } = shape;
    if (!Number.isInteger(Math.log2(sets)) || !(ways >= 1)) {
      throw new RangeError(`A cache has a power of 2 of sets and 1 or more ways, not ${sets}, ${ways}.`);
    }
    this.shape = shape;
    this.lineBytes = lineBytes;
    const slots = sets * ways;
    const bytes = new Uint8Array(slots * lineBytes);
    this.#tags = new Float64Array(slots).fill(EMPTY);
    this.#dirty = new Uint8Array(slots);
    this.#outer = new Uint8Array(slots);
    this.#data = Array.from({ length: slots }, (_, slot) => bytes.subarray(slot * lineBytes, (slot + 1) * lineBytes));
    this.#replacer = createReplacer(shape.replacement, sets, ways);
  }

  setOf(index: number): number {
    return Math.floor(index / this.lineBytes) % this.shape.sets;
  }

  /** The slot of a line; −1: not held. */
  find(line: number, index = line): number {
    const { ways } = this.shape;
    const first = this.setOf(index) * ways;
    for (let slot = first; slot < first + ways; slot += 1) if (this.#tags[slot] === line) return slot;
    return -1;
  }

  /** {@link find}, counted as a use. */
  look(line: number, index = line): number {
    const slot = this.find(line, index);
    if (slot === -1) this.misses += 1;
    else {
      this.hits += 1;
      this.#replacer.touch(slot);
    }
    return slot;
  }

  /** The slot that a new line of this set takes: an empty one, else the victim, which the caller must have evicted. */
  room(index: number): number {
    const { ways } = this.shape;
    const set = this.setOf(index);
    for (let slot = set * ways; slot < (set + 1) * ways; slot += 1) if (this.#tags[slot] === EMPTY) return slot;
    return this.#replacer.victim(set);
  }

  fill(slot: number, line: number, bytes: Uint8Array, dirty: boolean, outer: boolean): void {
    this.#tags[slot] = line;
    this.#data[slot].set(bytes);
    this.#dirty[slot] = dirty ? 1 : 0;
    this.#outer[slot] = outer ? 1 : 0;
    this.#replacer.touch(slot);
  }

  drop(slot: number): void {
    this.#tags[slot] = EMPTY;
    this.#dirty[slot] = 0;
  }

  /** Drops every copy of a line, in whatever set a VA put it. */
  dropLine(line: number): void {
    for (let slot = this.#tags.indexOf(line); slot !== -1; slot = this.#tags.indexOf(line, slot + 1)) this.drop(slot);
  }

  clear(): void {
    this.#tags.fill(EMPTY);
    this.#dirty.fill(0);
  }

  /** −1: empty. */
  lineOf(slot: number): number {
    return this.#tags[slot];
  }

  dataOf(slot: number): Uint8Array {
    return this.#data[slot];
  }

  isDirty(slot: number): boolean {
    return this.#dirty[slot] === 1;
  }

  isOuter(slot: number): boolean {
    return this.#outer[slot] === 1;
  }

  setDirty(slot: number, dirty: boolean): void {
    this.#dirty[slot] = dirty ? 1 : 0;
  }

  /** Slots that hold a line. */
  held(): readonly number[] {
    return [...this.#tags.keys()].filter((slot) => this.#tags[slot] !== EMPTY);
  }
}
