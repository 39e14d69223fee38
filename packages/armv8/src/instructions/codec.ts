import { done, refused, type ExplainedField, type Field, type InstructionCodec, type Outcome } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { fieldWidth, layoutOf, placeField, RES0, takeField } from '../fields.js';
import { OPERANDS, type OperandField } from './tables.js';

const SOURCE = 'DDI 0487 C5';
/** TG of range operations and TTL[3:2] of the others (DDI 0487 C5.5, TLBI VAE1.TTL, TLBI RVAE1.TG). */
const GRANULES = [undefined, '4K', '16K', '64K'] as const;

function operandFields(name: string): Outcome<readonly OperandField[]> {
  const fields = OPERANDS.get(name);
  return fields === undefined ? refused('instruction.unknown', `Instruction ${name} is not known.`, SOURCE) : done(fields);
}

/** The bits of a field; undefined where the value does not fit. */
function fieldBits(field: OperandField, given: bigint | number): bigint | undefined {
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  const value = BigInt(given);
  const shift = BigInt(field.addressLsb ?? 0);
  const top = field.wraps === true ? 64n : BigInt(fieldWidth(field)) + shift;
  return value < 0n || value >= 1n << top ? undefined : placeField(field, value >> shift);
}

/** Refused: `instruction.unknown`, `instruction.unknown-field`, `instruction.value-too-wide`. */
function encode(name: string, fields: Readonly<Record<string, bigint | number>>): Outcome<bigint> {
  const layout = operandFields(name);
  if (layout.kind !== 'done') return layout;
  let operand = 0n;
  for (const [key, given] of Object.entries(fields)) {
    const field = layout.value.find((each) => each.name === key);
    if (field === undefined) return refused('instruction.unknown-field', `The operand of ${name} has no field ${key}.`, SOURCE);
    const bits = fieldBits(field, given);
    if (bits === undefined) return refused('instruction.value-too-wide', `Value ${given} does not fit ${name}.${key}.`, field.clause);
    operand |= bits;
  }
  return done(operand);
}

function valueOf(field: OperandField, operand: bigint): bigint {
  return takeField(field, operand) << BigInt(field.addressLsb ?? 0);
}

/** Refused: `instruction.unknown`. Bits outside the fields are ignored. */
function decode(name: string, operand: bigint): Outcome<Readonly<Record<string, bigint>>> {
  const layout = operandFields(name);
  if (layout.kind !== 'done') return layout;
  return done(Object.fromEntries(layout.value.map((field) => [field.name, valueOf(field, operand)])));
}

function ttlMeaning(field: Field, value: bigint): string {
  if (fieldWidth(field) === 2) return value === 0n ? 'no level hint' : `leaf level ${value}`;
  const granule = GRANULES[Number(value >> 2n)];
  return granule === undefined ? 'no level hint' : `leaf level ${value & 3n}, ${granule} granule`;
}

/** Range operations: (NUM + 1) * 2^(5*SCALE + 1) pages. */
function rangePages(operand: bigint): bigint {
  const num = (operand >> 39n) & 31n;
  const scale = (operand >> 44n) & 3n;
  return (num + 1n) << (5n * scale + 1n);
}

function baseMeaning(value: bigint, operand: bigint): string {
  const granule = Number((operand >> 46n) & 3n);
  if (granule === 0) return 'TG is reserved: no address';
  const plain = hex(value << BigInt(10 + 2 * granule));
  return `from ${plain}, or from ${hex(value << 16n)} with 52-bit descriptors (DS = 1)`;
}

function meaning(field: OperandField, value: bigint, operand: bigint): string {
  if (field.addressLsb !== undefined) return hex(value);
  switch (field.name) {
    case RES0:
      return value === 0n ? 'reserved' : 'reserved, should be zero';
    case 'TTL':
      return ttlMeaning(field, value);
    case 'TG':
      return GRANULES[Number(value)] ?? 'reserved';
    case 'BaseADDR':
      return baseMeaning(value, operand);
    case 'NUM':
      return `${rangePages(operand)} pages with this SCALE`;
    default:
      return `0x${value.toString(16)}`;
  }
}

function explain(name: string, operand: bigint): Outcome<readonly ExplainedField[]> {
  const fields = operandFields(name);
  if (fields.kind !== 'done') return fields;
  if (operand < 0n || operand >= 1n << 64n)
    return refused('instruction.value-too-wide', `Operand ${operand} is not a 64-bit word.`, SOURCE);
  return done(
    layoutOf(fields.value, undefined, SOURCE).map(({ name: each, msb, lsb, clause }) => {
      const field = fields.value.find((known) => known.name === each) ?? { name: each, msb, lsb, clause };
      const value = valueOf(field, operand);
      return { name: each, msb, lsb, clause, value, meaning: meaning(field, value, operand) };
    }),
  );
}

/** Operands of TLBI, AT, DC and IC. Address fields take and give whole byte addresses. */
export const instructions: InstructionCodec = { names: [...OPERANDS.keys()], encode, decode, explain };
