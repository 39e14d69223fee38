import { ENTRY, type Format, type TableMemory } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';

/** A leaf or annotation as it stands in memory. */
export interface FoundEntry {
  /** Input address of its first byte. */
  readonly start: number;
  readonly level: Level;
  readonly lo: number;
  readonly hi: number;
}

/** A page that holds a table, or a part of concatenated entry tables. */
export interface FoundPage {
  readonly pa: number;
  readonly level: Level;
  /** Input address of its first entry. */
  readonly start: number;
  readonly entries: number;
  readonly nonZero: number;
}

export interface Found {
  readonly entries: readonly FoundEntry[];
  readonly pages: readonly FoundPage[];
}

/** Every non-zero entry that a walk from `root` reaches, in order, and every page on the way: the naive walker, one entry at a time. */
export function findAll(format: Format, memory: TableMemory, root: number): Found {
  const { granule, pageShift, startLevel, rootEntries } = format.geometry;
  const entries: FoundEntry[] = [];
  const pages: FoundPage[] = [];
  const visit = (pa: number, count: number, level: Level, start: number): void => {
    const span = 2 ** levelShift(granule, level);
    const word = memory.wordOf(pa, 8 * count);
    const found = { pa, level, start, entries: count, nonZero: 0 };
    pages.push(found);
    for (let i = 0; i < count; i++) {
      const lo = memory.words[word + 2 * i];
      const hi = memory.words[word + 2 * i + 1];
      if (lo === 0 && hi === 0) {
        continue;
      }
      found.nonZero++;
      if (format.kind(lo, hi, level) === ENTRY.table) {
        visit(format.tableOutput(lo, hi), 2 ** (pageShift - 3), (level + 1) as Level, start + i * span);
      } else {
        entries.push({ start: start + i * span, level, lo, hi });
      }
    }
  };
  const perPage = Math.min(rootEntries, 2 ** (pageShift - 3));
  for (let i = 0; i < rootEntries; i += perPage) {
    visit(root + 8 * i, perPage, startLevel, i * 2 ** levelShift(granule, startLevel));
  }
  return { entries, pages };
}
