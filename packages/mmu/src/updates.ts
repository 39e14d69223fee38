import type { Words } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import { MAX_UPDATES, type UpdateLog } from './result.js';

/** The bytes of a 32-bit half the other way round, as a signed half. */
export function swapBytes(half: number): number {
  return (half >>> 24) | ((half >>> 8) & 0xff00) | ((half << 8) & 0xff0000) | (half << 24);
}

function find(log: UpdateLog, address: OutputAddress): number {
  for (let i = 0; i < log.count; i += 1) if (log.address[i] === address) return i;
  return -1;
}

/** Lays over a word just read what this translation has already written there. */
export function overlay(log: UpdateLog, address: OutputAddress, word: Words): void {
  const at = find(log, address);
  if (at < 0) return;
  word.lo = log.newLo[at];
  word.hi = log.newHi[at];
}

/** Notes that the word at `address` becomes another; words as they stand in memory. A word changed twice is one change. */
export function note(log: UpdateLog, stage: 1 | 2, level: number, address: OutputAddress, old: Readonly<Words>, lo: number, hi: number): void {
  let at = find(log, address);
  if (at < 0) {
    if (log.count === MAX_UPDATES) return;
    at = log.count;
    log.count += 1;
    log.stage[at] = stage;
    log.level[at] = level;
    log.address[at] = address;
    log.oldLo[at] = old.lo;
    log.oldHi[at] = old.hi;
  }
  log.newLo[at] = lo;
  log.newHi[at] = hi;
}
