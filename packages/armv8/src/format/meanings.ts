import { flag, mairByte, STAGE2_MEMORY, type FieldContext, type FieldMeaning } from '@granule/contract/codec';
import { mairMemory, STAGE2_MEMORY_FWB } from './memory-type.js';
import type { LevelShape } from './shape.js';

type Context = FieldContext<LevelShape>;

const S2AP = ['no data access', 'read-only', 'write-only', 'read/write'];
const XN_XNX = ['executable at EL1 and EL0', 'executable at EL0, not at EL1', 'not executable', 'executable at EL1, not at EL0'];
const AP_TABLE = [
  'no effect on the tables below',
  'no EL0 access below',
  'no write access below',
  'no EL0 access and no write access below',
];

function memAttr(value: number, { shape }: Context): string {
  return (shape.fwb ? STAGE2_MEMORY_FWB : STAGE2_MEMORY)[value];
}

function attrIndx(value: number, { shape }: Context): string {
  if (shape.mair === undefined) return `Attr${value} of the MAIR`;
  const byte = mairByte(shape.mair, value);
  return `Attr${value} of the MAIR, 0x${byte.toString(16).padStart(2, '0')}: ${mairMemory(byte)}`;
}

function executeNever(value: number, { field }: Context): string {
  if (field.msb !== field.lsb) return XN_XNX[value];
  return value === 0 ? 'executable' : 'not executable';
}

/** What AP[2:1] together permit, told at AP[2]. */
function writable(value: number, { shape, word }: Context): string {
  const access = value === 0 ? 'read/write' : 'read-only';
  if (shape.regime === 'el2') return access;
  const privileged = shape.regime === 'el10' ? 'EL1' : 'EL2';
  return (word & 0x40n) === 0n ? `${access} at ${privileged}, no access at EL0` : `${access} at ${privileged} and EL0`;
}

function hpd(meaning: string, { shape }: Context): string {
  return shape.hpd ? 'ignored (HPD = 1)' : meaning;
}

/** Meaning by field name, for every descriptor kind; what the fields of every long-descriptor format mean is not repeated. */
export const MEANINGS: Readonly<Record<string, FieldMeaning<LevelShape>>> = {
  PBHA: (value) => `page-based hardware attributes ${value}`,
  DBM: flag('hardware does not manage dirty state', 'hardware may make it writable (dirty bit modifier)'),
  GP: flag('not guarded', 'guarded page (BTI)'),
  nT: flag('may be cached', 'no translation: not to be cached in a TLB that conflicts (FEAT_BBM)'),
  FnXS: flag('XS attribute of stage 1', 'XS attribute is 0'),
  AF: flag('not accessed: the first access faults or sets the flag', 'accessed'),
  UXN: flag('executable at EL0', 'not executable at EL0'),
  PXN: (value, { shape }) => `${value === 0 ? '' : 'not '}executable at ${shape.regime === 'el20' ? 'EL2' : 'EL1'}`,
  'AP[2]': writable,
  'AP[1]': flag('no EL0 access', 'EL0 access'),
  AttrIndx: attrIndx,
  S2AP: (value) => S2AP[value],
  XN: executeNever,
  MemAttr: memAttr,
  APTable: (value, context) => hpd(AP_TABLE[value], context),
  'APTable[1]': (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'no write access below', context),
  UXNTable: (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'not executable at EL0 below', context),
  PXNTable: (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'not executable at EL1 or EL2 below', context),
  XNTable: (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'not executable below', context),
};
