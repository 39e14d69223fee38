import { random } from '../../src/scenario/run/random.js';

/** The same seed gives the same numbers everywhere. */
export class Random {
  readonly #next: (count: number) => number;

  constructor(seed: number) {
    this.#next = random(seed);
  }

  /** 0 … 2^32 − 1. */
  word(): number {
    return this.#next(2 ** 32);
  }

  below(n: number): number {
    return this.word() % n;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  /** True once in so many times. */
  once(inHowMany: number): boolean {
    return this.below(inHowMany) === 0;
  }

  bits(count: number): bigint {
    return BigInt.asUintN(count, (BigInt(this.word()) << 32n) | BigInt(this.word()));
  }

  /** Few bits set. */
  few(count: number): bigint {
    return this.bits(count) & this.bits(count) & this.bits(count);
  }
}
