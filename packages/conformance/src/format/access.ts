import fc from 'fast-check';
import type { Attributes, Format, Words } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { ensure, forAll, type Budget } from '../law.js';
import { big, changed, flip, leafLevels, mask, text, valueOf } from '../words.js';
import { differing, legalLeaves, type LeafCase } from './leaves.js';
import { refusalForm } from './refusals.js';
import type { FormatLaw } from './suite.js';

const decode = (format: Format, w: Readonly<Words>, level: Level): Attributes => format.decodeLeaf(w.lo, w.hi, level);

function forLeaves(format: Format, budget: Budget, law: (leaf: LeafCase, level: Level) => void): void {
  for (const level of leafLevels(format)) {
    forAll(legalLeaves(format, level), budget, (leaf) => law(leaf, level));
  }
}

/** Only these fields differ. */
function onlyDiffers(
  assertion: string,
  format: Format,
  level: Level,
  before: Words,
  after: Words,
  allowed: readonly (keyof Attributes)[],
): void {
  const others = differing(decode(format, before, level), decode(format, after, level)).filter(
    (name) => !(allowed as readonly string[]).includes(name),
  );
  ensure(assertion, others.length === 0, () => `${text(before)} -> ${text(after)} at level ${level} also changes ${others.join(', ')}`);
  const oa = format.leafOutput(before.lo, before.hi, level) === format.leafOutput(after.lo, after.hi, level);
  ensure(assertion, oa, () => `${text(before)} -> ${text(after)} at level ${level} changes the output address`);
}

function writable(format: Format, w: Readonly<Words>): boolean {
  const n = format.numbers;
  return (w.lo & n.writableLoMask) >>> 0 === n.writableLo >>> 0 && (w.hi & n.writableHiMask) >>> 0 === n.writableHi >>> 0;
}

function writeProtect(format: Format, { word }: LeafCase, level: Level): void {
  const after = changed(word, format.numbers.writeProtect);
  const { write, dbm } = decode(format, after, level);
  ensure(
    'access.write-protect',
    !write,
    () => `${text(word)} write-protected is ${text(after)}, which decodes as writable at level ${level}`,
  );
  ensure(
    'access.write-protect',
    !dbm || !writable(format, after),
    () => `${text(after)} is write-protected and hardware may still make it writable`,
  );
  onlyDiffers('access.write-protect', format, level, word, after, ['write', 'dbm']);
}

function bitIsField(format: Format, assertion: string, bits: Words, name: 'af' | 'contiguous', { word }: LeafCase, level: Level): void {
  const set = (big(word) & big(bits)) !== 0n;
  ensure(
    assertion,
    set === decode(format, word, level)[name],
    () => `the bit is ${set ? 1 : 0} in ${text(word)} and ${name} decodes otherwise at level ${level}`,
  );
  const after = flip(word, bits);
  ensure(
    assertion,
    decode(format, after, level)[name] !== set,
    () => `flipping the bit in ${text(word)} does not change ${name} at level ${level}`,
  );
  onlyDiffers(assertion, format, level, word, after, [name]);
}

const oneBit = (w: Words): boolean => big(w) !== 0n && (big(w) & (big(w) - 1n)) === 0n;

/** The mask's bits, one by one. */
function singleBits(w: Words): readonly Words[] {
  return Array.from({ length: 64 }, (_, i) => (i < 32 ? mask(2 ** i, 0) : mask(0, 2 ** (i - 32)))).filter(
    (bit) => (big(bit) & big(w)) !== 0n,
  );
}

const additions = fc.record(
  { read: fc.constant(true), write: fc.constant(true), px: fc.boolean(), ux: fc.boolean() },
  { requiredKeys: [] },
);

function relaxAdds(format: Format, { word }: LeafCase, add: Parameters<Format['relax']>[0], level: Level): void {
  const outcome = format.relax(add);
  if (outcome.kind !== 'done') {
    refusalForm(outcome, 'relax');
    return;
  }
  const after = changed(word, outcome.value);
  const a = decode(format, word, level);
  const b = decode(format, after, level);
  for (const name of ['read', 'write'] as const) {
    const expected = a[name] || add[name] === true;
    ensure(
      'relax.adds',
      b[name] === expected,
      () => `${name} of ${text(word)} is ${String(b[name])} after relax and must be ${String(expected)}`,
    );
  }
  for (const name of ['px', 'ux'] as const) {
    if (add[name] !== undefined) {
      ensure(
        'relax.adds',
        b[name] === add[name],
        () => `${name} of ${text(word)} is ${String(b[name])} after relax to ${String(add[name])}`,
      );
    }
  }
  const execute = add.px !== undefined || add.ux !== undefined;
  onlyDiffers('relax.only', format, level, word, after, execute ? ['read', 'write', 'px', 'ux'] : ['read', 'write']);
}

export const accessLaws: readonly FormatLaw[] = [
  {
    name: 'access.write-protect',
    sentence: 'writeProtect takes away the right to write and nothing else',
    check: (format, budget) => forLeaves(format, budget, (leaf, level) => writeProtect(format, leaf, level)),
  },
  {
    name: 'access.writable',
    sentence: 'a leaf that may be written matches the writable bits',
    check: (format, budget) =>
      forLeaves(format, budget, ({ word }, level) => {
        const { write, dbm } = decode(format, word, level);
        ensure(
          'access.writable',
          !write || writable(format, word),
          () => `${text(word)} may be written at level ${level} and does not match`,
        );
        ensure(
          'access.writable',
          write || dbm || !writable(format, word),
          () => `${text(word)} may not be written at level ${level} and matches`,
        );
      }),
  },
  {
    name: 'access.af',
    sentence: 'the access flag is one bit, and decode.af is that bit',
    check(format, budget) {
      const bits = mask(format.numbers.afLo, format.numbers.afHi);
      ensure('access.af', oneBit(bits), `the access flag is ${text(bits)} and must be one bit`);
      forLeaves(format, budget, (leaf, level) => bitIsField(format, 'access.af', bits, 'af', leaf, level));
    },
  },
  {
    name: 'access.contiguous',
    sentence: 'the contiguous bit, where there is one, is decode.contiguous',
    check(format, budget) {
      const bits = mask(format.numbers.contiguousLo, format.numbers.contiguousHi);
      if (big(bits) === 0n) {
        return;
      }
      ensure('access.contiguous', oneBit(bits), `the contiguous bit is ${text(bits)} and must be one bit`);
      forLeaves(format, budget, (leaf, level) => bitIsField(format, 'access.contiguous', bits, 'contiguous', leaf, level));
    },
  },
  {
    name: 'access.software',
    sentence: 'each software bit changes decode.software and nothing else',
    check(format, budget) {
      const bits = singleBits(mask(format.numbers.softwareLo, format.numbers.softwareHi));
      forLeaves(format, budget, ({ word }, level) => {
        for (const bit of bits) {
          const after = flip(word, bit);
          ensure(
            'access.software',
            decode(format, after, level).software !== decode(format, word, level).software,
            () => `bit ${text(bit)} does not change software`,
          );
          onlyDiffers('access.software', format, level, word, after, ['software']);
        }
      });
    },
  },
  {
    name: 'access.permission',
    sentence: 'permission bits change permissions and nothing else, and hold all of them',
    check(format, budget) {
      const bits = mask(format.numbers.permissionLo, format.numbers.permissionHi);
      forLeaves(format, budget, ({ word }, level) => {
        for (const bit of singleBits(bits)) {
          onlyDiffers('access.permission', format, level, word, flip(word, bit), ['read', 'write', 'px', 'ux', 'user', 'dbm']);
        }
        const cleared = { lo: (word.lo & ~bits.lo) >>> 0, hi: (word.hi & ~bits.hi) >>> 0 };
        const set = mask(word.lo | bits.lo, word.hi | bits.hi);
        const differs = differing(decode(format, cleared, level), decode(format, set, level));
        ensure('access.permission', differs.includes('write'), 'the permission bits do not hold the right to write');
      });
    },
  },
  {
    name: 'relax.adds',
    sentence: 'relax adds what it names, takes no right to read or write away, and changes nothing else',
    check(format, budget) {
      for (const level of leafLevels(format)) {
        forAll(fc.tuple(legalLeaves(format, level), additions), budget, ([leaf, add]) => relaxAdds(format, leaf, add, level));
      }
    },
  },
  {
    name: 'relax.nothing',
    sentence: 'relax of nothing changes nothing',
    check(format) {
      const change = valueOf('relax.nothing', format.relax({}), 'relax({})');
      ensure('relax.nothing', (change.loClear | change.loSet | change.hiClear | change.hiSet) === 0, 'relax({}) changes bits');
    },
  },
];
