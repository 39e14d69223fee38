import { placeField, slotAt, takeField, fieldWidth, type Slot } from '@granule/geometry/bits';
import type { ExplainedField, Field } from '../words.js';

/** A field as a layout table writes it; `when` limits it to configurations that have it. */
export interface Row<C> extends Field {
  readonly when?: (configuration: C) => boolean;
}

/** Bits that no row names. Value 0 is required of software, and hardware ignores or reserves them. */
export const RES0 = 'RES0';
/** Reserved bits that software writes as 1. */
export const RES1 = 'RES1';
/** Bits that hardware does not look at. */
export const IGNORED = 'ignored';

/**
 * The rows that hold in this configuration, most significant first, with every gap from bit `width - 1` to 0 filled by a RES0 field of
 * clause `clause`: each bit of the word belongs to exactly one field.
 *
 * @throws RangeError where two rows overlap, or one reaches beyond the word
 */
export function layoutOf<C>(rows: readonly Row<C>[], configuration: C, clause: string, width: 32 | 64 = 64): readonly Field[] {
  const fields = rows.filter((row) => row.when?.(configuration) ?? true).sort((a, b) => b.msb - a.msb);
  const whole: Field[] = [];
  let next = width - 1;
  for (const { name, msb, lsb, clause: source } of fields) {
    if (msb > next || lsb > msb) throw new RangeError(`layout: ${name} [${msb}:${lsb}] overlaps its neighbour`);
    if (msb < next) whole.push({ name: RES0, msb: next, lsb: msb + 1, clause });
    whole.push({ name, msb, lsb, clause: source });
    next = lsb - 1;
  }
  if (next >= 0) whole.push({ name: RES0, msb: next, lsb: 0, clause });
  return Object.freeze(whole.map((field) => Object.freeze(field)));
}

/**
 * The slot of a field that not every layout has.
 *
 * @throws RangeError if the field lies across both halves or is wider than 31 bits
 */
export function optionalSlot(layout: readonly Field[], name: string): Slot | undefined {
  const field = layout.find((each) => each.name === name);
  if (field === undefined) return undefined;
  const slot = slotAt(field);
  if (slot === undefined) throw new RangeError(`layout: ${name} is not inside one half`);
  return slot;
}

/** @throws RangeError if the layout has no such field, or it lies across both halves or is wider than 31 bits */
export function slotOf(layout: readonly Field[], name: string): Slot {
  const slot = optionalSlot(layout, name);
  if (slot === undefined) throw new RangeError(`layout: no field ${name}`);
  return slot;
}

export function hasField(layout: readonly Field[], name: string): boolean {
  return layout.some((field) => field.name === name);
}

/** Whether a field is RES0 or RES1. */
export function isReserved({ name }: Field): boolean {
  return name === RES0 || name === RES1;
}

/** What the value of a reserved field says; undefined for any other field. */
export function reservedMeaning({ name }: Field, value: bigint): string | undefined {
  if (name === RES0) return value === 0n ? 'reserved' : 'reserved, should be zero';
  if (name === RES1) return value === 0n ? 'reserved, should be one' : 'reserved';
  return undefined;
}

/** A value as bits of a word; undefined where it does not fit. */
export function fittedBits(field: Field, given: bigint | number): bigint | undefined {
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  const value = BigInt(given);
  return value < 0n || value >= 1n << BigInt(fieldWidth(field)) ? undefined : placeField(field, value);
}

/** A word by the fields of its layout, each with its value in words. */
export function explainFields(
  layout: readonly Field[],
  word: bigint,
  meaning: (field: Field, value: bigint) => string,
): readonly ExplainedField[] {
  return layout.map((field) => {
    const value = takeField(field, word);
    return { ...field, value, meaning: meaning(field, value) };
  });
}
