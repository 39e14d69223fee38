import { levelIndex, type Format, type Words } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { outputs } from '../arbitraries/addresses.js';
import { ensure, forAll } from '../law.js';
import { anyWord, big, leafLevels, mask, or, text, valueOf } from '../words.js';
import { differing, legalLeaves } from './leaves.js';
import { refusalForm } from './refusals.js';
import type { FormatLaw } from './suite.js';

/** Output address of a word as the numbers define it, in bigint. */
function outputByNumbers(format: Format, word: bigint, plain: Readonly<Words>): bigint {
  const { oaPlainBits, oaTopBits, oaTopLsb } = format.numbers;
  const top = (word >> BigInt(oaTopLsb)) & ((1n << BigInt(oaTopBits)) - 1n);
  return (word & big(plain)) | (top << BigInt(oaPlainBits));
}

const leafMask = (format: Format, level: Level): Words =>
  mask(format.numbers.leafOaLo[levelIndex(level)], format.numbers.leafOaHi[levelIndex(level)]);

const tableMask = (format: Format): Words => mask(format.numbers.tableOaLo, format.numbers.tableOaHi);

/** All bits of a leaf that hold an address. */
export function addressBits(format: Format, plain: Readonly<Words>): bigint {
  const { oaTopBits, oaTopLsb } = format.numbers;
  return big(plain) | (((1n << BigInt(oaTopBits)) - 1n) << BigInt(oaTopLsb));
}

function attributeBits(format: Format): readonly (readonly [string, bigint])[] {
  const n = format.numbers;
  return [
    ['af', big(mask(n.afLo, n.afHi))],
    ['writeProtect', big(mask(n.writeProtect.loClear | n.writeProtect.loSet, n.writeProtect.hiClear | n.writeProtect.hiSet))],
    ['writable', big(mask(n.writableLoMask, n.writableHiMask))],
    ['software', big(mask(n.softwareLo, n.softwareHi))],
    ['permission', big(mask(n.permissionLo, n.permissionHi))],
    ['contiguous', big(mask(n.contiguousLo, n.contiguousHi))],
  ];
}

function noOverlap(format: Format): void {
  for (const level of leafLevels(format)) {
    const address = addressBits(format, leafMask(format, level));
    const named = [...attributeBits(format), ['typeMask', BigInt(format.numbers.typeMask[levelIndex(level)] >>> 0)] as const];
    for (const [name, bits] of named) {
      ensure(
        'address.no-overlap',
        (bits & address) === 0n,
        () => `${name} ${hex(bits)} and the address ${hex(address)} of a leaf of level ${level} share bits`,
      );
    }
    const low = (1n << BigInt(levelShift(format.geometry.granule, level))) - 1n;
    ensure(
      'address.no-overlap',
      (big(leafMask(format, level)) & low) === 0n,
      `plain address bits at level ${level} start above the bits below its span`,
    );
  }
}

function refusals(format: Format): void {
  const { oaPlainBits, oaTopBits } = format.numbers;
  const { pageShift } = format.geometry;
  for (const oa of [2 ** (oaPlainBits + oaTopBits), -(2 ** pageShift)]) {
    const outcome = format.encodeOutput(oa, pageShift);
    ensure('address.refused', outcome.kind !== 'done', `encodeOutput of ${oa} is done`);
    refusalForm(outcome, 'oa');
  }
  for (const shift of [pageShift, pageShift + 4]) {
    const outcome = format.encodeOutput(2 ** (shift - 1), shift);
    ensure('address.refused', outcome.kind !== 'done', `encodeOutput of ${hex(2 ** (shift - 1))} aligned to 2^${shift} is done`);
    refusalForm(outcome, 'oa');
  }
}

export const addressLaws: readonly FormatLaw[] = [
  {
    name: 'address.leaf-round-trip',
    sentence: 'a leaf gives back the output address that was put in, up to the last bit, and the same attributes',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        forAll(legalLeaves(format, level), budget, ({ oa, bits, word }) => {
          const actual = format.leafOutput(word.lo, word.hi, level);
          ensure(
            'address.leaf-round-trip',
            actual === oa,
            () => `${hex(oa)} reads back as ${hex(actual)} from ${text(word)} at level ${level}`,
          );
          const wrong = differing(format.decodeLeaf(bits.lo, bits.hi, level), format.decodeLeaf(word.lo, word.hi, level));
          ensure(
            'address.leaf-round-trip',
            wrong.length === 0,
            () => `the address ${hex(oa)} changes ${wrong.join(', ')} at level ${level}`,
          );
        });
      }
    },
  },
  {
    name: 'address.table-round-trip',
    sentence: 'a table descriptor gives back the address that was put in, up to the last bit',
    check(format, budget) {
      const { pageShift } = format.geometry;
      const bits = valueOf('address.table-round-trip', format.encodeTable(), 'encodeTable()');
      forAll(outputs(format, pageShift), budget, (oa) => {
        const word = or(bits, valueOf('address.table-round-trip', format.encodeOutput(oa, pageShift), `encodeOutput of ${hex(oa)}`));
        const actual = format.tableOutput(word.lo, word.hi);
        ensure('address.table-round-trip', actual === oa, () => `${hex(oa)} reads back as ${hex(actual)} from ${text(word)}`);
      });
    },
  },
  {
    name: 'address.numbers',
    sentence: 'leafOutput and tableOutput agree with the numbers for every word',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        forAll(anyWord(format, level), budget, (w) => {
          const expected = outputByNumbers(format, big(w), leafMask(format, level));
          ensure(
            'address.numbers',
            BigInt(format.leafOutput(w.lo, w.hi, level)) === expected,
            () => `leafOutput(${text(w)}) at level ${level} must be ${hex(expected)}`,
          );
        });
      }
      forAll(anyWord(format, 3), budget, (w) => {
        const expected = outputByNumbers(format, big(w), tableMask(format));
        ensure(
          'address.numbers',
          BigInt(format.tableOutput(w.lo, w.hi)) === expected,
          () => `tableOutput(${text(w)}) must be ${hex(expected)}`,
        );
      });
    },
  },
  {
    name: 'address.no-overlap',
    sentence: 'no bit belongs to an address and to an attribute',
    check(format, budget) {
      noOverlap(format);
      for (const level of leafLevels(format)) {
        forAll(legalLeaves(format, level), budget, ({ bits }) => {
          ensure(
            'address.no-overlap',
            (big(bits) & addressBits(format, leafMask(format, level))) === 0n,
            () => `encodeLeaf sets address bits: ${text(bits)} at level ${level}`,
          );
        });
      }
    },
  },
  { name: 'address.refused', sentence: 'addresses that are too large, negative or not aligned are refused', check: refusals },
];
