import fc from 'fast-check';
import { levelIndex, type Format, type Words } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { outputBits, outputs } from '../arbitraries/addresses.js';
import { legalAttributes } from '../arbitraries/attributes.js';
import { forAll, type Budget } from '../law.js';
import { leafLevels, levelsOf, or, valueOf } from '../words.js';
import { READ, WalkBench, type Mapped, type WalkerSubject } from './bench.js';

/** A law of walkers. `check` throws under the name of the assertion that does not hold. */
export interface WalkerLaw {
  readonly name: string;
  readonly sentence: string;
  readonly check: (subject: WalkerSubject, budget: Budget) => void;
}

const spanOf = (format: Format, level: Level): number => 2 ** levelShift(format.geometry.granule, level);
const limitOf = (format: Format): number => 2 ** format.geometry.iaBits;
const pageOf = (format: Format): number => 2 ** format.geometry.pageShift;

/** Levels with leaves that are not larger than the whole range. */
const sizes = (format: Format): readonly Level[] => leafLevels(format).filter((level) => spanOf(format, level) <= limitOf(format));

/** Leaves alone, nothing that spans several. */
const single = (format: Format): fc.Arbitrary<Mapped['request']> => legalAttributes(format).map((each) => ({ ...each, contiguous: false }));

/** One leaf of any level: at the first, the last or any place, of any output and attributes. */
function oneLeaf(format: Format): fc.Arbitrary<Mapped> {
  return fc.constantFrom(...sizes(format)).chain((level) => {
    const size = spanOf(format, level);
    const last = limitOf(format) / size - 1;
    const place = fc.oneof(fc.constantFrom(0, last), fc.bigInt({ min: 0n, max: BigInt(last) }).map(Number));
    return fc
      .record({ place, output: outputs(format, levelShift(format.geometry.granule, level)), request: single(format) })
      .map(({ place: at, output, request }) => ({ ia: at * size, size, output, request }));
  });
}

/** First and last byte and one in the middle are found; the bytes beside are not. */
function aroundLeaf(subject: WalkerSubject, mapped: Mapped): void {
  const bench = new WalkBench(subject);
  bench.map(mapped);
  const end = mapped.ia + mapped.size;
  for (const ia of [mapped.ia, mapped.ia + 1, mapped.ia + mapped.size / 2 + 8, end - 1]) bench.finds(mapped, ia);
  if (mapped.ia > 0) bench.misses(mapped.ia - 1);
  if (end < limitOf(subject.format)) bench.misses(end);
}

/** Neighbours in one table with outputs of their own, found by their first and last bytes. */
function neighbours(subject: WalkerSubject, all: readonly Pick<Mapped, 'output' | 'request'>[], from: number): void {
  const { format } = subject;
  const bench = new WalkBench(subject);
  const size = pageOf(format);
  const count = Math.min(all.length, limitOf(format) / size);
  const start = Math.min(from * size, limitOf(format) - count * size);
  const mapped = all.slice(0, count).map((each, i): Mapped => ({ ...each, ia: start + i * size, size }));
  for (const each of mapped) bench.map(each);
  for (const each of mapped) {
    bench.finds(each, each.ia);
    bench.finds(each, each.ia + size - 1);
  }
}

/** One page under each index bit of the root, and the root's last entry: concatenated entry tables are one table. */
function everyRootBit(subject: WalkerSubject): void {
  const { format } = subject;
  const { startLevel, rootEntries } = format.geometry;
  const bits = Math.log2(rootEntries);
  const indexes = new Set([0, ...Array.from({ length: bits }, (_, bit) => 2 ** bit), rootEntries - 1]);
  const bench = new WalkBench(subject, 4 * (bits + 2));
  const size = pageOf(format);
  const mapped = [...indexes].map((index, i): Mapped => ({ ia: index * spanOf(format, startLevel), size, output: (i + 1) * size, request: {} }));
  for (const each of mapped) bench.map(each);
  for (const each of mapped) bench.finds(each, each.ia + size - 1);
}

/** Every bit that an output address can have, at every level. */
function everyOutputBit(subject: WalkerSubject): void {
  const { format } = subject;
  for (const level of sizes(format)) {
    const shift = levelShift(format.geometry.granule, level);
    for (let bit = shift; bit < outputBits(format); bit++) {
      const bench = new WalkBench(subject, 6);
      const mapped: Mapped = { ia: 0, size: spanOf(format, level), output: 2 ** bit, request: {} };
      bench.map(mapped);
      bench.finds(mapped, mapped.size - 1);
    }
  }
}

/** One page is mapped; the neighbour at each level is missed at that level. */
function everyMissingLevel(subject: WalkerSubject): void {
  const { format } = subject;
  const bench = new WalkBench(subject);
  bench.map({ ia: 0, size: pageOf(format), output: 0, request: {} });
  for (const level of levelsOf(format)) {
    const span = spanOf(format, level);
    if (span < limitOf(format)) bench.misses(span);
  }
}

function outside(subject: WalkerSubject): void {
  const { format, outsideLevel } = subject;
  const bench = new WalkBench(subject);
  const last = limitOf(format) - pageOf(format);
  bench.misses(0);
  bench.misses(limitOf(format) - 1);
  const mapped = [0, last].map((ia): Mapped => ({ ia, size: pageOf(format), output: pageOf(format), request: {} }));
  for (const each of mapped) bench.map(each);
  if (outsideLevel === undefined) return;
  for (const access of bench.accesses()) bench.faults(format.upper ? -1 : limitOf(format), access, 'translation', outsideLevel);
}

/** AF = 0 is an access flag fault of every access, also of one that is not permitted; what may not be written is a permission fault of writes. */
function flagsAndRights(subject: WalkerSubject): void {
  const { format } = subject;
  for (const level of sizes(format)) {
    for (const request of [{ af: false }, { af: false, write: false, px: false, ux: false }, { write: false }, { write: true }, { px: true, ux: true }]) {
      const bench = new WalkBench(subject, 6);
      const size = spanOf(format, level);
      const mapped: Mapped = { ia: limitOf(format) - size, size, output: 0, request: encodable(format, request) };
      bench.map(mapped);
      bench.finds(mapped, mapped.ia);
    }
  }
}

/** What the format accepts of a request. */
function encodable(format: Format, request: Mapped['request']): Mapped['request'] {
  return Object.entries(request).reduce<Mapped['request']>((sum, [name, value]) => {
    const next = { ...sum, [name]: value };
    return format.encodeLeaf(next, 3).kind === 'done' ? next : sum;
  }, {});
}

/** Annotations of pages, as a core writes them, and of every level above. */
function annotated(subject: WalkerSubject): void {
  const { format } = subject;
  const size = pageOf(format);
  for (const level of levelsOf(format)) {
    const bench = new WalkBench(subject);
    for (const ia of [0, limitOf(format) - size]) valueOf('walk.core', bench.table.annotate(ia, size, 1, 0x1234n), 'annotate');
    const note = valueOf('walk.format', format.encodeAnnotation(2, 1n), 'encodeAnnotation');
    bench.patch(0, level, () => note);
    for (const ia of [0, size - 1, limitOf(format) - 1]) bench.misses(ia);
  }
}

/** What a core does to a mapping is found at once: hardware without a TLB remembers nothing. */
function changes(subject: WalkerSubject): void {
  const { format } = subject;
  const level = sizes(format).findLast((each) => each < 3) ?? 3;
  const bench = new WalkBench(subject);
  const size = spanOf(format, level);
  const mapped: Mapped = { ia: 0, size, output: size, request: { write: true, af: true } };
  const { table } = bench;
  const ends = [0, size - 1];
  const found = (attributes: Parameters<WalkBench['finds']>[2] = {}): void => ends.forEach((ia) => bench.finds(mapped, ia, attributes));
  bench.map(mapped);
  found();
  valueOf('walk.core', table.writeProtect(0, size), 'write-protect');
  found({ write: false });
  valueOf('walk.core', table.relaxPermissions(0, { write: true }), 'relax');
  bench.finds(mapped, 0);
  valueOf('walk.core', table.age(0, size, true), 'age');
  bench.finds(mapped, 0, { af: false });
  valueOf('walk.core', table.makeYoung(0), 'make young');
  bench.finds(mapped, 0);
  if (level < 3) valueOf('walk.core', table.split(0, size), 'split');
  bench.finds(mapped, 0);
  valueOf('walk.core', table.unmap(0, size), 'unmap');
  ends.forEach((ia) => bench.misses(ia));
}

/** Limits that a stage-1 table puts on the leaves below: APTable[1] takes writing, APTable[0] takes EL0's access, XN bits take execution. */
function hierarchical(subject: WalkerSubject): void {
  const { format, config } = subject;
  const { startLevel } = format.geometry;
  if (format.stage === 2 || startLevel === 3) return;
  const request = encodable(format, { write: true, px: true, ux: true, user: true });
  for (const limit of [{ apTable: 2 }, { apTable: 1 }, { pxnTable: true }, { uxnTable: true }] as const) {
    const table = format.encodeTable(limit);
    if (table.kind !== 'done') continue;
    const bench = new WalkBench(subject);
    const mapped: Mapped = { ia: 0, size: pageOf(format), output: 0, request };
    bench.map(mapped);
    bench.patch(0, startLevel, (lo, hi) => or({ lo, hi }, table.value));
    bench.finds(mapped, 0, config.hpd === true ? {} : limited(format, limit));
  }
}

function limited(format: Format, limit: Parameters<Format['encodeTable']>[0] = {}): NonNullable<Parameters<WalkBench['finds']>[2]> {
  if (limit.apTable === 2) return { write: false };
  if (limit.apTable === 1) return { user: false };
  // One XN bit for the one level that there is.
  const one = format.encodeLeaf({ px: true, ux: false }, 3).kind !== 'done';
  if (limit.pxnTable === true) return { px: false };
  return one ? { px: false, ux: false } : { ux: false };
}

/** The table of the second level lies where there is no memory. */
function leavesMemory(subject: WalkerSubject): void {
  const { format } = subject;
  const { startLevel, pageShift } = format.geometry;
  if (startLevel === 3) return;
  const nowhere = 2 ** (outputBits(format) - 1);
  const table = valueOf('walk.format', format.encodeTable(), 'encodeTable');
  const address = valueOf('walk.format', format.encodeOutput(nowhere, pageShift), 'encodeOutput');
  const bench = new WalkBench(subject);
  bench.patch(0, startLevel, () => or(table, address));
  for (const access of bench.accesses()) bench.faults(0, access, 'external-abort-on-walk', (startLevel + 1) as Level);
}

/** The bit of a leaf or table above the output size, where descriptors have one. */
function beyondOutput(format: Format, level: Level, leaf: boolean): Words | undefined {
  const { oaBits } = format.geometry;
  const { oaPlainBits, leafOaHi, tableOaHi } = format.numbers;
  if (oaBits >= oaPlainBits || oaBits < 32) return undefined;
  const hi = 2 ** (oaBits - 32);
  const has = ((leaf ? leafOaHi[levelIndex(level)] : tableOaHi) & hi) !== 0;
  return has ? { lo: 0, hi } : undefined;
}

function addressSize(subject: WalkerSubject): void {
  const { format } = subject;
  const { startLevel } = format.geometry;
  for (const level of new Set<Level>([startLevel, 3])) {
    const bit = beyondOutput(format, level, level === 3);
    if (bit === undefined) continue;
    const bench = new WalkBench(subject);
    bench.map({ ia: 0, size: pageOf(format), output: 0, request: { write: true } });
    bench.patch(0, level, (lo, hi) => or({ lo, hi }, bit));
    bench.faults(0, READ, 'address-size', level);
  }
}

/** Every law of `translationConformance`. */
export const walkerLaws: readonly WalkerLaw[] = [
  {
    name: 'walk.leaves',
    sentence: 'what is mapped is found with its address, rights and type, from the first byte to the last and not beside',
    check: (subject, budget) => forAll(oneLeaf(subject.format), budget, (mapped) => aroundLeaf(subject, mapped)),
  },
  {
    name: 'walk.neighbours',
    sentence: 'neighbours in one table are told apart',
    check: (subject, budget) => {
      const each = fc.record({ output: outputs(subject.format, subject.format.geometry.pageShift), request: single(subject.format) });
      const all = fc.record({ pages: fc.array(each, { minLength: 2, maxLength: 6 }), from: fc.integer({ min: 0, max: 2 ** 14 }) });
      forAll(all, budget, ({ pages, from }) => neighbours(subject, pages, from));
    },
  },
  { name: 'walk.root', sentence: 'every index bit of the root counts, over all concatenated tables', check: everyRootBit },
  { name: 'walk.outputs', sentence: 'every bit of an output address arrives', check: everyOutputBit },
  { name: 'walk.missing', sentence: 'what is not mapped is a translation fault of the level at which the walk ends', check: everyMissingLevel },
  { name: 'walk.outside', sentence: 'an address outside of the range is a translation fault', check: outside },
  { name: 'walk.flags', sentence: 'an access flag fault comes before a permission fault, and read-only leaves are not written', check: flagsAndRights },
  { name: 'walk.annotated', sentence: 'an annotated entry is a translation fault', check: annotated },
  { name: 'walk.changes', sentence: 'a change of the tables is seen by the next walk', check: changes },
  { name: 'walk.hierarchical', sentence: 'a stage-1 table limits the leaves below it', check: hierarchical },
  { name: 'walk.memory', sentence: 'a table outside of memory is an external abort on the walk', check: leavesMemory },
  { name: 'walk.sizes', sentence: 'a descriptor with an address beyond the output size is an address size fault', check: addressSize },
];
