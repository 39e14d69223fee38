import type { Field, Registers } from '@granule/contract';
import { takeField } from '@granule/geometry/bits';
import { systemRegisters } from '../registers/codec.js';

/** Reads one field of a register as a number. */
export type ReadField = (field: string) => number;

/** A reader of one register's fields; a register that is not in the set is 0. `layout`: the table to read it by. */
export function fieldReader(registers: Registers, name: string, layout = name): ReadField {
  const value = BigInt.asUintN(64, registers[name] ?? 0n);
  const fields: readonly Field[] = systemRegisters.layout(layout)!;
  return (wanted) => {
    const field = fields.find((each) => each.name === wanted);
    if (field === undefined) throw new RangeError(`${layout} has no field ${wanted}`);
    return Number(takeField(field, value));
  };
}

export function bit(read: ReadField, field: string, implemented: boolean | undefined = true): boolean {
  return implemented && read(field) === 1;
}
