import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CacheConfig } from '../../src/cache/hierarchy.js';
import { maintainData, zero } from '../../src/cache/maintenance.js';
import { cacheChoices, takeCacheChoice, type Reachable } from '../../src/cache/speculation.js';
import { DEVICE, flatMemory, machine, NC, WB, WB_NSH, WT } from './support.js';

const TINY = { sets: 1, ways: 2, replacement: { random: { seed: 5 } } } as const;
const SYSTEM = { sets: 4, ways: 4, replacement: 'lru' } as const;

/** With shareable Write-Back or Write-Through accesses alone, caches are not to be seen, whatever they do by themselves. */
describe('coherent accesses', () => {
  const configs: readonly [string, Partial<CacheConfig>][] = [
    ['with a shared level', {}],
    ['without one', { outer: undefined }],
    ['with a system cache', { system: SYSTEM }],
    ['with tiny caches', { data: { sets: 1, ways: 1, replacement: 'lru' }, outer: TINY, system: SYSTEM }],
  ];
  const steps = fc.array(
    fc.record({
      do: fc.constantFrom('load', 'store', 'store', 'fetch', 'speculate', 'speculate', 'CVAC', 'CIVAC', 'CVAU', 'zero'),
      pe: fc.nat({ max: 1 }),
      pa: fc.nat({ max: 0x3ff }),
      length: fc.integer({ min: 1, max: 100 }),
      by: fc.constantFrom(WB, WB, WT),
      type: fc.constantFrom('fill', 'prefetch', 'migrate', 'migrate', 'evict', 'evict', 'forget'),
      pick: fc.nat(),
    }),
    { maxLength: 80 },
  );

  it.each(configs)('%s read what was written last', (_, config) => {
    fc.assert(
      fc.property(steps, (script) => {
        const { caches, ram } = machine({ ...config, idc: true, dic: true });
        const twin = new Uint8Array(ram.length);
        const reachable: readonly Reachable[] = [0, 1].flatMap((pe) => [
          { pe, pa: 0, bytes: 0x400, policy: WB },
          { pe, pa: 0, bytes: 0x400, policy: WB, va: 0x1_0000 },
        ]);
        for (const [n, { do: what, pe, pa, length, by, type, pick }] of script.entries()) {
          const into = new Uint8Array(length);
          if (what === 'load' || what === 'fetch') {
            expect(what === 'load' ? caches.read(pe, pa, into, by) : caches.fetch(pe, 0x1_0000 + pa, pa, into, by)).toBe(true);
            expect([...into]).toEqual([...twin.subarray(pa, pa + length)]);
          } else if (what === 'store') {
            into.fill(n + 1);
            twin.set(into, pa);
            caches.write(pe, pa, into, by);
          } else if (what === 'zero') {
            twin.fill(0, pa - (pa % 64), pa - (pa % 64) + 64);
            zero(caches, pe, pa, by);
          } else if (what === 'speculate') {
            const choices = cacheChoices(caches, reachable).filter((each) => each.type === type);
            if (choices.length > 0) takeCacheChoice(caches, choices[pick % choices.length]);
          } else {
            maintainData(caches, pe, what, pa, by);
            const line = pa - (pa % 64);
            if (what !== 'CVAU') expect([...ram.subarray(line, line + 64)]).toEqual([...twin.subarray(line, line + 64)]);
          }
        }
        for (let pa = 0; pa < 0x480; pa += 64) maintainData(caches, 0, 'CIVAC', pa, WB);
        expect([...ram]).toEqual([...twin]);
        expect(caches.data.flatMap((each) => each.held())).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});

describe('memory types', () => {
  it('a Write-Back store stays in the cache, a Write-Through one is in memory at once', () => {
    const { store, ram } = machine();
    store(0, 0x100, 1);
    store(0, 0x200, 2, WT);
    expect([ram[0x100], ram[0x200]]).toEqual([0, 2]);
  });

  it('Non-cacheable and Device accesses allocate nothing', () => {
    const { caches, load, store, ram } = machine();
    for (const by of [NC, DEVICE]) {
      store(0, 0x100, 7, by);
      expect(ram[0x100]).toBe(7);
      expect(load(1, 0x100, by)).toBe(7);
    }
    expect([...caches.data, ...caches.shared].flatMap((each) => each.held())).toEqual([]);
  });

  it('an uncached alias of a dirty line reads old bytes, and writes under the cached alias', () => {
    const { caches, load, store } = machine();
    store(0, 0x100, 1);
    expect(load(0, 0x100, NC)).toBe(0);
    store(0, 0x101, 9, NC);
    expect(load(0, 0x101)).toBe(0);
    maintainData(caches, 0, 'CIVAC', 0x100, WB);
    expect([load(0, 0x100, NC), load(0, 0x101, NC)]).toEqual([1, 0]);
  });

  it('a Non-shareable line of one PE is not seen by another', () => {
    const { caches, load, store } = machine();
    expect(load(1, 0x100, WB_NSH)).toBe(0);
    store(0, 0x100, 1, WB_NSH);
    expect(load(1, 0x100, WB_NSH)).toBe(0);
    maintainData(caches, 0, 'CVAC', 0x100, WB_NSH);
    expect(load(1, 0x100, WB_NSH)).toBe(0);
    maintainData(caches, 1, 'IVAC', 0x100, WB_NSH);
    expect(load(1, 0x100, WB_NSH)).toBe(1);
  });

  it('PEs of different inner domains are coherent for Outer Shareable memory alone', () => {
    const OUTER = { ...WB, share: 'outer' } as const;
    const { load, store } = machine({ pes: [{ inner: 0 }, { inner: 1 }] });
    expect(load(1, 0x100)).toBe(0);
    store(0, 0x100, 1);
    expect(load(1, 0x100)).toBe(0);
    expect(load(1, 0x200, OUTER)).toBe(0);
    store(0, 0x200, 2, OUTER);
    expect(load(1, 0x200, OUTER)).toBe(2);
  });

  it('without the allocation hints a miss leaves no line', () => {
    const hintless = { ...WB, inner: { ...WB.inner, allocatesOnRead: false, allocatesOnWrite: false } };
    const { caches, load, store } = machine();
    store(0, 0x100, 1, hintless);
    expect(load(0, 0x100, hintless)).toBe(1);
    expect(caches.data[0].held()).toEqual([]);
    expect(caches.outer!.held().length).toBe(1);
  });

  it('inner Write-Back with outer Non-cacheable evicts straight to memory', () => {
    const { caches, store, ram } = machine();
    store(0, 0x100, 1, { ...WB, outer: NC.outer });
    expect(ram[0x100]).toBe(0);
    takeCacheChoice(caches, { type: 'evict', from: 0, line: 0x100 });
    expect(ram[0x100]).toBe(1);
    expect(caches.outer!.held()).toEqual([]);
  });
});

describe('external aborts', () => {
  it('read, write and fetch say no where there is no memory', () => {
    const { caches } = machine({ memory: flatMemory(new Uint8Array(0x40)) });
    const byte = new Uint8Array(1);
    for (const by of [WB, NC]) {
      expect(caches.read(0, 0x40, byte, by)).toBe(false);
      expect(caches.write(0, 0x40, byte, by)).toBe(false);
      expect(caches.fetch(0, 0x40, 0x40, byte, by)).toBe(false);
      expect(caches.read(0, 0x3f, byte, by)).toBe(true);
    }
  });
});

describe('data invalidation', () => {
  it('loses a dirty line, or cleans it first: the architecture allows both', () => {
    for (const [invalidateDirty, left] of [
      ['lose', 0],
      ['clean', 1],
    ] as const) {
      const { caches, load, store } = machine({ invalidateDirty });
      store(0, 0x100, 1);
      maintainData(caches, 0, 'IVAC', 0x100, WB);
      expect(load(0, 0x100)).toBe(left);
    }
  });
});

describe('what caches may do by themselves', () => {
  it('is listed: a read ahead of each line out of reach of nobody, the moves and the evictions of what is held', () => {
    const { caches, store } = machine({ system: SYSTEM });
    const reachable: Reachable = { pe: 1, pa: 0x100, bytes: 0x80, policy: WB };
    expect(cacheChoices(caches, [reachable])).toEqual([
      { type: 'fill', pe: 1, line: 0x100, policy: WB },
      { type: 'fill', pe: 1, line: 0x140, policy: WB },
    ]);
    expect(cacheChoices(caches, [{ ...reachable, policy: NC }])).toEqual([]);
    store(0, 0x100, 1);
    const types = cacheChoices(caches, [reachable]).map(({ type }) => type);
    expect(types).toEqual(['fill', 'fill', 'migrate', 'evict', 'evict', 'evict']);
    expect(cacheChoices(caches, [{ ...reachable, policy: WB_NSH }]).map(({ type }) => type)).not.toContain('migrate');
  });

  it('never moves a line onto a newer copy of it', () => {
    const { caches, load, store } = machine();
    const reachable = [0, 1].map((pe) => ({ pe, pa: 0x100, bytes: 64, policy: WB }));
    store(0, 0x100, 1);
    expect(load(1, 0x100)).toBe(1);
    const only = { type: 'migrate', from: 0, to: 1, line: 0x100 } as const;
    expect(cacheChoices(caches, reachable).filter(({ type }) => type === 'migrate')).toEqual([only]);
    takeCacheChoice(caches, only);
    takeCacheChoice(caches, { type: 'evict', from: 1, line: 0x100 });
    takeCacheChoice(caches, { type: 'evict', from: 'outer', line: 0x100 });
    expect(load(0, 0x100, NC)).toBe(1);
  });

  it('refuses what is not there', () => {
    const { caches } = machine();
    expect(() => takeCacheChoice(caches, { type: 'migrate', from: 0, to: 1, line: 0x100 })).toThrow(RangeError);
    expect(() => takeCacheChoice(caches, { type: 'evict', from: 'system', line: 0x100 })).toThrow(RangeError);
  });
});
