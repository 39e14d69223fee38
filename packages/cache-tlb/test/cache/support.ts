import { DONE, refused } from '@granule/contract';
import { CacheHierarchy, type CacheConfig, type MainMemory } from '../../src/cache/hierarchy.js';
import { cachePolicy, type CacheControls, type CachePolicy } from '../../src/cache/policy.js';

export const ON: CacheControls = { dataCache: true, instructionCache: true };
const policy = (attributes: number, shareability: number): CachePolicy => cachePolicy(attributes, shareability, false, ON);

/** Normal Write-Back, read and write allocate: Inner Shareable, Non-shareable; Write-Through; Non-cacheable; Device. */
export const WB = policy(0xff, 3);
export const WB_NSH = policy(0xff, 0);
export const WT = policy(0xbb, 3);
export const NC = policy(0x44, 3);
export const DEVICE = policy(0x00, 0);

/** Bytes from 0 on; nothing else is memory. */
export function flatMemory(bytes: Uint8Array): MainMemory {
  const has = (pa: number, count: number) => pa + count <= bytes.length;
  return {
    read(pa, into) {
      if (!has(pa, into.length)) return false;
      into.set(bytes.subarray(pa, pa + into.length));
      return true;
    },
    write(pa, from) {
      if (!has(pa, from.length)) return refused('memory.not-memory', 'No memory.', 'flatMemory');
      bytes.set(from, pa);
      return DONE;
    },
  };
}

/** Two PEs with L1 caches of 4 sets of 2 lines of 64 bytes, a shared level of 8 sets of 4; 16 KiB of memory, given too. */
export function machine(changes: Partial<CacheConfig> = {}) {
  const ram = new Uint8Array(0x4000);
  const caches = new CacheHierarchy({
    memory: flatMemory(ram),
    pes: [{}, {}],
    data: { sets: 4, ways: 2, replacement: 'lru' },
    instruction: { sets: 4, ways: 2, replacement: 'lru', index: 'physical' },
    outer: { sets: 8, ways: 4, replacement: 'lru' },
    ...changes,
  });
  const one = new Uint8Array(1);
  return {
    caches,
    ram,
    /** One byte. */
    load(pe: number, pa: number, by: CachePolicy = WB): number {
      if (!caches.read(pe, pa, one, by)) throw new Error('external abort');
      return one[0];
    },
    store(pe: number, pa: number, value: number, by: CachePolicy = WB): void {
      if (!caches.write(pe, pa, Uint8Array.of(value), by)) throw new Error('external abort');
    },
    fetch(pe: number, va: number, pa: number, by: CachePolicy = WB): number {
      if (!caches.fetch(pe, va, pa, one, by)) throw new Error('external abort');
      return one[0];
    },
  };
}
