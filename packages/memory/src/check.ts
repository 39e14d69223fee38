import { hex } from '@granule/geometry/bits';
import type { TableArena } from './arena.js';

/**
 * What is wrong with an arena, one sentence each; empty where nothing is. Reads every page: for tests and for hunting a bug, not for hot paths. Checks that
 * free pages are zero and count nothing, that the counts of taken pages are the number of their entries that are not zero, and that `taken` is the
 * number of taken pages.
 */
export function checkArena(arena: TableArena): readonly string[] {
  const problems: string[] = [];
  const pageBytes = 2 ** arena.pageShift;
  let taken = 0;
  for (let page = 0; page < arena.contiguousPages; page += 1) {
    const pa = (arena.firstPage + page) * pageBytes;
    const live = countEntries(arena.words, (page * pageBytes) / 4, pageBytes / 4);
    const isTaken = arena.isTaken(pa);
    taken += isTaken ? 1 : 0;
    if (!isTaken && live > 0) {
      problems.push(`The free page ${hex(pa)} has ${live} entries that are not zero.`);
    }
    if (arena.counts[page] !== (isTaken ? live : 0)) {
      problems.push(`The page ${hex(pa)} has ${live} entries that are not zero, its count is ${arena.counts[page]}.`);
    }
  }
  if (taken !== arena.taken) {
    problems.push(`${taken} pages are taken, the arena says ${arena.taken}.`);
  }
  return problems;
}

/** Entries that are not zero among the `count / 2` entries from this word. */
export function countEntries(words: Uint32Array, word: number, count: number): number {
  let live = 0;
  for (let i = word; i < word + count; i += 2) {
    live += (words[i] | words[i + 1]) === 0 ? 0 : 1;
  }
  return live;
}
