import type { Change, Field, FormatNumbers } from '@granule/contract';
import { hasField, noChange, slotOf } from '@granule/contract/codec';
import { levelShift } from '@granule/geometry';
import { slotMask } from '@granule/geometry/bits';
import { leafLegal, plainBits, topField, type Shape } from './shape.js';

const LEVELS = [-1, 0, 1, 2, 3] as const;

/** Bits [plain − 1 : lsb] of a descriptor as halves; none where lsb is not below plain. */
function addressMask(plain: number, lsb: number): { lo: number; hi: number } {
  if (lsb >= plain) return { lo: 0, hi: 0 };
  const below = (bits: number): number => 2 ** Math.max(0, Math.min(32, bits)) - 1;
  return { lo: below(32) - below(lsb), hi: below(plain - 32) - below(lsb - 32) };
}

/**
 * With hardware dirty state the DBM bit goes too, or hardware would make the leaf writable again; without it the bit has no effect and is
 * left alone.
 */
function writeProtectChange(stage: 1 | 2, dirtyState: boolean, leaf: readonly Field[]): Change {
  const hiClear = dirtyState ? slotMask(slotOf(leaf, 'DBM')).hi : 0;
  if (stage === 2) return { ...noChange(), loClear: WRITE, hiClear };
  return { ...noChange(), loSet: WRITE, hiClear };
}

/** Bit 7 of a leaf: S2AP[1], writable when set (stage 2), or AP[2], writable when clear (stage 1). */
const WRITE = 0x80;

/**
 * The numbers that hot loops read, from the leaf layout (that of a page) and the geometry. Properties stand in the contract's order: one
 * object shape.
 */
export function formatNumbers(shape: Shape, leaf: readonly Field[]): FormatNumbers {
  const { stage, pageShift } = shape.geometry;
  const masks = LEVELS.map((level) => addressMask(plainBits(shape), levelShift(shape.geometry.granule, level)));
  const tableMask = addressMask(plainBits(shape), pageShift);
  const top = topField(shape);
  const maskOf = (name: string): { lo: number; hi: number } => slotMask(slotOf(leaf, name));
  const executeNever = hasField(leaf, 'UXN') ? maskOf('UXN').hi + maskOf('PXN').hi : maskOf('XN').hi;
  const access = hasField(leaf, 'S2AP') ? maskOf('S2AP').lo : maskOf('AP[2]').lo + (hasField(leaf, 'AP[1]') ? maskOf('AP[1]').lo : 0);
  return {
    typeMask: LEVELS.map(() => 0b11),
    leafType: LEVELS.map((level) => (leafLegal(shape, level) ? (level === 3 ? 0b11 : 0b01) : -1)),
    tableType: LEVELS.map((level) => (level === 3 ? -1 : 0b11)),
    leafOaLo: masks.map((mask) => mask.lo),
    leafOaHi: masks.map((mask) => mask.hi),
    tableOaLo: tableMask.lo,
    tableOaHi: tableMask.hi,
    oaPlainBits: plainBits(shape),
    oaTopLsb: top.lsb,
    oaTopBits: top.bits,
    afLo: maskOf('AF').lo,
    afHi: 0,
    writeProtect: writeProtectChange(stage, shape.features.hdbs === true, leaf),
    writableLoMask: WRITE,
    writableLo: stage === 2 ? WRITE : 0,
    writableHiMask: 0,
    writableHi: 0,
    softwareLo: 0,
    softwareHi: maskOf('Software').hi,
    permissionLo: access,
    permissionHi: executeNever,
    contiguousLo: 0,
    contiguousHi: maskOf('Contiguous').hi,
  };
}
