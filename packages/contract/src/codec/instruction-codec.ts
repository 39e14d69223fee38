import { fieldWidth, hex, placeField, takeField } from '@granule/geometry/bits';
import type { InstructionCodec } from '../backend.js';
import { done, refused, type Outcome } from '../outcome.js';
import type { Field } from '../words.js';
import { explainFields, layoutOf, reservedMeaning } from './field-codec.js';

/**
 * A field of an operand. An address field holds bits of an address: values given and returned are whole byte addresses, bits below the
 * field dropped.
 */
export interface OperandField extends Field {
  /** Bit of the address at the field's lsb. */
  readonly addressLsb?: number;
  /** VA fields: bits above the field are dropped too, as hardware does with a sign extension or a tag. */
  readonly wraps?: boolean;
}

/** Operands of instructions as data. */
export interface OperandTables {
  /** Fields by the instruction's Arm name, in any order. */
  readonly operands: ReadonlyMap<string, readonly OperandField[]>;
  /** Bits of an operand. */
  readonly width: 32 | 64;
  /** Where the instructions are described: the clause of refusals and of RES0 gaps. */
  readonly source: string;
  /** What a field says, where that is more than its value; undefined for the value alone. */
  readonly meaning: (field: Field, value: bigint, operand: bigint) => string | undefined;
}

/** The bits of a field, address bits below it dropped; undefined where the value does not fit. */
function operandBits(field: OperandField, given: bigint | number, width: number): bigint | undefined {
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  const value = BigInt(given);
  const shift = field.addressLsb ?? 0;
  const top = field.wraps === true ? width : fieldWidth(field) + shift;
  return value < 0n || value >= 1n << BigInt(top) ? undefined : placeField(field, value >> BigInt(shift));
}

/**
 * Encoder, decoder and explanation of operands from their tables. Bits outside of the fields are ignored when an operand is decoded.
 * Refused: `instruction.unknown`, `instruction.unknown-field`, `instruction.value-too-wide`.
 */
export function instructionCodec({ operands, width, source, meaning }: OperandTables): InstructionCodec {
  const fieldsOf = (name: string): Outcome<readonly OperandField[]> => {
    const fields = operands.get(name);
    return fields === undefined ? refused('instruction.unknown', `Instruction ${name} is not known.`, source) : done(fields);
  };
  const scaled = (field: OperandField, value: bigint): bigint => value << BigInt(field.addressLsb ?? 0);

  return {
    names: [...operands.keys()],
    encode(name, given) {
      const fields = fieldsOf(name);
      if (fields.kind !== 'done') return fields;
      let operand = 0n;
      for (const [key, value] of Object.entries(given)) {
        const field = fields.value.find((each) => each.name === key);
        if (field === undefined) return refused('instruction.unknown-field', `The operand of ${name} has no field ${key}.`, source);
        const bits = operandBits(field, value, width);
        if (bits === undefined) return refused('instruction.value-too-wide', `Value ${value} does not fit ${name}.${key}.`, field.clause);
        operand |= bits;
      }
      return done(operand);
    },
    decode(name, operand) {
      const fields = fieldsOf(name);
      if (fields.kind !== 'done') return fields;
      return done(Object.fromEntries(fields.value.map((field) => [field.name, scaled(field, takeField(field, operand))])));
    },
    explain(name, operand) {
      const fields = fieldsOf(name);
      if (fields.kind !== 'done') return fields;
      if (operand < 0n || operand >= 1n << BigInt(width)) {
        return refused('instruction.value-too-wide', `Operand ${operand} is not a ${width}-bit word.`, source);
      }
      const layout = layoutOf(fields.value, undefined, source, width);
      return done(
        explainFields(layout, operand, () => '').map((each) => {
          const field: OperandField = fields.value.find(({ name: known }) => known === each.name) ?? each;
          const value = scaled(field, each.value);
          if (field.addressLsb !== undefined) return { ...each, value, meaning: hex(value, width / 4) };
          return { ...each, meaning: reservedMeaning(each, value) ?? meaning(each, value, operand) ?? `0x${value.toString(16)}` };
        }),
      );
    },
  };
}
