/** Decides what the architecture leaves open: answers 0 … count − 1. Not asked where there is one possibility. */
export type Choose = (count: number) => number;

/** Asks only where there is something to decide. */
export function decide(choose: Choose, count: number): number {
  return count === 1 ? 0 : choose(count);
}

/**
 * Runs `body` once for every way to decide, depth first. Bodies must be repeatable: the same decisions lead to the same questions.
 *
 * @param limit runs after which it gives up
 * @returns how many runs there were, or −1: there are more than `limit`
 */
export function everyChoice(body: (choose: Choose) => void, limit = Infinity): number {
  const path: { pick: number; readonly count: number }[] = [];
  for (let runs = 1; runs <= limit; runs += 1) {
    let depth = 0;
    body((count) => {
      if (depth === path.length) path.push({ pick: 0, count });
      const { pick } = path[depth];
      depth += 1;
      return pick;
    });
    while (path.length > 0 && path[path.length - 1].pick + 1 === path[path.length - 1].count) path.pop();
    if (path.length === 0) return runs;
    path[path.length - 1].pick += 1;
  }
  return -1;
}
