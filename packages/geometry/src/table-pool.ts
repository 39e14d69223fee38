import { alignDown, alignUp, checkAddress, hex, isAligned, pow2, shiftDown, type InputAddress, type OutputAddress } from './bits/index.js';
import { entrySpan, FINAL_LEVEL, levelShift, type Level } from './granule.js';
import { done, refuse, type Refused, type Result } from './refusal.js';
import type { TableGeometry } from './table-geometry.js';

/** A range to be mapped. */
export interface PoolRegion {
  /** Bytes, a multiple of the page size. */
  readonly start: InputAddress;
  /** Bytes, a multiple of the page size, above zero. */
  readonly size: number;
  /** `blocks` (the default) maps each aligned part by the largest block, `pages` maps page by page. */
  readonly pages?: 'pages' | 'blocks';
  /** The most bytes that one entry may map (a THP or hugetlb size): 2 MiB, 1 GiB … Default: the largest block of the format. */
  readonly largestBlock?: number;
  /** Where the range is mapped to: a block needs both addresses aligned. Default: aligned as `start` is. */
  readonly oa?: OutputAddress;
}

/** Table pages by level, the start level first. */
export interface PoolCount {
  readonly byLevel: readonly { readonly level: Level; readonly tables: number }[];
  /** Pages of all tables, the entry tables included: one too small for a page takes a page, as in Linux. */
  readonly pages: number;
  readonly bytes: number;
}

export interface TablePool {
  /** For the regions as given. */
  readonly exact: PoolCount;
  /** With every page mapped by a page: all that splitting (dirty logging, permission changes) can ever need. */
  readonly worst: PoolCount;
}

/**
 * The largest block of a format: level 1 with 4K (0 with DS), 2 with 16K (1 with DS) and 64K (1 with 52-bit PA)
 * (AArch64.BlockDescSupported).
 */
export function largestBlockLevel({ granule, ds, oaBits, startLevel }: TableGeometry): Level {
  const wide = granule === '64K' ? oaBits === 52 : ds;
  const least = (granule === '4K' ? 1 : 2) - (wide ? 1 : 0);
  return Math.max(least, startLevel) as Level;
}

/** Slots [first, last] of one level. */
type Slots = readonly [first: number, last: number];

/** The level of the largest entry that may map a part of a region, if all of the part is aligned. */
function topLeafLevel(geometry: TableGeometry, region: PoolRegion): Level {
  if (region.pages === 'pages') return FINAL_LEVEL;
  const { granule } = geometry;
  const { start, largestBlock = Infinity, oa = start } = region;
  const fits = (level: Level) => entrySpan(granule, level) <= largestBlock && isAligned(Math.abs(start - oa), levelShift(granule, level));
  let level: Level = FINAL_LEVEL;
  while (level > largestBlockLevel(geometry) && fits((level - 1) as Level)) level = (level - 1) as Level;
  return level;
}

/** The slots of `shift` bits that a region touches and that no block maps: they hold a table each. */
function tableSlots({ start, size }: PoolRegion, shift: number, block: boolean): readonly Slots[] {
  const end = start + size;
  const touched: Slots = [shiftDown(start, shift), shiftDown(end - 1, shift)];
  if (!block) return [touched];
  const from = alignUp(start, shift);
  const to = alignDown(end, shift);
  if (from > to) return [touched];
  const edges: Slots[] = [];
  if (start < from) edges.push([touched[0], touched[0]]);
  if (to < end) edges.push([touched[1], touched[1]]);
  return edges;
}

/** How many slots there are in all, each counted once. */
function countSlots(slots: readonly Slots[]): number {
  let count = 0;
  let next = 0;
  for (const [first, last] of [...slots].sort((a, b) => a[0] - b[0])) {
    if (last < next) continue;
    count += last - Math.max(first, next) + 1;
    next = last + 1;
  }
  return count;
}

function countTables(geometry: TableGeometry, regions: readonly PoolRegion[]): PoolCount {
  const { granule, startLevel, entryTables, pageShift } = geometry;
  const byLevel: { level: Level; tables: number }[] = [{ level: startLevel, tables: entryTables }];
  for (let parent = startLevel; parent < FINAL_LEVEL; parent = (parent + 1) as Level) {
    const shift = levelShift(granule, parent);
    const slots = regions.flatMap((region) => tableSlots(region, shift, topLeafLevel(geometry, region) <= parent));
    byLevel.push({ level: (parent + 1) as Level, tables: countSlots(slots) });
  }
  const pages = byLevel.reduce((sum, { tables }) => sum + tables, 0);
  return { byLevel, pages, bytes: pages * pow2(pageShift) };
}

function regionProblem({ iaBits, pageShift }: TableGeometry, { start, size, oa }: PoolRegion): Refused | undefined {
  const output: number = oa ?? start;
  const exact = [start, size, output].every((each) => checkAddress(each) && isAligned(each, pageShift));
  if (!exact || size === 0) {
    const sentence = `region at ${start} of ${size} bytes, mapped to ${output}, is not one or more whole pages of ${pow2(pageShift)} bytes`;
    return refuse('region-not-pages', sentence, 'DDI 0487 D8.1.1, Translation granules');
  }
  if (start + size <= pow2(iaBits)) return undefined;
  const span = `[${hex(start)}, ${hex(start + size)})`;
  return refuse(
    'region-beyond-ia',
    `region ${span} ends beyond the ${iaBits}-bit input address`,
    'DDI 0487, TCR_EL1.T0SZ and VTCR_EL2.T0SZ',
  );
}

function overlapProblem(regions: readonly PoolRegion[]): Refused | undefined {
  const sorted = [...regions].sort((a, b) => a.start - b.start);
  for (let i = 1; i < sorted.length; i += 1) {
    if (sorted[i].start >= sorted[i - 1].start + sorted[i - 1].size) continue;
    const sentence = `region at ${hex(sorted[i].start)} overlaps the region at ${hex(sorted[i - 1].start)}`;
    return refuse('regions-overlap', sentence, 'one entry maps an input address');
  }
  return undefined;
}

/**
 * How many table pages a set of regions takes: exactly, and at worst. Neighbouring regions share tables; a block never spans two regions (a
 * memslot, a line of a region map, is mapped by itself).
 *
 * @param regions byte ranges of the input address space, in any order
 *
 * Refused: `geometry.region-not-pages`, `region-beyond-ia`, `regions-overlap`.
 */
export function tablePool(geometry: TableGeometry, regions: readonly PoolRegion[]): Result<TablePool> {
  for (const region of regions) {
    const problem = regionProblem(geometry, region);
    if (problem !== undefined) return problem;
  }
  const overlap = overlapProblem(regions);
  if (overlap !== undefined) return overlap;
  const pageByPage = regions.map((region) => ({ ...region, pages: 'pages' as const }));
  return done({ exact: countTables(geometry, regions), worst: countTables(geometry, pageByPage) });
}
