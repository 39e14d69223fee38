/** Which way of a full set gives way. `random` draws from a generator that `seed` starts, so that a run can be repeated. */
export type Replacement = 'lru' | 'round-robin' | { readonly random: { readonly seed: number } };

/** Chooses victims among the ways of a set; a slot is set · ways + way. */
export interface Replacer {
  /** The slot was used or filled. */
  touch(slot: number): void;
  /** The slot, of those of this set, to replace. */
  victim(set: number): number;
}

/** Least recently used, by a stamp for each slot. */
function lru(sets: number, ways: number): Replacer {
  const stamps = new Float64Array(sets * ways);
  let now = 0;
  return {
    touch(slot) {
      now += 1;
      stamps[slot] = now;
    },
    victim(set) {
      let best = set * ways;
      for (let slot = best + 1; slot < (set + 1) * ways; slot += 1) {
        if (stamps[slot] < stamps[best]) best = slot;
      }
      return best;
    },
  };
}

function roundRobin(sets: number, ways: number): Replacer {
  const next = new Uint32Array(sets);
  return {
    touch() {},
    victim(set) {
      const way = next[set];
      next[set] = (way + 1) % ways;
      return set * ways + way;
    },
  };
}

/** xorshift32; `seed` 0 would stand still and counts as 1. */
function random(ways: number, seed: number): Replacer {
  let state = seed >>> 0 || 1;
  return {
    touch() {},
    victim(set) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return set * ways + ((state >>> 0) % ways);
    },
  };
}

/** @param sets a power of 2 @param ways 1 or more */
export function createReplacer(policy: Replacement, sets: number, ways: number): Replacer {
  if (policy === 'lru') return lru(sets, ways);
  return policy === 'round-robin' ? roundRobin(sets, ways) : random(ways, policy.random.seed);
}
