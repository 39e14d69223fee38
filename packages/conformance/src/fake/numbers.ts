import type { Field, FormatNumbers } from '@granule/contract';
import { levelShift, type Level, type TableGeometry } from '@granule/geometry';
import { bigintHigh, bigintLow } from '@granule/geometry/bits';
import { LEAF_FIELDS, leafType, OA_PLAIN_BITS, OA_TOP_BITS, OA_TOP_LSB, TABLE_TYPE, TYPE_MASK } from './layout.js';

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];

const span = (msb: number, lsb: number): bigint => (1n << BigInt(msb + 1)) - (1n << BigInt(lsb));
const mask = (...fields: readonly Field[]): bigint => fields.reduce((bits, each) => bits | span(each.msb, each.lsb), 0n);

/** The numbers of the fake format, computed from its fields. */
export function numbersOf(geometry: TableGeometry): FormatNumbers {
  const { granule, pageShift, stage } = geometry;
  const oa = (shift: number): bigint => (shift < OA_PLAIN_BITS ? span(OA_PLAIN_BITS - 1, shift) : 0n);
  const leafOa = LEVELS.map((level) => (leafType(granule, level) === -1 ? 0n : oa(levelShift(granule, level))));
  const f = LEAF_FIELDS;
  const permission = mask(f.readOnly, f.privilegedExecute, f.userExecute, stage === 1 ? f.user : f.notReadable);
  const readOnly = bigintLow(mask(f.readOnly));
  return {
    typeMask: LEVELS.map(() => TYPE_MASK),
    leafType: LEVELS.map((level) => leafType(granule, level)),
    tableType: LEVELS.map((level) => (level === 3 ? -1 : TABLE_TYPE)),
    leafOaLo: leafOa.map(bigintLow),
    leafOaHi: leafOa.map(bigintHigh),
    tableOaLo: bigintLow(oa(pageShift)),
    tableOaHi: bigintHigh(oa(pageShift)),
    oaPlainBits: OA_PLAIN_BITS,
    oaTopLsb: OA_TOP_LSB,
    oaTopBits: OA_TOP_BITS,
    afLo: 0,
    afHi: bigintHigh(mask(f.af)),
    writeProtect: { loClear: 0, loSet: readOnly, hiClear: 0, hiSet: 0 },
    writableLoMask: readOnly,
    writableLo: 0,
    writableHiMask: 0,
    writableHi: 0,
    softwareLo: 0,
    softwareHi: bigintHigh(mask(f.software)),
    permissionLo: bigintLow(permission),
    permissionHi: bigintHigh(permission),
    contiguousLo: bigintLow(mask(f.contiguous)),
    contiguousHi: 0,
  };
}
