import { fromHalves, hex, high32, low32, type OutputAddress } from '@granule/geometry/bits';
import type { FormatNumbers } from '../format.js';
import { done, refused, type Outcome } from '../outcome.js';
import type { Words } from '../words.js';

/** Output addresses in descriptors, as a format's numbers say: bits below `oaPlainBits` at their own place, those above in the low half. */
export class OutputCodec {
  private readonly topLsb: number;
  private readonly topMask: number;
  /** 2^oaPlainBits. */
  private readonly topScale: number;
  private readonly oaBits: number;
  private readonly source: string;

  constructor({ oaPlainBits, oaTopLsb, oaTopBits }: FormatNumbers, oaBits: number, source: string) {
    this.topLsb = oaTopLsb;
    this.topMask = 2 ** oaTopBits - 1;
    this.topScale = 2 ** oaPlainBits;
    this.oaBits = oaBits;
    this.source = source;
  }

  /** The address in a descriptor; `maskLo` and `maskHi` are its plain bits. */
  decode(lo: number, hi: number, maskLo: number, maskHi: number): OutputAddress {
    return fromHalves(lo & maskLo, hi & maskHi) + ((lo >>> this.topLsb) & this.topMask) * this.topScale;
  }

  /** Refused: `oa.not-integer`, `oa.too-large`, `oa.not-aligned`. */
  encode(oa: OutputAddress, alignShift: number): Outcome<Words> {
    const address = oa as number;
    if (!Number.isSafeInteger(address) || address < 0) {
      return refused('oa.not-integer', `Output address ${address} is not an integer from 0.`, this.source);
    }
    if (address >= 2 ** this.oaBits) {
      const sentence = `Output address ${hex(address, 0)} does not fit the ${this.oaBits}-bit output size of this table.`;
      return refused('oa.too-large', sentence, this.source);
    }
    if (address % 2 ** alignShift !== 0) {
      const sentence = `Output address ${hex(address, 0)} is not a multiple of ${hex(2 ** alignShift, 0)}.`;
      return refused('oa.not-aligned', sentence, this.source);
    }
    const top = Math.floor(address / this.topScale);
    const plain = address - top * this.topScale;
    return done({ lo: (low32(plain) | (top << this.topLsb)) >>> 0, hi: high32(plain) });
  }
}
