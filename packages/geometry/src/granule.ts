/** The translation granule: the size of a page and of a translation table. */
export type Granule = '4K' | '16K' | '64K';

/** A level of lookup, as Arm numbers them: 3 holds pages; −1 exists with 4K pages and FEAT_LPA2 alone. */
export type Level = -1 | 0 | 1 | 2 | 3;

export interface GranuleShape {
  readonly granule: Granule;
  /** log2 of the page size. */
  readonly pageShift: 12 | 14 | 16;
  /** Address bits that one whole table resolves: pageShift − 3. */
  readonly stride: 9 | 11 | 13;
  readonly pageBytes: number;
}

/** The three granules (DDI 0487 D8.1.1, Translation granules). */
export const GRANULES: Readonly<Record<Granule, GranuleShape>> = {
  '4K': { granule: '4K', pageShift: 12, stride: 9, pageBytes: 4096 },
  '16K': { granule: '16K', pageShift: 14, stride: 11, pageBytes: 16384 },
  '64K': { granule: '64K', pageShift: 16, stride: 13, pageBytes: 65536 },
};

/** The level that holds pages. */
export const FINAL_LEVEL = 3;

/** The most tables that stage 2 may concatenate at its start level (DDI 0487 D8.2, Concatenated translation tables). */
export const MAX_CONCATENATED = 16;

/** Address bits below an entry of a level: with 4K pages 12, 21, 30, 39, 48 for levels 3 … −1. */
export function levelShift(granule: Granule, level: Level): number {
  const { pageShift, stride } = GRANULES[granule];
  return pageShift + stride * (FINAL_LEVEL - level);
}

/** Bytes that an entry of a level covers. */
export function entrySpan(granule: Granule, level: Level): number {
  return 2 ** levelShift(granule, level);
}
