import { checkArena, createTableArena, type TableArena } from '@granule/memory';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const PAGE = 4096;
const BASE = 0x4000_0000;

describe('a table arena', () => {
  it('hands out neighbouring pages from its base', () => {
    const arena = createTableArena({ pageShift: 12 });
    expect([arena.take(1), arena.take(1), arena.take(1)]).toEqual([BASE, BASE + PAGE, BASE + 2 * PAGE]);
    expect(arena.taken).toBe(3);
  });

  it.each([12, 14, 16])('with pages of 2^%i bytes places a page of its contiguous part at (p - firstPage) pages', (pageShift) => {
    const arena = createTableArena({ pageShift, base: 2 ** 40 });
    const pa = Array.from({ length: 20 }, () => arena.take(1)).at(-1)!;
    const word = arena.wordOf(pa, 8);
    expect(word).toBe((pa / 2 ** pageShift - arena.firstPage) * 2 ** (pageShift - 2));
    expect(arena.addressOf(word)).toBe(pa);
    expect(arena.addressOf(word + 2 ** (pageShift - 2) - 1)).toBe(pa);
    expect(pa / 2 ** pageShift - arena.firstPage).toBeLessThan(arena.contiguousPages);
  });

  it('keeps addresses and content when it grows', () => {
    const arena = createTableArena({ pageShift: 12, initialPages: 1 });
    const pages = Array.from({ length: 100 }, (_, i) => {
      const pa = arena.take(1);
      arena.words[arena.wordOf(pa, 8)] = i + 1;
      arena.counts[pa / PAGE - arena.firstPage] = 1;
      return pa;
    });
    expect(pages.map((pa) => arena.words[arena.wordOf(pa, 8)])).toEqual(pages.map((_, i) => i + 1));
    expect(checkArena(arena)).toEqual([]);
  });

  it('reuses the page that was given back last', () => {
    const arena = createTableArena({ pageShift: 12 });
    const [a, b] = [arena.take(1), arena.take(1)];
    arena.give(a, 1);
    arena.give(b, 1);
    expect([arena.take(1), arena.take(1)]).toEqual([b, a]);
  });

  it('knows nothing outside its range', () => {
    const arena = createTableArena({ pageShift: 12, maxPages: 4 });
    expect(arena.wordOf(BASE - 8, 8)).toBe(-1);
    expect(arena.wordOf(BASE + 4 * PAGE, 8)).toBe(-1);
    expect(arena.wordOf(BASE + 4 * PAGE - 8, 16)).toBe(-1);
  });

  it('answers -1 and changes nothing when the pool is exhausted', () => {
    const arena = createTableArena({ pageShift: 12, maxPages: 5 });
    const first = arena.take(1);
    expect(arena.take(8)).toBe(-1);
    expect(arena.take(4)).toBe(-1);
    expect([arena.taken, arena.free]).toEqual([1, 4]);
    expect(Array.from({ length: 4 }, () => arena.take(1)).every((pa) => pa > 0)).toBe(true);
    expect(arena.take(1)).toBe(-1);
    expect([arena.taken, arena.free]).toEqual([5, 0]);
    arena.give(first, 1);
    expect(arena.take(1)).toBe(first);
  });

  it('breaks a free run into single pages rather than refuse a page', () => {
    const arena = createTableArena({ pageShift: 12, maxPages: 16 });
    const run = arena.take(16);
    arena.give(run, 16);
    expect(new Set(Array.from({ length: 16 }, () => arena.take(1))).size).toBe(16);
    expect(arena.take(1)).toBe(-1);
  });

  it('finds an aligned run among single free pages before it refuses one', () => {
    const arena = createTableArena({ pageShift: 12, maxPages: 16 });
    const pages = Array.from({ length: 16 }, () => arena.take(1));
    pages.slice(5, 13).forEach((pa) => {
      arena.give(pa, 1);
    });
    expect(arena.take(4)).toBe(BASE + 8 * PAGE);
    expect(Array.from({ length: 4 }, () => arena.take(1)).sort()).toEqual([5, 6, 7, 12].map((i) => BASE + i * PAGE));
    expect(arena.take(1)).toBe(-1);
  });

  it('throws at a page given back twice, and at one that is not its own', () => {
    const arena = createTableArena({ pageShift: 12 });
    const pa = arena.take(1);
    arena.give(pa, 1);
    expect(() => arena.give(pa, 1)).toThrow('0x0000000040000000 is given back but was not taken');
    expect(() => arena.give(0x1000, 1)).toThrow(RangeError);
    expect(() => arena.take(17)).toThrow('pages is 17');
    expect(() => createTableArena({ pageShift: 12, base: 0x4000_0800 })).toThrow('not a multiple');
  });

  it('is found out by its check when a page comes back dirty or a count is wrong', () => {
    const arena = createTableArena({ pageShift: 12 });
    const pa = arena.take(1);
    arena.words[arena.wordOf(pa, 8) + 3] = 7;
    expect(checkArena(arena)).toEqual(['The page 0x0000000040000000 has 1 entries that are not zero, its count is 0.']);
    arena.give(pa, 1);
    expect(checkArena(arena)).toContain('The free page 0x0000000040000000 has 1 entries that are not zero.');
  });

  it('holds the 128 MiB of tables that 64 GiB of 4K pages need', () => {
    const arena = createTableArena({ pageShift: 12 });
    const tables = 2 ** 24 / 512;
    for (let i = 0; i < tables; i += 1) {
      arena.take(1);
    }
    expect(arena.taken).toBe(tables);
    expect(arena.words.byteLength).toBeLessThanOrEqual(2 * tables * PAGE);
  });
});

/** The law: whatever is taken is disjoint, aligned, inside the limit and zero; `free` single pages can always be taken. */
describe('any sequence of take and give', () => {
  interface Held {
    readonly pa: number;
    readonly pages: number;
  }

  const check = (arena: TableArena, held: readonly Held[]): void => {
    const pages = held.flatMap(({ pa, pages: count }) => Array.from({ length: count }, (_, i) => pa / PAGE + i));
    expect(new Set(pages).size).toBe(pages.length);
    expect(arena.taken).toBe(pages.length);
    held.forEach(({ pa, pages: count }) => expect(pa % (count * PAGE)).toBe(0));
    expect(pages.every((page) => page >= BASE / PAGE && page < BASE / PAGE + arena.maxPages)).toBe(true);
    expect(checkArena(arena)).toEqual([]);
  };

  it('keeps the pages disjoint and the free count exact', () => {
    const step = fc.oneof(
      fc.record({ take: fc.constantFrom(1, 1, 1, 2, 3, 4, 8, 16) }),
      fc.record({ give: fc.nat(1000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (steps, maxPages) => {
        const arena = createTableArena({ pageShift: 12, maxPages, initialPages: 1 });
        const held: Held[] = [];
        for (const each of steps) {
          if ('take' in each) {
            const before = arena.taken;
            const pa = arena.take(each.take);
            if (pa >= 0) held.push({ pa, pages: each.take });
            else expect(arena.taken).toBe(before);
          } else if (held.length > 0) {
            const [{ pa, pages }] = held.splice(each.give % held.length, 1);
            arena.give(pa, pages);
          }
        }
        check(arena, held);
        for (let left = arena.free; left > 0; left -= 1) {
          held.push({ pa: arena.take(1), pages: 1 });
        }
        expect(arena.take(1)).toBe(-1);
        check(arena, held);
      }),
    );
  });
});
