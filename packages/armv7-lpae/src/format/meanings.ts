import { ENTRY, type EntryKind, type Field } from '@granule/contract';
import { IGNORED, RES0, RES1 } from '../fields.js';
import { mairByte, mairMemory, SHAREABILITY, STAGE2_MEMORY } from './memory-type.js';
import type { LevelShape } from './shape.js';

interface Context {
  readonly shape: LevelShape;
  readonly kind: EntryKind;
  /** The whole descriptor. */
  readonly word: bigint;
}

type Meaning = (value: number, context: Context) => string;

const flag =
  (clear: string, set: string): Meaning =>
  (value) =>
    value === 0 ? clear : set;

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
  return `Attr${value}, of ${register}, 0x${byte.toString(16).padStart(2, '0')}: ${mairMemory(byte)}`;
}

/** What AP[2:1] together permit, told at AP[2]. */
function writable(value: number, { shape, word }: Context): string {
  const access = value === 0 ? 'read/write' : 'read-only';
  if (shape.regime === 'pl2') return access;
  return (word & 0x40n) === 0n ? `${access} at PL1, no access at PL0` : `${access} at PL1 and PL0`;
}

function typeBit(_: number, { kind, shape }: Context): string {
  if (kind === ENTRY.table) return 'table';
  return shape.level === 3 ? 'page' : 'block';
}

/** Meaning by field name, for every descriptor kind. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  [RES0]: (value) => (value === 0 ? 'reserved' : 'reserved, should be zero'),
  [RES1]: (value) => (value === 0 ? 'reserved, should be one' : 'reserved'),
  [IGNORED]: () => 'ignored by hardware',
  Software: (value) => (value === 0 ? 'for software' : `for software: ${value}`),
  Contiguous: flag('not part of a contiguous set', 'one of a set of contiguous entries'),
  AF: flag('not accessed: the first access faults', 'accessed'),
  SH: (value) => (SHAREABILITY[value] === 'reserved' ? 'reserved' : `${SHAREABILITY[value]} shareable`),
  Type: typeBit,
  Valid: flag('invalid', 'valid'),
  XN: (value, { shape }) => `${value === 0 ? '' : 'not '}executable${shape.regime === 'pl10' && value === 1 ? ' at PL1 and PL0' : ''}`,
  PXN: flag('executable at PL1 unless XN', 'not executable at PL1'),
  nG: flag('global', 'not global: of one ASID'),
  'AP[2]': writable,
  'AP[1]': flag('no PL0 access', 'PL0 access'),
  NS: flag('Secure output address space', 'Non-secure output address space'),
  AttrIndx: attrIndx,
  HAP: (value) => HAP[value],
  MemAttr: (value) => STAGE2_MEMORY[value],
  NSTable: flag('tables below in the Secure address space', 'tables below in the Non-secure address space'),
  APTable: (value) => AP_TABLE[value],
  'APTable[1]': flag('no effect on the tables below', 'no write access below'),
  XNTable: flag('no effect on the tables below', 'not executable below'),
  PXNTable: flag('no effect on the tables below', 'not executable at PL1 below'),
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

/** What a field's value means, in words. */
export function describeField(shape: LevelShape, kind: EntryKind, field: Field, value: bigint, word: bigint): string {
  if (kind === ENTRY.zero || kind === ENTRY.annotated) return invalidMeaning(field, value, word);
  const address = /^(?:OA|NextLevelTable)\[\d+:(\d+)\]$/.exec(field.name);
  if (address !== null) return hex(value << BigInt(address[1]));
  return MEANINGS[field.name](Number(value), { shape, kind, word });
}
