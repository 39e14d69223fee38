import fc from 'fast-check';
import { ENTRY, type Format, type Rule, type Words } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { outputs } from '../arbitraries/addresses.js';
import { ensure, forAll } from '../law.js';
import { anyWord, flip, leafLevels, levelsOf, mask, or, text, valueOf } from '../words.js';
import { legalLeaves } from './leaves.js';
import type { FormatLaw } from './suite.js';

const ruleFor = (format: Format, a: Readonly<Words>, b: Readonly<Words>, level: Level): Rule | undefined =>
  format.mustBreak(a.lo, a.hi, b.lo, b.hi, level);

function mayStay(assertion: string, format: Format, a: Readonly<Words>, b: Readonly<Words>, level: Level): void {
  const rule = ruleFor(format, a, b, level);
  ensure(
    assertion,
    rule === undefined,
    () => `${text(a)} -> ${text(b)} at level ${level} breaks ${rule?.id ?? ''} and may change in place`,
  );
}

function must(assertion: string, format: Format, a: Readonly<Words>, b: Readonly<Words>, level: Level): void {
  const rule = ruleFor(format, a, b, level);
  ensure(assertion, rule !== undefined, () => `${text(a)} -> ${text(b)} at level ${level} needs break-before-make`);
  ensure(
    'bbm.rule',
    rule.id !== '' && rule.clause !== '' && rule.sentence !== '' && !rule.sentence.includes('\n'),
    `the rule ${rule.id} has no id, clause or sentence`,
  );
}

const isValid = (format: Format, w: Readonly<Words>, level: Level): boolean => format.kind(w.lo, w.hi, level) >= ENTRY.leaf;

function inPlace(format: Format, level: Level, word: Readonly<Words>, picks: readonly boolean[]): void {
  const n = format.numbers;
  const all = [mask(n.permissionLo, n.permissionHi), mask(n.afLo, n.afHi), mask(n.softwareLo, n.softwareHi)];
  const bits = all.filter((_, i) => picks[i]).reduce(or, mask(0, 0));
  mayStay('bbm.in-place', format, word, flip(word, bits), level);
}

export const breakLaws: readonly FormatLaw[] = [
  {
    name: 'bbm.reflexive',
    sentence: 'writing the same word again needs no break',
    check(format, budget) {
      for (const level of levelsOf(format)) {
        forAll(anyWord(format, level), budget, (w) => mayStay('bbm.reflexive', format, w, w, level));
      }
    },
  },
  {
    name: 'bbm.invalid',
    sentence: 'no break where either side is invalid',
    check(format, budget) {
      for (const level of levelsOf(format)) {
        forAll(fc.tuple(anyWord(format, level), anyWord(format, level)), budget, ([a, b]) => {
          if (!isValid(format, a, level) || !isValid(format, b, level)) {
            mayStay('bbm.invalid', format, a, b, level);
          }
        });
      }
    },
  },
  {
    name: 'bbm.output-address',
    sentence: 'a writable leaf that changes its output address is broken first',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        const shift = levelShift(format.geometry.granule, level);
        forAll(fc.tuple(legalLeaves(format, level), outputs(format, shift)), budget, ([{ word, bits, oa }, other]) => {
          if (other !== oa && format.decodeLeaf(word.lo, word.hi, level).write) {
            must(
              'bbm.output-address',
              format,
              word,
              or(bits, valueOf('address.encode', format.encodeOutput(other, shift), 'encodeOutput')),
              level,
            );
          }
        });
      }
    },
  },
  {
    name: 'bbm.table-and-leaf',
    sentence: 'a table and a leaf replace each other by break-before-make, unless FEAT_BBM is at level 2',
    check(format, budget, features) {
      if ((features.bbm ?? 0) >= 2) {
        return;
      }
      const table = valueOf('kind.encode-table', format.encodeTable(), 'encodeTable()');
      for (const level of leafLevels(format).filter((each) => each < 3)) {
        forAll(fc.tuple(legalLeaves(format, level), outputs(format, format.geometry.pageShift)), budget, ([{ word }, oa]) => {
          const next = or(table, valueOf('address.encode', format.encodeOutput(oa, format.geometry.pageShift), 'encodeOutput'));
          must('bbm.table-and-leaf', format, word, next, level);
          must('bbm.table-and-leaf', format, next, word, level);
        });
      }
    },
  },
  {
    name: 'bbm.in-place',
    sentence: 'permissions, access flag and software bits change in place',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        forAll(fc.tuple(legalLeaves(format, level), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 })), budget, ([{ word }, picks]) =>
          inPlace(format, level, word, picks),
        );
      }
    },
  },
];
