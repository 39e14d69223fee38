import { type Outcome, done, refused } from '@granule/contract';
import type { Leaf } from './leaf.js';

export type LeafFilter = (leaf: Leaf) => boolean;

/** What a filter's name asks of a leaf's effective permissions and memory type. */
export const FILTERS: Readonly<Record<string, { readonly meaning: string; readonly test: LeafFilter }>> = {
  wx: { meaning: 'writable and executable', test: (leaf) => leaf.write && leaf.execute },
  ro: { meaning: 'readable, not writable', test: (leaf) => leaf.read && !leaf.write },
  rw: { meaning: 'readable and writable', test: (leaf) => leaf.read && leaf.write },
  r: { meaning: 'readable', test: (leaf) => leaf.read },
  w: { meaning: 'writable', test: (leaf) => leaf.write },
  x: { meaning: 'executable', test: (leaf) => leaf.execute },
  user: { meaning: 'accessible at EL0', test: (leaf) => leaf.user },
  dev: { meaning: 'device memory', test: (leaf) => leaf.device },
  mem: { meaning: 'not device memory', test: (leaf) => !leaf.device },
  old: { meaning: 'access flag clear', test: (leaf) => !leaf.accessed },
};

/** Names joined by commas; all must hold. Refused: `filter.unknown`. */
export function parseFilter(text: string): Outcome<LeafFilter> {
  const names = text.split(',');
  const unknown = names.find((name) => !Object.hasOwn(FILTERS, name));
  if (unknown !== undefined) {
    return refused('filter.unknown', `The filter ${unknown} is not one of ${Object.keys(FILTERS).join(', ')}.`, 'granule dump --filter');
  }
  const tests = names.map((name) => FILTERS[name].test);
  return done((leaf) => tests.every((test) => test(leaf)));
}
