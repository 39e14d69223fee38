import { flag, mairByte, plainMairMemory, STAGE2_MEMORY, type FieldContext, type FieldMeaning } from '@granule/contract/codec';
import type { LevelShape } from './shape.js';

type Context = FieldContext<LevelShape>;

const HAP = ['no data access', 'read-only', 'write-only', 'read/write'];
const AP_TABLE = [
  'no effect on the tables below',
  'no PL0 access below',
  'no write access below',
  'no PL0 access and no write access below',
];

function attrIndx(value: number, { shape }: Context): string {
  const register = `${shape.regime === 'pl2' ? 'H' : ''}MAIR${value >> 2}`;
  if (shape.mair === undefined) return `Attr${value}, of ${register}`;
  const byte = mairByte(shape.mair, value);
  return `Attr${value}, of ${register}, 0x${byte.toString(16).padStart(2, '0')}: ${plainMairMemory(byte)}`;
}

/** What AP[2:1] together permit, told at AP[2]. */
function writable(value: number, { shape, word }: Context): string {
  const access = value === 0 ? 'read/write' : 'read-only';
  if (shape.regime === 'pl2') return access;
  return (word & 0x40n) === 0n ? `${access} at PL1, no access at PL0` : `${access} at PL1 and PL0`;
}

/** Meaning by field name, for every descriptor kind; what the fields of every long-descriptor format mean is not repeated. */
export const MEANINGS: Readonly<Record<string, FieldMeaning<LevelShape>>> = {
  AF: flag('not accessed: the first access faults', 'accessed'),
  XN: (value, { shape }) => `${value === 0 ? '' : 'not '}executable${shape.regime === 'pl10' && value === 1 ? ' at PL1 and PL0' : ''}`,
  PXN: flag('executable at PL1 unless XN', 'not executable at PL1'),
  'AP[2]': writable,
  'AP[1]': flag('no PL0 access', 'PL0 access'),
  AttrIndx: attrIndx,
  HAP: (value) => HAP[value],
  MemAttr: (value) => STAGE2_MEMORY[value],
  APTable: (value) => AP_TABLE[value],
  'APTable[1]': flag('no effect on the tables below', 'no write access below'),
  XNTable: flag('no effect on the tables below', 'not executable below'),
  PXNTable: flag('no effect on the tables below', 'not executable at PL1 below'),
};
