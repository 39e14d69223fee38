/** Bits `lsb` … `msb` of a word, both included: 0 … 63. */
export interface BitRange {
  readonly msb: number;
  readonly lsb: number;
}

/** How many bits a field has: 1 … 64. */
export function fieldWidth({ msb, lsb }: BitRange): number {
  return msb - lsb + 1;
}

/** Value of a field of a word, 0 … 2^width − 1. Domain: any bigint; a negative one is read as two's complement. */
export function takeField(field: BitRange, word: bigint): bigint {
  return BigInt.asUintN(fieldWidth(field), word >> BigInt(field.lsb));
}

/** `value` at the field's place; bits that do not fit are cut off, so −1 is a field of ones. Domain: any bigint. */
export function placeField(field: BitRange, value: bigint): bigint {
  return BigInt.asUintN(fieldWidth(field), value) << BigInt(field.lsb);
}

/** A field that lies in one half of a word, ready for fast access. */
export interface Slot {
  readonly high: boolean;
  readonly shift: number;
  /** Mask of the value before it is shifted into place. */
  readonly mask: number;
}

/** The slot of a field; undefined where it lies across both halves or is wider than 31 bits. */
export function slotAt(field: BitRange): Slot | undefined {
  const high = field.lsb >= 32;
  const width = fieldWidth(field);
  if (high !== field.msb >= 32 || width > 31) return undefined;
  return { high, shift: field.lsb & 31, mask: 2 ** width - 1 };
}

/** Value of a slot, 0 … 2^31 − 1. Domain: any 32-bit halves, signed or unsigned. */
export function takeSlot(slot: Slot, lo: number, hi: number): number {
  return ((slot.high ? hi : lo) >>> slot.shift) & slot.mask;
}

/** ORs `value` into its place, cut to the slot's width. The place must be zero before; the halves stay unsigned. */
export function putSlot(words: { lo: number; hi: number }, slot: Slot, value: number): void {
  const placed = ((value & slot.mask) << slot.shift) >>> 0;
  if (slot.high) words.hi = (words.hi | placed) >>> 0;
  else words.lo = (words.lo | placed) >>> 0;
}

/** The slot's bits in place, as unsigned halves. */
export function slotMask(slot: Slot): { lo: number; hi: number } {
  const words = { lo: 0, hi: 0 };
  putSlot(words, slot, slot.mask);
  return words;
}
