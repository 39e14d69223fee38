import type { Format } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';

/** Bits of the high half of a word from bit `bits` on. Domain: 0 … 63. */
export function highFrom(bits: number): number {
  return bits < 32 ? ~0 : ~0 << (bits - 32);
}

/** Bits of the low half of a word from bit `bits` on. Domain: 0 … 63. */
export function lowFrom(bits: number): number {
  return bits < 32 ? ~0 << bits : 0;
}

/** Stage and level in one number, and out of it. */
export function tagOf(stage: 1 | 2, level: Level): number {
  return (stage << 3) | (level + 1);
}

export function stageOfTag(tag: number): 1 | 2 {
  return (tag >> 3) as 1 | 2;
}

export function levelOfTag(tag: number): Level {
  return ((tag & 7) - 1) as Level;
}

/**
 * One level of a set of tables, as the numbers that a walk needs there; a chain from the start level down. Halves are signed 32-bit integers here and
 * wherever a walk is under way: engines keep those in registers, and in the fields of objects without a box.
 *
 * The fields of a walk's objects are only declared, and its functions are methods: a field that is defined first holds undefined and is never taken for an
 * integer again, and a function of a bundled module is loaded and checked at each call.
 */
export class LevelNumbers {
  declare readonly level: Level;
  /** Stage and level, for the log of fetches. */
  declare readonly tag: number;
  /** log2 of the bytes that an entry spans. */
  declare readonly shift: number;
  /** Mask of a table index. */
  declare readonly indexMask: number;
  /** Kind of an entry: table or leaf where (lo & typeMask) is that type, else invalid. −1: there is none of its kind. */
  declare readonly typeMask: number;
  declare readonly tableType: number;
  declare readonly leafType: number;
  /** Bits of a leaf that hold its output address at their own place, and those of an input address below it. */
  declare readonly oaLo: number;
  declare readonly oaHi: number;
  declare readonly offsetLo: number;
  declare readonly offsetHi: number;
  /** The level below; absent at level 3, which has no tables. */
  declare readonly next: LevelNumbers | undefined;

  constructor({ geometry, numbers, stage }: Format, level: Level, indexBits: number, next: LevelNumbers | undefined) {
    const shift = levelShift(geometry.granule, level) | 0;
    const at = level + 1;
    this.level = level;
    this.tag = tagOf(stage, level);
    this.shift = shift;
    this.indexMask = (2 ** indexBits - 1) | 0;
    this.typeMask = numbers.typeMask[at] | 0;
    this.tableType = next === undefined ? -1 : numbers.tableType[at] | 0;
    this.leafType = numbers.leafType[at] | 0;
    this.oaLo = numbers.leafOaLo[at] | 0;
    this.oaHi = numbers.leafOaHi[at] | 0;
    this.offsetLo = ~lowFrom(shift);
    this.offsetHi = ~highFrom(shift);
    this.next = next;
  }

  /** Bytes from the start of a table to its entry for the input address of these halves. Shifts count modulo 32, and no level's is 0. */
  entryOffset(lo: number, hi: number): number {
    const { shift, indexMask } = this;
    return ((shift < 32 ? (lo >>> shift) | (hi << (32 - shift)) : hi >> shift) & indexMask) << 3;
  }
}

/** The start level of a format, with the levels below it. */
export function levelsOf(format: Format): LevelNumbers {
  const { granule, startLevel, iaBits, stride } = format.geometry;
  let below: LevelNumbers | undefined;
  for (let level: number = 3; level > startLevel; level -= 1) below = new LevelNumbers(format, level as Level, stride, below);
  return new LevelNumbers(format, startLevel, iaBits - levelShift(granule, startLevel), below);
}
