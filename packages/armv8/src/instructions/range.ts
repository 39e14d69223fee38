import { GRANULES, type Granule } from '@granule/geometry';

/** One operation that invalidates part of a range: a single page where `scale` is absent. Addresses and sizes in bytes. */
export interface RangePart {
  readonly start: number;
  readonly bytes: number;
  readonly scale?: number;
  readonly num?: number;
  /** BaseADDR of the operand. */
  readonly base?: number;
}

/**
 * How a range is invalidated by range operations (Linux: __flush_tlb_range_op). An operation covers (num + 1) * 2^(5*scale + 1) pages, from
 * scale 3 down; a last odd page goes alone, and with LPA2, where BaseADDR counts 64 KiB, so do pages up to the first boundary of 64 KiB
 * whenever the start is off one.
 *
 * @param start byte address, page-aligned
 * @param bytes a multiple of the page size, at most 2^21 pages: callers chunk there
 * @throws RangeError for any other start or size
 */
export function rangeParts(granule: Granule, lpa2: boolean, start: number, bytes: number): readonly RangePart[] {
  const { pageBytes } = GRANULES[granule];
  const baseUnit = lpa2 ? 65536 : pageBytes;
  let pages = bytes / pageBytes;
  if (!Number.isInteger(start / pageBytes) || !Number.isInteger(pages) || pages < 0 || pages > 2 ** 21) {
    throw new RangeError(`A range is whole pages, at most 2^21 of them: 0x${start.toString(16)} + 0x${bytes.toString(16)}.`);
  }
  const parts: RangePart[] = [];
  let address = start;
  let scale = 3;
  while (pages > 0) {
    if (pages === 1 || address % baseUnit !== 0) {
      parts.push({ start: address, bytes: pageBytes });
      address += pageBytes;
      pages -= 1;
      continue;
    }
    const unit = 2 ** (5 * scale + 1);
    const num = Math.min(32, Math.floor(pages / unit)) - 1;
    if (num >= 0) {
      const covered = (num + 1) * unit;
      parts.push({ start: address, bytes: covered * pageBytes, scale, num, base: address / baseUnit });
      address += covered * pageBytes;
      pages -= covered;
    }
    scale -= 1;
  }
  return parts;
}
