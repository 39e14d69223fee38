import type { Field, Words } from '@granule/contract';

/**
 * Tools that turn a layout (fields as data) into encoders, decoders and explanations. A layout lists its fields most significant first and
 * each bit of the word belongs to exactly one of them.
 */

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
 * clause `clause`.
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

/** A field that lies in one half of a descriptor, ready for fast access. */
export interface Slot {
  readonly high: boolean;
  readonly shift: number;
  /** Mask of the value before it is shifted into place. */
  readonly mask: number;
}

/** @throws RangeError if the layout has no such field, or it lies across both halves or is wider than 31 bits */
export function slotOf(layout: readonly Field[], name: string): Slot {
  const field = layout.find((each) => each.name === name);
  if (field === undefined) throw new RangeError(`layout: no field ${name}`);
  const high = field.lsb >= 32;
  const width = field.msb - field.lsb + 1;
  if (high !== field.msb >= 32 || width > 31) throw new RangeError(`layout: ${name} is not inside one half`);
  return { high, shift: field.lsb & 31, mask: 2 ** width - 1 };
}

export function hasField(layout: readonly Field[], name: string): boolean {
  return layout.some((field) => field.name === name);
}

export function takeSlot(slot: Slot, lo: number, hi: number): number {
  return ((slot.high ? hi : lo) >>> slot.shift) & slot.mask;
}

/** ORs `value` into its place. The place must be zero before, and the value fit. */
export function putSlot(words: Words, slot: Slot, value: number): void {
  const placed = ((value & slot.mask) << slot.shift) >>> 0;
  if (slot.high) words.hi = (words.hi | placed) >>> 0;
  else words.lo = (words.lo | placed) >>> 0;
}

/** The slot's bits in place. */
export function slotMask(slot: Slot): Words {
  const words = { lo: 0, hi: 0 };
  putSlot(words, slot, slot.mask);
  return words;
}

/** Value of a field of a 64-bit word, 0 … 2^width − 1. */
export function takeField(field: Field, word: bigint): bigint {
  return BigInt.asUintN(field.msb - field.lsb + 1, word >> BigInt(field.lsb));
}

/** `value` at the field's place. The value must fit. */
export function placeField(field: Field, value: bigint): bigint {
  return BigInt.asUintN(field.msb - field.lsb + 1, value) << BigInt(field.lsb);
}

export function fieldWidth(field: Field): number {
  return field.msb - field.lsb + 1;
}
