import type { Counts } from '../report/counts.js';
import { add, compare, decimal, divide, floor, type Fraction, fraction, multiply, rounded, subtract } from './fraction.js';
import { estimate, exactCost } from './estimate.js';
import type { CostProfile } from './profile.js';

/** A policy's counts, under the name of its variant. */
export interface Policy {
  readonly name: string;
  readonly counts: Counts;
}

export interface Measured {
  /** Whole nanoseconds. */
  readonly ns: number;
  readonly source: string;
}

/** Some of the parts done by the dearer policy, the others by the cheaper one. */
export interface Mix {
  readonly dearParts: number;
  readonly ns: number;
  /** The profile's costs times this give the measured total; four decimals. Below 1 the mix is ruled out where a cost is a lower bound. */
  readonly factor?: number;
}

/** A measured total between the costs of two policies. */
export interface CostBracket {
  readonly profile: string;
  readonly measured: Measured;
  readonly cheap: { readonly name: string; readonly ns: number };
  readonly dear: { readonly name: string; readonly ns: number };
  /** The costs are lower bounds: so is what the mixes cost, and `dearParts` is an upper one. */
  readonly lowerBound: boolean;
  /** The measured total lies between the two costs, or on one of them. */
  readonly inside: boolean;
  /** Equal parts that the work is taken to consist of, each done by one policy or the other. */
  readonly parts: number;
  /** How many of the parts the dearer policy did, were the costs exactly the profile's: four decimals. Absent where the total is outside. */
  readonly dearParts?: number;
  /** The whole numbers of parts around it, one where it is whole. */
  readonly mixes: readonly Mix[];
}

/**
 * Holds a measured total between two policies for the same work. Costs are linear in how much of the work each policy does, so the total says what mix of
 * the two gives it. Nothing is fitted: the costs stay the profile's. `cheap` and `dear` are told apart by their costs.
 *
 * @param parts how many equal parts the work has, an integer from 1
 */
export function bracket(profile: CostProfile, measured: Measured, policies: readonly [Policy, Policy], parts = 1): CostBracket {
  const costs = policies.map(({ name, counts }) => ({ name, ns: exactCost(profile, counts) }));
  const [cheap, dear] = compare(costs[0].ns, costs[1].ns) <= 0 ? costs : [costs[1], costs[0]];
  const total = fraction(measured.ns);
  const inside = compare(cheap.ns, total) <= 0 && compare(total, dear.ns) <= 0;
  const ends = { cheap: { name: cheap.name, ns: rounded(cheap.ns) }, dear: { name: dear.name, ns: rounded(dear.ns) } };
  const lowerBound = policies.some(({ counts }) => estimate(profile, counts).lowerBound);
  const common = { profile: profile.name, measured, ...ends, lowerBound, inside, parts };
  const range = subtract(dear.ns, cheap.ns);
  if (!inside || compare(range, fraction(0)) === 0) {
    return { ...common, mixes: [] };
  }
  const exact = multiply(divide(subtract(total, cheap.ns), range), fraction(parts));
  const below = floor(exact);
  const whole = compare(exact, fraction(below)) === 0;
  const costOf = (dearParts: number): Fraction => add(cheap.ns, multiply(range, fraction(dearParts, parts)));
  const mixes = (whole ? [below] : [below, below + 1]).map((dearParts): Mix => {
    const ns = costOf(dearParts);
    return { dearParts, ns: rounded(ns), ...(ns.numerator === 0n ? {} : { factor: decimal(divide(total, ns), 4) }) };
  });
  return { ...common, dearParts: decimal(exact, 4), mixes };
}
