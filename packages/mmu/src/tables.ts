import type { Format, RangeControl } from '@granule/contract';
import { high32, low32, pow2, type OutputAddress } from '@granule/geometry/bits';
import { highFrom, levelsOf, lowFrom, type LevelNumbers } from './levels.js';
import { slotsOf, type LeafSlots } from './slots.js';

/** The tables of one base register, as the numbers that a walk needs: a flat copy of what the format says, so that walks of all formats see one shape. */
export interface Tables {
  readonly format: Format;
  readonly slots: LeafSlots;
  readonly base: OutputAddress;
  readonly start: LevelNumbers;
  /** The base as halves; it is a multiple of the entry tables' size ({@link RangeControl.base}), so that offsets in them carry nowhere. */
  readonly baseLo: number;
  readonly baseHi: number;
  /** 1: the base does not fit the output size. */
  readonly baseBeyond: number;
  /** Bits of an input address beyond its size, and of the high half of an output address. */
  readonly beyondIaLo: number;
  readonly beyondIaHi: number;
  readonly beyondOa: number;
  /** 1: descriptors are big-endian. */
  readonly bigEndian: number;
  /** Bits of a table descriptor whose leaves it limits, high half; 0 where none does. */
  readonly limiting: number;
  /** SH of every leaf where descriptors have none; −1 where they have. */
  readonly commonSh: number;
  /** Access flag, in the low half. */
  readonly af: number;
  /** What a leaf gains or loses in its low half when it becomes writable. */
  readonly writeSet: number;
  readonly writeClear: number;
  /** Bits of a table descriptor that hold the next table's address at their own place. */
  readonly tableOaLo: number;
  readonly tableOaHi: number;
  /** The top bits of an output address that do not: where in the low half, and where in the high half of the address. */
  readonly topLsb: number;
  readonly topMask: number;
  readonly topShift: number;
}

/** APTable, UXNTable, PXNTable: all in the high half of a table descriptor. */
function limitingOf({ apTable, uxnTable, pxnTable }: LeafSlots): number {
  return (apTable.mask << apTable.shift) | (uxnTable.mask << uxnTable.shift) | (pxnTable.mask << pxnTable.shift);
}

export function tablesOf(format: Format, range: RangeControl, bigEndian: boolean): Tables {
  const { iaBits, oaBits, ds } = format.geometry;
  const { numbers } = format;
  const slots = slotsOf(format);
  return {
    format,
    slots,
    base: range.base,
    start: levelsOf(format),
    baseLo: low32(range.base) | 0,
    baseHi: high32(range.base) | 0,
    baseBeyond: range.base < pow2(oaBits) ? 0 : 1,
    beyondIaLo: lowFrom(iaBits),
    beyondIaHi: highFrom(iaBits),
    beyondOa: highFrom(oaBits),
    bigEndian: bigEndian ? 1 : 0,
    limiting: range.hierarchical ? limitingOf(slots) : 0,
    commonSh: ds ? range.shareability : -1,
    af: numbers.afLo | 0,
    writeSet: numbers.writeProtect.loClear | 0,
    writeClear: numbers.writeProtect.loSet | 0,
    tableOaLo: numbers.tableOaLo | 0,
    tableOaHi: numbers.tableOaHi | 0,
    topLsb: numbers.oaTopLsb | 0,
    topMask: (2 ** numbers.oaTopBits - 1) | 0,
    topShift: numbers.oaTopBits === 0 ? 0 : (numbers.oaPlainBits - 32) | 0,
  };
}

/** The bits of an output address that do not stand at their own place in a descriptor, as a high half. */
export function topOf({ topLsb, topMask, topShift }: Tables, lo: number): number {
  return ((lo >>> topLsb) & topMask) << topShift;
}
