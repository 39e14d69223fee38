import { done, refused, type ExplainedField, type InstructionCodec, type Outcome } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { fieldWidth, layoutOf, placeField, RES0, takeField } from '../fields.js';
import { OPERATIONS, type OperandField } from './tables.js';

const SOURCE = 'DDI 0406C B4.2';

function operandFields(name: string): Outcome<readonly OperandField[]> {
  const operation = OPERATIONS.get(name);
  return operation === undefined ? refused('instruction.unknown', `Operation ${name} is not known.`, SOURCE) : done(operation.operand);
}

/** The bits of a field, address bits below it dropped; undefined where the value does not fit. */
function fieldBits(field: OperandField, given: bigint | number): bigint | undefined {
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  const value = BigInt(given);
  const shift = BigInt(field.addressLsb ?? 0);
  return value < 0n || value >> shift >= 1n << BigInt(fieldWidth(field)) ? undefined : placeField(field, value >> shift);
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

function meaning(field: OperandField, value: bigint): string {
  if (field.addressLsb !== undefined) return hex(value, 8);
  if (field.name === RES0) return value === 0n ? 'reserved' : 'reserved, should be zero';
  return field.name === 'Level' ? `cache level ${value + 1n}` : `0x${value.toString(16)}`;
}

function explain(name: string, operand: bigint): Outcome<readonly ExplainedField[]> {
  const fields = operandFields(name);
  if (fields.kind !== 'done') return fields;
  if (operand < 0n || operand >= 1n << 32n) {
    return refused('instruction.value-too-wide', `Operand ${operand} is not a 32-bit word.`, SOURCE);
  }
  return done(
    layoutOf(fields.value, undefined, SOURCE, 32).map((each) => {
      const field = fields.value.find(({ name: known }) => known === each.name) ?? each;
      const value = valueOf(field, operand);
      return { ...each, value, meaning: meaning(field, value) };
    }),
  );
}

/** 32-bit operands of CP15 TLB, cache and address-translation operations. Address fields take and give whole byte addresses. */
export const instructions: InstructionCodec = { names: [...OPERATIONS.keys()], encode, decode, explain };
