import { pow2 } from '@granule/geometry/bits';

/** Where the upper VA range begins among TLB addresses: VA[55] = 1. */
export const UPPER_HALF = 2 ** 52;
/** One past the last TLB address. */
export const ADDRESS_END = 2 ** 53;

/**
 * The TLB address of an offset into a VA range, or of an IPA. Upper: the range is the last 2^`iaBits` bytes of VA space.
 *
 * @param offset 0 … 2^iaBits − 1
 */
export function tlbAddress(offset: number, upper = false, iaBits = 52): number {
  return upper ? ADDRESS_END - pow2(iaBits) + offset : offset;
}

/** The TLB address of a 64-bit VA: VA[51:0], and VA[55] as bit 52. VA[63:56] (a tag or sign) and VA[54:52] do not take part. */
export function tlbAddressOf(va: bigint): number {
  return Number(va & 0xf_ffff_ffff_ffffn) + (((va >> 55n) & 1n) === 1n ? UPPER_HALF : 0);
}
