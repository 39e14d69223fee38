import type { CacheHierarchy } from '../cache/hierarchy.js';

/** What accesses cost, in operations counted. */
export interface Counts {
  /** Translations that began with a leaf from the TLB, and those that did not. */
  tlbHits: number;
  tlbMisses: number;
  /** Misses that began with a table from the TLB. */
  walkCacheHits: number;
  /** Translations of stage 2 inside a walk, by a leaf from the TLB and otherwise. */
  stage2Hits: number;
  stage2Misses: number;
  /** Descriptors read. */
  fetches: number;
  /** Descriptors that hardware wrote, and translations begun again because one had changed. */
  updates: number;
  restarts: number;
  /** Of the caches: this PE's L1, the shared level, the system cache. 0 without caches. */
  dataHits: number;
  dataMisses: number;
  instructionHits: number;
  instructionMisses: number;
  outerHits: number;
  outerMisses: number;
  systemHits: number;
  systemMisses: number;
}

export function createCounts(): Counts {
  return {
    tlbHits: 0,
    tlbMisses: 0,
    walkCacheHits: 0,
    stage2Hits: 0,
    stage2Misses: 0,
    fetches: 0,
    updates: 0,
    restarts: 0,
    dataHits: 0,
    dataMisses: 0,
    instructionHits: 0,
    instructionMisses: 0,
    outerHits: 0,
    outerMisses: 0,
    systemHits: 0,
    systemMisses: 0,
  };
}

/** Takes over what the caches have counted. */
export function readCaches(counts: Counts, caches: CacheHierarchy, pe: number): void {
  counts.dataHits = caches.data[pe].hits;
  counts.dataMisses = caches.data[pe].misses;
  counts.instructionHits = caches.instruction[pe].hits;
  counts.instructionMisses = caches.instruction[pe].misses;
  counts.outerHits = caches.outer?.hits ?? 0;
  counts.outerMisses = caches.outer?.misses ?? 0;
  counts.systemHits = caches.system?.hits ?? 0;
  counts.systemMisses = caches.system?.misses ?? 0;
}

/** What happened between two readings. */
export function difference(after: Readonly<Counts>, before: Readonly<Counts>): Counts {
  const counts = createCounts();
  for (const name of Object.keys(counts) as (keyof Counts)[]) counts[name] = after[name] - before[name];
  return counts;
}
