import { done, refused, type Outcome, type Words } from '@granule/contract';
import { fromHalves, high32, low32, type OutputAddress } from '@granule/geometry/bits';
import { plainBits, topField, type Shape } from './shape.js';

/**
 * Output addresses in descriptors: bits below 2^plain at their own place, those above (64K with FEAT_LPA: OA[51:48] in [15:12]; DS = 1:
 * OA[51:50] in [9:8]) in the low half.
 */
export class OutputCodec {
  private readonly plain: number;
  private readonly topLsb: number;
  private readonly topMask: number;
  private readonly topScale: number;
  private readonly oaBits: number;

  constructor(shape: Shape) {
    const top = topField(shape);
    this.plain = plainBits(shape);
    this.topLsb = top.lsb;
    this.topMask = 2 ** top.bits - 1;
    this.topScale = 2 ** this.plain;
    this.oaBits = shape.geometry.oaBits;
  }

  /** The address in a descriptor; `maskLo` and `maskHi` are its plain bits. */
  decode(lo: number, hi: number, maskLo: number, maskHi: number): OutputAddress {
    const plain = fromHalves((lo & maskLo) >>> 0, (hi & maskHi) >>> 0);
    return plain + ((lo >>> this.topLsb) & this.topMask) * this.topScale;
  }

  /** Refused: `oa.not-integer`, `oa.too-large`, `oa.not-aligned`. */
  encode(oa: OutputAddress, alignShift: number): Outcome<Words> {
    const address = oa as number;
    const source = 'DDI 0487 D8.3.1';
    if (!Number.isSafeInteger(address) || address < 0) {
      return refused('oa.not-integer', `Output address ${address} is not an integer from 0.`, source);
    }
    if (address >= 2 ** this.oaBits) {
      return refused('oa.too-large', `Output address 0x${address.toString(16)} does not fit the ${this.oaBits}-bit output size of this table.`, source);
    }
    if (address % 2 ** alignShift !== 0) {
      return refused('oa.not-aligned', `Output address 0x${address.toString(16)} is not a multiple of 0x${(2 ** alignShift).toString(16)}.`, source);
    }
    const top = Math.floor(address / this.topScale);
    const plain = (address - top * this.topScale) as OutputAddress;
    return done({ lo: (low32(plain) | (top << this.topLsb)) >>> 0, hi: high32(plain) });
  }
}
