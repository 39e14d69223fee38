import type { TableGeometry } from '@granule/geometry';

/** A 64-bit word as two unsigned 32-bit halves. Mutable, so that hot paths can reuse one. */
export interface Words {
  lo: number;
  hi: number;
}

/** What a descriptor is. `annotated` is every invalid entry that is not zero: an owner's annotation, or a reserved encoding. */
export const ENTRY = { zero: 0, annotated: 1, leaf: 2, table: 3 } as const;
export type EntryKind = (typeof ENTRY)[keyof typeof ENTRY];

/** Index into the per-level arrays of a {@link Format}: level −1…3 → 0…4. */
export function levelIndex(level: number): number {
  return level + 1;
}

/** Bits of a word: `lsb`…`msb` inclusive, 0…63. `clause` is the document's place that defines the field. */
export interface Field {
  readonly name: string;
  readonly msb: number;
  readonly lsb: number;
  readonly clause: string;
}

/** One field of a value, explained. */
export interface ExplainedField extends Field {
  readonly value: bigint;
  readonly meaning: string;
}

export type { TableGeometry };
