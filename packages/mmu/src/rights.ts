import type { Slot } from './slots.js';

/** Fields that decide about rights lie close together in every Arm format; where they do not, rights are decided each time. */
const MAX_BITS = 12;

/**
 * Rights of leaves by the bits that decide about them: a rule is asked once for each combination, and its answer kept. The combination is a window of each
 * half that holds every field named, and a few bits from elsewhere (what tables limit).
 */
export interface Rights {
  readonly loShift: number;
  readonly loMask: number;
  readonly hiShift: number;
  readonly hiMask: number;
  /** Where the window of the high half and the other bits are in the combination. */
  readonly hiAt: number;
  readonly otherAt: number;
  /** By combination one more than the rights; 0: not asked yet. Empty: nothing is kept. */
  readonly known: Uint8Array;
}

/** Lowest bit and mask of the smallest window that holds the fields of one half. */
function windowOf(slots: readonly Slot[], half: 0 | 1): { readonly shift: number; readonly bits: number } {
  const own = slots.filter((slot) => slot.half === half && slot.mask !== 0);
  if (own.length === 0) return { shift: 0, bits: 0 };
  const shift = Math.min(...own.map((slot) => slot.shift));
  const end = Math.max(...own.map((slot) => slot.shift + 32 - Math.clz32(slot.mask)));
  return { shift, bits: end - shift };
}

/** @param otherBits how many bits from elsewhere there are */
export function rightsBy(slots: readonly Slot[], otherBits: number): Rights {
  const lo = windowOf(slots, 0);
  const hi = windowOf(slots, 1);
  const bits = lo.bits + hi.bits + otherBits;
  return {
    loShift: lo.shift | 0,
    loMask: (2 ** Math.min(lo.bits, MAX_BITS) - 1) | 0,
    hiShift: hi.shift | 0,
    hiMask: (2 ** Math.min(hi.bits, MAX_BITS) - 1) | 0,
    hiAt: lo.bits | 0,
    otherAt: (lo.bits + hi.bits) | 0,
    known: new Uint8Array(bits > MAX_BITS ? 0 : 2 ** bits),
  };
}

/** The combination that a leaf is. */
export function combinationOf({ loShift, loMask, hiShift, hiMask, hiAt, otherAt }: Rights, lo: number, hi: number, other: number): number {
  return ((lo >>> loShift) & loMask) | (((hi >>> hiShift) & hiMask) << hiAt) | (other << otherAt);
}

/** Keeps the rights of a combination. */
export function learn({ known }: Rights, combination: number, rights: number): number {
  if (combination < known.length) known[combination] = rights + 1;
  return rights;
}
