import { ENTRY, levelIndex, type EntryKind, type Format, type Words } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { ensure, forAll } from '../law.js';
import { anyWord, big, leafLevels, levelsOf, LEVELS, or, text, valueOf } from '../words.js';
import { legalLeaves } from './leaves.js';
import { refusalForm } from './refusals.js';
import type { FormatLaw } from './suite.js';

/** The kind as the numbers define it, read in bigint. */
function kindByNumbers(format: Format, word: bigint, level: Level): EntryKind {
  const i = levelIndex(level);
  const { typeMask, leafType, tableType } = format.numbers;
  const type = word & BigInt(typeMask[i] >>> 0);
  if (leafType[i] !== -1 && type === BigInt(leafType[i] >>> 0)) {
    return ENTRY.leaf;
  }
  if (tableType[i] !== -1 && type === BigInt(tableType[i] >>> 0)) {
    return ENTRY.table;
  }
  return word === 0n ? ENTRY.zero : ENTRY.annotated;
}

function kindIs(assertion: string, format: Format, w: Readonly<Words>, level: Level, expected: EntryKind): void {
  const actual = format.kind(w.lo, w.hi, level);
  ensure(assertion, actual === expected, () => `kind(${text(w)}) at level ${level} is ${actual} and must be ${expected}`);
}

export const kindLaws: readonly FormatLaw[] = [
  {
    name: 'kind.identity',
    sentence: 'the format says what it is a format of',
    check(format) {
      ensure('kind.identity', format.contract === 1, `the format is written for contract ${String(format.contract)} and not 1`);
      ensure('kind.identity', format.stage === format.geometry.stage, 'the stage of the format is that of its geometry');
    },
  },
  {
    name: 'kind.mask',
    sentence: 'kind agrees with typeMask, leafType and tableType for every word',
    check(format, budget) {
      for (const level of levelsOf(format)) {
        forAll(anyWord(format, level), budget, (w) => kindIs('kind.mask', format, w, level, kindByNumbers(format, big(w), level)));
      }
    },
  },
  {
    name: 'kind.zero',
    sentence: 'the zero word is absent at every level',
    check(format) {
      for (const level of levelsOf(format)) {
        kindIs('kind.zero', format, { lo: 0, hi: 0 }, level, ENTRY.zero);
        ensure(
          'kind.zero',
          format.numbers.leafType[levelIndex(level)] !== 0,
          `leafType at level ${level} is 0, which makes the zero word a leaf`,
        );
        ensure(
          'kind.zero',
          format.numbers.tableType[levelIndex(level)] !== 0,
          `tableType at level ${level} is 0, which makes the zero word a table`,
        );
      }
    },
  },
  {
    name: 'kind.levels',
    sentence: 'level 3 has leaves and no tables, every level above has tables, and a leaf is no table',
    check(format) {
      const { leafType, tableType, leafOaLo, leafOaHi } = format.numbers;
      ensure('kind.levels', leafType[4] !== -1 && tableType[4] === -1, 'level 3 has leaves and no tables');
      for (const level of levelsOf(format).filter((each) => each < 3)) {
        ensure('kind.levels', tableType[levelIndex(level)] !== -1, `level ${level} has no tables`);
        ensure(
          'kind.levels',
          tableType[levelIndex(level)] !== leafType[levelIndex(level)],
          `leaf and table are the same at level ${level}`,
        );
      }
      for (const level of LEVELS) {
        const none = leafType[levelIndex(level)] === -1;
        const bits = (leafOaLo[levelIndex(level)] | leafOaHi[levelIndex(level)]) !== 0;
        ensure('kind.levels', none || bits, `leaves of level ${level} have no output-address bits`);
      }
    },
  },
  {
    name: 'kind.encode-leaf',
    sentence: 'encodeLeaf gives a leaf where the level has leaves and refuses elsewhere',
    check(format, budget) {
      for (const level of levelsOf(format)) {
        if (leafLevels(format).includes(level)) {
          forAll(legalLeaves(format, level), budget, ({ word, bits }) => {
            kindIs('kind.encode-leaf', format, bits, level, ENTRY.leaf);
            kindIs('kind.encode-leaf', format, word, level, ENTRY.leaf);
          });
          continue;
        }
        const outcome = format.encodeLeaf({ attrIndex: 0 }, level);
        ensure(
          'kind.encode-leaf',
          outcome.kind !== 'done',
          `encodeLeaf at level ${level}, which has no leaves (${levelShift(format.geometry.granule, level)} bits), is done`,
        );
        refusalForm(outcome, 'attributes');
      }
    },
  },
  {
    name: 'kind.encode-table',
    sentence: 'encodeTable gives a table at every level above 3',
    check(format) {
      const bits = valueOf('kind.encode-table', format.encodeTable(), 'encodeTable()');
      const oa = valueOf(
        'kind.encode-table',
        format.encodeOutput(2 ** format.geometry.pageShift, format.geometry.pageShift),
        'encodeOutput of a page',
      );
      for (const level of levelsOf(format).filter((each) => each < 3)) {
        kindIs('kind.encode-table', format, bits, level, ENTRY.table);
        kindIs('kind.encode-table', format, or(bits, oa), level, ENTRY.table);
      }
    },
  },
];
