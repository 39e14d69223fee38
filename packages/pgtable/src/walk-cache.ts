import type { Plan } from './plan.js';

/**
 * Where the last walk went: the level-3 table and the level-2 table that it used, as a hardware walk cache would keep them. Forgotten
 * whenever a table page is given back. Starts are input addresses, NaN for none. The level-3 table is kept only while no sink listens: who
 * writes through it owes nobody an effect.
 */
export class WalkCache {
  leafStart = NaN;
  leafTable = 0;
  parentStart = NaN;
  parentTable = 0;

  forget(): void {
    this.leafStart = NaN;
    this.parentStart = NaN;
  }

  holdsParent(plan: Plan, ia: number): boolean {
    const offset = ia - this.parentStart;
    return offset >= 0 && offset < plan.span[2];
  }
}
