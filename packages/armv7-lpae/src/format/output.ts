import { done, refused, type Outcome, type Words } from '@granule/contract';
import { high32, low32, type OutputAddress } from '@granule/geometry/bits';
import { OA_BITS } from './shape.js';

/**
 * An output address as the bits of a descriptor: all of its 40 bits stand at their own place. Refused: `oa.not-integer`, `oa.too-large`,
 * `oa.not-aligned`.
 */
export function encodeOutput(oa: OutputAddress, alignShift: number): Outcome<Words> {
  const source = 'DDI 0406C B3.6.1';
  if (!Number.isSafeInteger(oa) || oa < 0) return refused('oa.not-integer', `Output address ${oa} is not an integer from 0.`, source);
  const shown = `0x${oa.toString(16)}`;
  if (oa >= 2 ** OA_BITS) return refused('oa.too-large', `Output address ${shown} does not fit the ${OA_BITS} bits of ARMv7.`, source);
  if (oa % 2 ** alignShift !== 0) {
    return refused('oa.not-aligned', `Output address ${shown} is not a multiple of 0x${(2 ** alignShift).toString(16)}.`, source);
  }
  return done({ lo: low32(oa), hi: high32(oa) });
}
