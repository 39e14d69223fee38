import { checkArena, createTableArena, loadPages, savePages } from '@granule/memory';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const PAGE = 4096;
const BASE = 0x4000_0000;

describe('saved table pages', () => {
  it('are little-endian bytes, adjoining pages in one run', () => {
    const arena = createTableArena({ pageShift: 12 });
    const [first, gap, second] = [arena.take(1), arena.take(1), arena.take(2)];
    arena.words[arena.wordOf(first, 8)] = 0x0403_0201;
    arena.words[arena.wordOf(first, 8) + 1] = 0x0807_0605;
    arena.give(gap, 1);
    const runs = savePages(arena);
    expect(runs.map(({ pa, bytes }) => [pa, bytes.length])).toEqual([
      [first, PAGE],
      [second, 2 * PAGE],
    ]);
    expect([...runs[0].bytes.subarray(0, 9)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 0]);
  });

  it('come back the same: words, counts, addresses, and a sound arena', () => {
    const pages = fc.array(fc.record({ keep: fc.boolean(), entries: fc.array(fc.nat(511), { maxLength: 8 }) }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(pages, (plan) => {
        const arena = createTableArena({ pageShift: 12, base: BASE });
        const taken = plan.map(({ keep, entries }) => ({ keep, entries, pa: arena.take(1) }));
        for (const { pa, keep, entries } of taken) {
          if (!keep) arena.give(pa, 1);
          for (const index of keep ? entries : []) arena.words[arena.wordOf(pa, 8) + 2 * index + 1] = index + 1;
          if (keep) arena.counts[pa / PAGE - arena.firstPage] = new Set(entries).size;
        }
        const saved = savePages(arena);
        const loaded = loadPages(saved, { pageShift: 12, base: BASE });
        if (saved.length === 0) {
          expect(loaded).toMatchObject({ id: 'pages.none' });
          return;
        }
        if (loaded.kind !== 'done') throw new Error(loaded.sentence);
        const again = savePages(loaded.value);
        expect(again.map(({ pa }) => pa)).toEqual(saved.map(({ pa }) => pa));
        expect(again.every(({ bytes }, i) => Buffer.compare(bytes, saved[i].bytes) === 0)).toBe(true);
        expect(checkArena(loaded.value)).toEqual([]);
        expect(loaded.value.taken).toBe(arena.taken);
        const fresh = Array.from({ length: 40 }, () => loaded.value.take(1));
        expect(fresh.every((pa) => !taken.some((page) => page.keep && page.pa === pa))).toBe(true);
      }),
    );
  });

  it.each([
    ['pages.none', []],
    ['pages.not-whole', [{ pa: BASE, bytes: new Uint8Array(100) }]],
    ['pages.not-whole', [{ pa: BASE + 8, bytes: new Uint8Array(PAGE) }]],
    ['pages.overlap', [{ pa: BASE, bytes: new Uint8Array(2 * PAGE) }, { pa: BASE + PAGE, bytes: new Uint8Array(PAGE) }]],
    ['pages.outside', [{ pa: BASE, bytes: new Uint8Array(PAGE) }, { pa: 2 ** 51, bytes: new Uint8Array(PAGE) }]],
  ])('are refused with %s (%#)', (id, runs) => {
    expect(loadPages(runs, { pageShift: 12 })).toMatchObject({ kind: 'refused', id });
  });
});
