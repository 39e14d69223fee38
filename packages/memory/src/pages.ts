import { done, refused, type Outcome } from '@granule/contract';
import { formatSize, hex, isAligned, pow2, type OutputAddress } from '@granule/geometry/bits';
import { TableArena } from './arena.js';
import { bytesOfWords, wordsFromBytes } from './bytes.js';
import { countEntries } from './check.js';

/** Neighbouring table pages as little-endian bytes. */
export interface PageRun {
  readonly pa: OutputAddress;
  readonly bytes: Uint8Array;
}

/** The pages taken, in ascending order, adjoining ones as one run: what an image of the tables holds. Copies. */
export function savePages(arena: TableArena): readonly PageRun[] {
  const pageBytes = pow2(arena.pageShift);
  const runs: PageRun[] = [];
  let start = 0;
  for (let page = 0; page <= arena.contiguousPages; page += 1) {
    const pa = (arena.firstPage + page) * pageBytes;
    if (page === arena.contiguousPages || !arena.isTaken(pa)) {
      if (page > start) {
        const words = arena.words.subarray((start * pageBytes) / 4, (page * pageBytes) / 4);
        runs.push({ pa: (arena.firstPage + start) * pageBytes, bytes: bytesOfWords(words) });
      }
      start = page + 1;
    }
  }
  return runs;
}

export interface LoadPagesOptions {
  readonly pageShift: number;
  /** Address of the arena's first page; default the lowest page. */
  readonly base?: OutputAddress;
  /** Pages from the base to the highest, those that are taken later included; default as many as 1 GiB holds. */
  readonly maxPages?: number;
}

const SOURCE = 'loadPages';
const DEFAULT_BYTES = 2 ** 30;

/**
 * A fresh arena that holds these pages at their addresses, each taken, with its entries counted; holes between them are free pages. The arena spans from the
 * lowest page to the highest; tables far apart belong in {@link createImageTables}. Refused: `pages.none`, `pages.not-whole` (a run that is not whole
 * pages), `pages.outside` (below the base or beyond `maxPages`), `pages.overlap`.
 */
export function loadPages(runs: readonly PageRun[], options: LoadPagesOptions): Outcome<TableArena> {
  const { pageShift } = options;
  const pageBytes = pow2(pageShift);
  if (runs.length === 0) {
    return refused('pages.none', 'There is no page to load.', SOURCE);
  }
  const ragged = runs.find(({ pa, bytes }) => !isAligned(pa, pageShift) || bytes.length % pageBytes !== 0);
  if (ragged !== undefined) {
    const what = `The ${ragged.bytes.length} bytes at ${hex(ragged.pa)}`;
    return refused('pages.not-whole', `${what} are not whole pages of ${formatSize(pageBytes)}.`, SOURCE);
  }
  const base = options.base ?? runs.reduce((lowest, { pa }) => Math.min(lowest, pa), Infinity);
  const arena = new TableArena({ pageShift, base, initialPages: 1, maxPages: options.maxPages ?? DEFAULT_BYTES / pageBytes });
  for (const { pa, bytes } of [...runs].sort((a, b) => a.pa - b.pa)) {
    for (let at = 0; at < bytes.length; at += pageBytes) {
      if (!arena.claim(pa + at)) {
        return arena.isTaken(pa + at)
          ? refused('pages.overlap', `The page at ${hex(pa + at)} is in two runs.`, SOURCE)
          : refused('pages.outside', `The page at ${hex(pa + at)} is not among the ${arena.maxPages} pages from ${hex(base)} on.`, SOURCE);
      }
    }
    const word = arena.wordOf(pa, bytes.length);
    wordsFromBytes(bytes, arena.words, word);
    for (let at = 0; at < bytes.length; at += pageBytes) {
      arena.counts[(pa + at) / pageBytes - arena.firstPage] = countEntries(arena.words, word + at / 4, pageBytes / 4);
    }
  }
  return done(arena);
}
