import type { Counts } from '../report/counts.js';
import { add, type Fraction, fraction, multiply, rounded, ZERO } from './fraction.js';
import { COST_ITEMS, type CostItem, itemCounts, type ItemCounts } from './items.js';
import type { Cost, CostProfile } from './profile.js';

/** Counts × costs under one profile. */
export interface CostEstimate {
  readonly profile: string;
  readonly machine: string;
  readonly source: string;
  /** Rounded once, at the end. */
  readonly ns: number;
  /** A cost is a lower bound, or something that happened has no cost. */
  readonly lowerBound: boolean;
  readonly items: readonly CostLine[];
  /** What happened, has no cost in this profile and is no part of what has one. */
  readonly unknown: readonly { readonly item: CostItem; readonly count: number }[];
}

export interface CostLine {
  readonly item: CostItem;
  readonly count: number;
  readonly ns: number;
  readonly bound: Cost['bound'];
  readonly how: string;
}

const ITEMS = Object.keys(COST_ITEMS) as CostItem[];

function costOf(profile: CostProfile, item: CostItem, count: number): Fraction {
  const cost = profile.costs[item];
  return cost === undefined ? ZERO : multiply(fraction(cost.ns, cost.per), fraction(count));
}

/** What is left to pay for: what the costs of other items include is taken off. */
function uncovered({ costs }: CostProfile, counts: ItemCounts): ItemCounts {
  const left = { ...counts };
  for (const item of ITEMS) {
    for (const covered of ITEMS) {
      left[covered] = Math.max(0, left[covered] - counts[item] * (costs[item]?.covers?.[covered] ?? 0));
    }
  }
  return left;
}

/** What the counts cost under a profile, in nanoseconds, exactly. Operations without a cost add nothing. */
export function exactCost(profile: CostProfile, counts: Counts): Fraction {
  const left = uncovered(profile, itemCounts(counts));
  return ITEMS.reduce((sum, item) => add(sum, costOf(profile, item, left[item])), ZERO);
}

export function estimate(profile: CostProfile, counts: Counts): CostEstimate {
  const left = uncovered(profile, itemCounts(counts));
  const items = ITEMS.flatMap((item): CostLine[] => {
    const cost = profile.costs[item];
    return cost === undefined || left[item] === 0
      ? []
      : [{ item, count: left[item], ns: rounded(costOf(profile, item, left[item])), bound: cost.bound, how: cost.how }];
  });
  const unknown = ITEMS.flatMap((item) => (profile.costs[item] !== undefined || left[item] === 0 ? [] : [{ item, count: left[item] }]));
  return {
    profile: profile.name,
    machine: profile.machine,
    source: profile.source,
    ns: rounded(exactCost(profile, counts)),
    lowerBound: unknown.length > 0 || items.some(({ bound }) => bound === 'at-least'),
    items,
    unknown,
  };
}
