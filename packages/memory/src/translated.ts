import type { PhysicalReader } from '@granule/contract';
import { alignDown, pow2, type InputAddress, type OutputAddress } from '@granule/geometry/bits';

/**
 * Memory seen through a translation: reads at input addresses (the IPAs of a guest, say) come from where `translate` says, page by page.
 *
 * @param translate PA of an input address, or −1 where it does not translate; asked once for each page of 2^pageShift bytes that a read touches, with the
 * first address read there
 */
export function translatedReader(
  reader: PhysicalReader,
  translate: (ia: InputAddress) => OutputAddress,
  pageShift: number,
): PhysicalReader {
  const pageBytes = pow2(pageShift);
  return {
    read(pa, into) {
      // What the reader calls a physical address goes into this translation.
      let ia: InputAddress = Number(pa);
      let at = 0;
      while (at < into.length) {
        const bytes = Math.min(alignDown(ia, pageShift) + pageBytes - ia, into.length - at);
        const output = translate(ia);
        if (output < 0 || !reader.read(output, into.subarray(at, at + bytes))) {
          return false;
        }
        ia += bytes;
        at += bytes;
      }
      return true;
    },
  };
}
