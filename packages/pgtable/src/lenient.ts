import type { Format } from '@granule/contract';
import { type InputAddress, alignDown, alignUp } from '@granule/geometry/bits';
import { planOf } from './plan.js';

/**
 * Two addresses as the range that a table can serve: `begin` rounds down to a page and `end` up, and what lies beyond the input size is cut
 * off. Undefined where nothing is left, a reversed range included (but one within a page is that page, since it rounds outwards). For
 * callers that want the operation done as far as there is a table to do it in, where the operations themselves refuse (`range.beyond-ia`).
 */
export function lenientRange(format: Format, begin: number, end: number): { readonly ia: InputAddress; readonly size: number } | undefined {
  const { pageShift, limit } = planOf(format);
  const ia = alignDown(begin, pageShift);
  const stop = Math.min(alignUp(end, pageShift), limit);
  return ia < stop ? { ia, size: stop - ia } : undefined;
}
