import type { Format, RangeControl } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { pow2, type OutputAddress } from '@granule/geometry/bits';
import { FastTables } from './fast.js';
import { slotsOf, type LeafSlots } from './slots.js';

/** What a descriptor is to a walk. */
export const KIND = { invalid: 0, table: 1, leaf: 2 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];
const TWO_32 = 4294967296;

/**
 * The tables of one base register, as the numbers that a walk needs: a flat copy of what the format says, so that walks of all formats see one shape.
 * Per-level arrays are indexed by level + 1.
 */
export class Tables {
  readonly format: Format;
  readonly slots: LeafSlots;
  readonly fast: FastTables;
  readonly base: OutputAddress;
  readonly startLevel: Level;
  readonly iaBits: number;
  /** 2^iaBits; addresses from here on are out of range. */
  readonly iaEnd: number;
  /** 2^oaBits; addresses from here on are of the wrong size. */
  readonly oaEnd: number;
  readonly shifts: Int32Array;
  /** Masks of a table index: of the start level, and of every other. */
  readonly rootMask: number;
  readonly indexMask: number;
  /** SH of every leaf where descriptors have none; −1 where they have. */
  readonly commonSh: number;
  readonly hierarchical: boolean;
  /** Access flag, in the low half. */
  readonly af: number;
  /** What a leaf gains or loses in its low half when it becomes writable. */
  readonly writeSet: number;
  readonly writeClear: number;
  private readonly typeMask: Int32Array;
  private readonly leafType: Int32Array;
  private readonly tableType: Int32Array;
  private readonly leafOaLo: Int32Array;
  private readonly leafOaHi: Int32Array;
  private readonly tableOaLo: number;
  private readonly tableOaHi: number;
  private readonly topLsb: number;
  private readonly topMask: number;
  private readonly topUnit: number;

  constructor(format: Format, range: RangeControl) {
    const { granule, startLevel, iaBits, oaBits, stride, ds } = format.geometry;
    const { numbers } = format;
    this.format = format;
    this.slots = slotsOf(format);
    this.fast = new FastTables(format, range, this.slots);
    this.base = range.base;
    this.startLevel = startLevel;
    this.iaBits = iaBits;
    this.iaEnd = pow2(iaBits);
    this.oaEnd = pow2(oaBits);
    this.shifts = Int32Array.from(LEVELS, (level) => levelShift(granule, level));
    this.rootMask = 2 ** (iaBits - levelShift(granule, startLevel)) - 1;
    this.indexMask = 2 ** stride - 1;
    this.commonSh = ds ? range.shareability : -1;
    this.hierarchical = range.hierarchical;
    this.af = numbers.afLo;
    this.writeSet = numbers.writeProtect.loClear;
    this.writeClear = numbers.writeProtect.loSet;
    this.typeMask = Int32Array.from(numbers.typeMask);
    this.leafType = Int32Array.from(numbers.leafType);
    this.tableType = Int32Array.from(numbers.tableType);
    this.leafOaLo = Int32Array.from(numbers.leafOaLo);
    this.leafOaHi = Int32Array.from(numbers.leafOaHi);
    this.tableOaLo = numbers.tableOaLo;
    this.tableOaHi = numbers.tableOaHi;
    this.topLsb = numbers.oaTopLsb;
    this.topMask = 2 ** numbers.oaTopBits - 1;
    this.topUnit = pow2(numbers.oaPlainBits);
  }

  kind(lo: number, level: Level): Kind {
    const type = lo & this.typeMask[level + 1];
    if (type === this.tableType[level + 1]) return KIND.table;
    return type === this.leafType[level + 1] ? KIND.leaf : KIND.invalid;
  }

  /** Bytes from the start of a table to its entry for the input address of these halves. */
  entryOffset(lo: number, hi: number, level: Level): number {
    const shift = this.shifts[level + 1];
    const index = shift >= 32 ? hi >>> (shift - 32) : (lo >>> shift) | (hi << (32 - shift));
    return (index & (level === this.startLevel ? this.rootMask : this.indexMask)) * 8;
  }

  tableOutput(lo: number, hi: number): OutputAddress {
    return (hi & this.tableOaHi) * TWO_32 + ((lo & this.tableOaLo) >>> 0) + this.top(lo);
  }

  leafOutput(lo: number, hi: number, level: Level): OutputAddress {
    return (hi & this.leafOaHi[level + 1]) * TWO_32 + ((lo & this.leafOaLo[level + 1]) >>> 0) + this.top(lo);
  }

  private top(lo: number): number {
    return this.topMask === 0 ? 0 : ((lo >>> this.topLsb) & this.topMask) * this.topUnit;
  }
}
