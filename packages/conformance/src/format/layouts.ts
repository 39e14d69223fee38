import { ENTRY, type EntryKind, type Field, type Format } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { ensure, forAll } from '../law.js';
import { anyWord, big, leafLevels, levelsOf, text } from '../words.js';
import type { FormatLaw } from './suite.js';

/** The fields name every bit of 63:0 once, most significant first. */
function partitions(assertion: string, fields: readonly Field[], what: string): void {
  let next = 63;
  for (const each of fields) {
    ensure(assertion, each.msb === next, `${what}: ${each.name} starts at bit ${each.msb} and bit ${next} is due`);
    ensure(assertion, each.lsb <= each.msb, `${what}: ${each.name} ends above its start`);
    next = each.lsb - 1;
  }
  ensure(assertion, next === -1, `${what}: bits ${next}:0 belong to no field`);
}

function kindsAt(format: Format, level: Level): readonly EntryKind[] {
  const leaf = leafLevels(format).includes(level) ? [ENTRY.leaf] : [];
  return [ENTRY.zero, ENTRY.annotated, ...leaf, ...(level < 3 ? [ENTRY.table] : [])];
}

export const layoutLaws: readonly FormatLaw[] = [
  {
    name: 'layout.partition',
    sentence: 'the layout of every kind of entry has each of the 64 bits once, most significant first',
    check(format) {
      for (const level of levelsOf(format)) {
        for (const kind of kindsAt(format, level)) {
          partitions('layout.partition', format.layout(kind, level), `layout of kind ${kind} at level ${level}`);
        }
      }
    },
  },
  {
    name: 'explain.recompose',
    sentence: 'the values of explain put together are the word, field by field as in the layout',
    check(format, budget) {
      for (const level of levelsOf(format)) {
        forAll(anyWord(format, level), budget, (w) => {
          const fields = format.explain(w.lo, w.hi, level);
          partitions('explain.recompose', fields, `explain(${text(w)}) at level ${level}`);
          let word = 0n;
          for (const each of fields) {
            ensure(
              'explain.recompose',
              each.value >= 0n && each.value >> BigInt(each.msb - each.lsb + 1) === 0n,
              `${each.name} has a value wider than the field`,
            );
            ensure(
              'explain.meaning',
              each.meaning !== '' && !each.meaning.includes('\n'),
              `${each.name} of ${text(w)} has no meaning of one line`,
            );
            word |= each.value << BigInt(each.lsb);
          }
          ensure('explain.recompose', word === big(w), () => `explain(${text(w)}) at level ${level} recomposes to ${hex(word)}`);
          const names = (list: readonly Field[]): string => list.map((each) => each.name).join();
          const expected = names(format.layout(format.kind(w.lo, w.hi, level), level));
          ensure(
            'explain.recompose',
            names(fields) === expected,
            `explain(${text(w)}) at level ${level} and the layout name different fields`,
          );
        });
      }
    },
  },
];
