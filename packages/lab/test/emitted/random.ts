import { random } from '../../src/scenario/run/random.js';

/** A seed names a run. */
export class Random {
  /** 0 … count − 1. */
  readonly below: (count: number) => number;

  constructor(seed: number) {
    this.below = random(seed);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }
}
