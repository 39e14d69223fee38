import type { Format, RangeControl } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { fromHalves, pow2, type OutputAddress } from '@granule/geometry/bits';
import { slotsOf, type LeafSlots } from './slots.js';

/** What a descriptor is to a walk. */
export const KIND = { invalid: 0, table: 1, leaf: 2 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];

/** The tables of one base register, as the numbers that a walk needs. Per-level arrays are indexed by level + 1. */
export class Tables {
  readonly format: Format;
  readonly slots: LeafSlots;
  readonly base: OutputAddress;
  readonly startLevel: Level;
  readonly iaBits: number;
  /** 2^iaBits; addresses from here on are out of range. */
  readonly iaEnd: number;
  /** 2^oaBits; addresses from here on are of the wrong size. */
  readonly oaEnd: number;
  readonly shifts: readonly number[];
  /** Index bits: those of the start level, and of every other. */
  readonly rootBits: number;
  readonly stride: number;
  /** SH of every leaf where descriptors have none; −1 where they have. */
  readonly commonSh: number;
  readonly hierarchical: boolean;

  constructor(format: Format, range: RangeControl) {
    const { granule, startLevel, iaBits, oaBits, stride, ds } = format.geometry;
    this.format = format;
    this.slots = slotsOf(format);
    this.base = range.base;
    this.startLevel = startLevel;
    this.iaBits = iaBits;
    this.iaEnd = pow2(iaBits);
    this.oaEnd = pow2(oaBits);
    this.shifts = LEVELS.map((level) => levelShift(granule, level));
    this.rootBits = iaBits - levelShift(granule, startLevel);
    this.stride = stride;
    this.commonSh = ds ? range.shareability : -1;
    this.hierarchical = range.hierarchical;
  }

  kind(lo: number, level: Level): Kind {
    const { typeMask, leafType, tableType } = this.format.numbers;
    const type = lo & typeMask[level + 1];
    if (type === leafType[level + 1]) return KIND.leaf;
    return type === tableType[level + 1] ? KIND.table : KIND.invalid;
  }

  tableOutput(lo: number, hi: number): OutputAddress {
    const { tableOaLo, tableOaHi } = this.format.numbers;
    return fromHalves(lo & tableOaLo, (hi & tableOaHi) >>> 0) + this.top(lo);
  }

  leafOutput(lo: number, hi: number, level: Level): OutputAddress {
    const { leafOaLo, leafOaHi } = this.format.numbers;
    return fromHalves(lo & leafOaLo[level + 1], (hi & leafOaHi[level + 1]) >>> 0) + this.top(lo);
  }

  private top(lo: number): number {
    const { oaPlainBits, oaTopLsb, oaTopBits } = this.format.numbers;
    return oaTopBits === 0 ? 0 : ((lo >>> oaTopLsb) & ((1 << oaTopBits) - 1)) * pow2(oaPlainBits);
  }
}
