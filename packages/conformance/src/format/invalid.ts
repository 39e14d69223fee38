import fc from 'fast-check';
import { ENTRY, type Format } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { ensure, forAll } from '../law.js';
import { levelsOf, text, valueOf } from '../words.js';
import { refusalForm } from './refusals.js';
import type { FormatLaw } from './suite.js';

/** Values that every format can note; wider ones may be refused. */
const NOTE_BITS = 32n;

function roundTrip(format: Format, type: number, value: bigint): void {
  const outcome = format.encodeAnnotation(type, value);
  if (outcome.kind !== 'done' && value >> NOTE_BITS !== 0n) {
    refusalForm(outcome, 'annotation');
    return;
  }
  const w = valueOf('annotation.round-trip', outcome, `encodeAnnotation(${type}, ${hex(value)})`);
  const note = format.decodeAnnotation(w.lo, w.hi);
  ensure(
    'annotation.round-trip',
    note.type === type && note.value === value,
    () => `(${type}, ${hex(value)}) reads back as (${note.type}, ${hex(note.value)})`,
  );
  for (const level of levelsOf(format)) {
    const kind = format.kind(w.lo, w.hi, level);
    ensure('annotation.kind', kind === ENTRY.annotated, () => `${text(w)} at level ${level} is of kind ${kind} and must be annotated`);
  }
}

export const invalidLaws: readonly FormatLaw[] = [
  {
    name: 'annotation.round-trip',
    sentence: 'an annotation reads back, and is annotated at every level',
    check(format, budget) {
      const value = fc.oneof(fc.bigInt({ min: 0n, max: (1n << NOTE_BITS) - 1n }), fc.bigInt({ min: 0n, max: (1n << 59n) - 1n }));
      forAll(fc.tuple(fc.integer({ min: 1, max: 15 }), value), budget, ([type, note]) => roundTrip(format, type, note));
    },
  },
  {
    name: 'annotation.refused',
    sentence: 'annotations of type 0 or above 15, negative or too wide values are refused',
    check(format) {
      for (const [type, value] of [
        [0, 1n],
        [16, 1n],
        [1.5, 1n],
        [1, -1n],
        [1, 1n << 59n],
      ] as const) {
        const outcome = format.encodeAnnotation(type, value);
        ensure('annotation.refused', outcome.kind !== 'done', `encodeAnnotation(${type}, ${value.toString()}) is done`);
        refusalForm(outcome, 'annotation');
      }
    },
  },
  {
    name: 'locked.kind',
    sentence: 'the locked marker is annotated at every level',
    check(format) {
      for (const level of levelsOf(format)) {
        const kind = format.kind(format.locked.lo, format.locked.hi, level);
        ensure('locked.kind', kind === ENTRY.annotated, `the locked marker is of kind ${kind} at level ${level} and must be annotated`);
      }
    },
  },
];
