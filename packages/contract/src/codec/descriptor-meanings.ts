import { hex } from '@granule/geometry/bits';
import { ENTRY, type EntryKind, type Field } from '../words.js';
import { ANNOTATION_TYPES } from './annotation-codec.js';
import { IGNORED, reservedMeaning } from './field-codec.js';
import { SHAREABILITY } from './memory-codec.js';

/** A field in its descriptor. `shape` is the backend's: what its layouts are chosen by, and the level. */
export interface FieldContext<S> {
  readonly shape: S;
  readonly kind: EntryKind;
  readonly field: Field;
  /** The whole descriptor. */
  readonly word: bigint;
}

/** What the value of a field means, in words. */
export type FieldMeaning<S> = (value: number, context: FieldContext<S>) => string;

/** Of a field of one bit. */
export const flag =
  (clear: string, set: string): ((value: number) => string) =>
  (value) =>
    value === 0 ? clear : set;

function typeBit(_: number, { kind, shape }: FieldContext<{ readonly level: number }>): string {
  if (kind === ENTRY.table) return 'table';
  return shape.level === 3 ? 'page' : 'block';
}

/** Fields that mean the same in every long-descriptor format. */
const COMMON: Readonly<Record<string, FieldMeaning<{ readonly level: number }>>> = {
  [IGNORED]: () => 'ignored by hardware',
  Software: (value) => (value === 0 ? 'for software' : `for software: ${value}`),
  Contiguous: flag('not part of a contiguous set', 'one of a set of contiguous entries'),
  SH: (value) => (SHAREABILITY[value] === 'reserved' ? 'reserved' : `${SHAREABILITY[value]} shareable`),
  Type: typeBit,
  Valid: flag('invalid', 'valid'),
  nG: flag('global', 'not global: of one ASID'),
  NS: flag('Secure output address space', 'Non-secure output address space'),
  NSTable: flag('tables below in the Secure address space', 'tables below in the Non-secure address space'),
};

function invalidMeaning(field: Field, value: bigint, word: bigint): string {
  if (field.name === 'Valid') return value === 0n ? 'invalid' : 'reserved: this level has no descriptor with this type, the walk faults';
  if ((word & 1n) !== 0n) return 'part of a reserved encoding';
  if (field.name === 'Annotation') return value === 0n ? 'no value' : hex(value, 0);
  return ANNOTATION_TYPES[Number(value)] ?? `type ${value}`;
}

/**
 * What a descriptor's fields mean: `meanings` by field name, the common ones where it has none. Address fields are those named
 * `OA[msb:lsb]` and `NextLevelTable[msb:lsb]`; two fields of one address each tell their own part, as bits of the whole address.
 */
export function descriptorMeanings<S extends { readonly level: number }>(
  meanings: Readonly<Record<string, FieldMeaning<S>>>,
): (context: FieldContext<S>, value: bigint) => string {
  return (context, value) => {
    const { field, kind, word } = context;
    if (kind === ENTRY.zero || kind === ENTRY.annotated) return invalidMeaning(field, value, word);
    const address = /^(?:OA|NextLevelTable)\[\d+:(\d+)\]$/.exec(field.name);
    if (address !== null) return hex(value << BigInt(address[1]), 0);
    const meaning = meanings[field.name] ?? COMMON[field.name];
    return reservedMeaning(field, value) ?? meaning(Number(value), context);
  };
}
