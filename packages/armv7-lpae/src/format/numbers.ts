import type { Field, FormatNumbers } from '@granule/contract';
import { hasField, noChange, slotOf } from '@granule/contract/codec';
import { levelShift, type Level } from '@granule/geometry';
import { slotMask } from '@granule/geometry/bits';
import { leafLegal, OA_BITS, tableLegal } from './shape.js';

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];

/** Bits 7:0 of the high half: OA[39:32]. */
const OA_HI = 2 ** (OA_BITS - 32) - 1;
/** Bit 7 of a leaf: HAP[1], writable when set (stage 2), or AP[2], writable when clear (stage 1). */
const WRITE = 0x80;

/** OA[31:lsb]. */
const addressLo = (lsb: number): number => 2 ** 32 - 2 ** lsb;

/**
 * The numbers that hot loops read, from the layout of a page. Properties stand in the contract's order: one object shape with the other
 * backends.
 */
export function formatNumbers(stage: 1 | 2, leaf: readonly Field[]): FormatNumbers {
  const loOf = (name: string): number => (hasField(leaf, name) ? slotMask(slotOf(leaf, name)).lo : 0);
  const hiOf = (name: string): number => (hasField(leaf, name) ? slotMask(slotOf(leaf, name)).hi : 0);
  return {
    typeMask: LEVELS.map(() => 0b11),
    leafType: LEVELS.map((level) => (leafLegal(level) ? (level === 3 ? 0b11 : 0b01) : -1)),
    tableType: LEVELS.map((level) => (tableLegal(level) ? 0b11 : -1)),
    leafOaLo: LEVELS.map((level) => (leafLegal(level) ? addressLo(levelShift('4K', level)) : 0)),
    leafOaHi: LEVELS.map((level) => (leafLegal(level) ? OA_HI : 0)),
    tableOaLo: addressLo(12),
    tableOaHi: OA_HI,
    oaPlainBits: OA_BITS,
    oaTopLsb: 12,
    oaTopBits: 0,
    afLo: loOf('AF'),
    afHi: 0,
    writeProtect: stage === 2 ? { ...noChange(), loClear: WRITE } : { ...noChange(), loSet: WRITE },
    writableLoMask: WRITE,
    writableLo: stage === 2 ? WRITE : 0,
    writableHiMask: 0,
    writableHi: 0,
    softwareLo: 0,
    softwareHi: hiOf('Software'),
    permissionLo: loOf('HAP') + loOf('AP[2]') + loOf('AP[1]'),
    permissionHi: hiOf('XN') + hiOf('PXN'),
    contiguousLo: 0,
    contiguousHi: hiOf('Contiguous'),
  };
}
