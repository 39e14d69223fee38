import { ENTRY, type EntryKind, type Field } from '@granule/contract';
import { IGNORED, RES0, RES1 } from '../fields.js';
import { mairByte, mairMemory, SHAREABILITY, STAGE2_MEMORY, STAGE2_MEMORY_FWB } from './memory-type.js';
import type { LevelShape } from './shape.js';

interface Context {
  readonly shape: LevelShape;
  readonly kind: EntryKind;
  readonly field: Field;
  /** The whole descriptor. */
  readonly word: bigint;
}

type Meaning = (value: number, context: Context) => string;

const flag =
  (clear: string, set: string): Meaning =>
  (value) =>
    value === 0 ? clear : set;

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

function typeBit(_: number, { kind, shape }: Context): string {
  if (kind === ENTRY.table) return 'table';
  return shape.level === 3 ? 'page' : 'block';
}

function hpd(meaning: string, { shape }: Context): string {
  return shape.hpd ? 'ignored (HPD = 1)' : meaning;
}

/** Meaning by field name, for every descriptor kind. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  [RES0]: (value) => (value === 0 ? 'reserved' : 'reserved, should be zero'),
  [RES1]: (value) => (value === 0 ? 'reserved, should be one' : 'reserved'),
  [IGNORED]: () => 'ignored by hardware',
  PBHA: (value) => `page-based hardware attributes ${value}`,
  Software: (value) => (value === 0 ? 'for software' : `for software: ${value}`),
  Contiguous: flag('not part of a contiguous set', 'one of a set of contiguous entries'),
  DBM: flag('hardware does not manage dirty state', 'hardware may make it writable (dirty bit modifier)'),
  GP: flag('not guarded', 'guarded page (BTI)'),
  nT: flag('may be cached', 'no translation: not to be cached in a TLB that conflicts (FEAT_BBM)'),
  FnXS: flag('XS attribute of stage 1', 'XS attribute is 0'),
  AF: flag('not accessed: the first access faults or sets the flag', 'accessed'),
  SH: (value) => (SHAREABILITY[value] === 'reserved' ? 'reserved' : `${SHAREABILITY[value]} shareable`),
  Type: typeBit,
  Valid: flag('invalid', 'valid'),
  UXN: flag('executable at EL0', 'not executable at EL0'),
  PXN: (value, { shape }) => `${value === 0 ? '' : 'not '}executable at ${shape.regime === 'el20' ? 'EL2' : 'EL1'}`,
  nG: flag('global', 'not global: of one ASID'),
  'AP[2]': writable,
  'AP[1]': flag('no EL0 access', 'EL0 access'),
  NS: flag('Secure output address space', 'Non-secure output address space'),
  AttrIndx: attrIndx,
  S2AP: (value) => S2AP[value],
  XN: executeNever,
  MemAttr: memAttr,
  NSTable: flag('tables below in the Secure address space', 'tables below in the Non-secure address space'),
  APTable: (value, context) => hpd(AP_TABLE[value], context),
  'APTable[1]': (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'no write access below', context),
  UXNTable: (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'not executable at EL0 below', context),
  PXNTable: (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'not executable at EL1 or EL2 below', context),
  XNTable: (value, context) => hpd(value === 0 ? 'no effect on the tables below' : 'not executable below', context),
};

/** Linux: enum kvm_invalid_pte_type. */
const ANNOTATION_TYPES = ['none', 'LOCKED: break-before-make in progress', 'HOST_DONATION', 'GUEST_POISONED'];

const hex = (value: bigint): string => `0x${value.toString(16)}`;

function invalidMeaning(field: Field, value: bigint, word: bigint): string {
  if (field.name === 'Valid') return value === 0n ? 'invalid' : 'reserved: this level has no descriptor with this type, the walk faults';
  if ((word & 1n) !== 0n) return 'part of a reserved encoding';
  if (field.name === 'Annotation') return value === 0n ? 'no value' : hex(value);
  return ANNOTATION_TYPES[Number(value)] ?? `type ${value}`;
}

/** What a field's value means, in words. Two fields of one address each tell their own part, as bits of the whole address. */
export function describeField(shape: LevelShape, kind: EntryKind, field: Field, value: bigint, word: bigint): string {
  if (kind === ENTRY.zero || kind === ENTRY.annotated) return invalidMeaning(field, value, word);
  const address = /^(?:OA|NextLevelTable)\[\d+:(\d+)\]$/.exec(field.name);
  if (address !== null) return hex(value << BigInt(address[1]));
  return MEANINGS[field.name](Number(value), { shape, kind, field, word });
}
