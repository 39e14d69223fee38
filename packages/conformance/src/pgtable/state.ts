import { levelIndex, type Format, type Words } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { big, or } from '../words.js';

/** A leaf of the model: where it stands, where it goes, its attribute bits without type and address. */
export interface LeafEntry {
  readonly kind: 'leaf';
  readonly start: number;
  readonly level: Level;
  readonly output: number;
  readonly bits: Readonly<Words>;
}

/** An annotated page entry. */
export interface NoteEntry {
  readonly kind: 'note';
  readonly start: number;
  readonly level: 3;
  readonly bits: Readonly<Words>;
}

export type Entry = LeafEntry | NoteEntry;

/** What a table says: its non-zero entries that are no tables, sorted by address. Which tables exist follows from it. */
export type State = readonly Entry[];

export interface Range {
  readonly start: number;
  readonly end: number;
}

export const spanOf = (format: Format, level: Level): number => 2 ** levelShift(format.geometry.granule, level);

export const endOf = (format: Format, entry: Entry): number => entry.start + spanOf(format, entry.level);

export const meets = (format: Format, entry: Entry, range: Range): boolean => entry.start < range.end && endOf(format, entry) > range.start;

export const sameWords = (a: Readonly<Words>, b: Readonly<Words>): boolean => a.lo === b.lo && a.hi === b.hi;

/** Attribute bits of a leaf of any level: what encodeLeaf gives, without the type. */
export function typeless(format: Format, bits: Readonly<Words>, level: Level): Words {
  return { lo: (bits.lo & ~format.numbers.typeMask[levelIndex(level)]) >>> 0, hi: bits.hi };
}

/** The descriptor that an entry of the model must be. */
export function wordOf(format: Format, entry: Entry): Words {
  if (entry.kind === 'note') {
    return entry.bits;
  }
  const address = format.encodeOutput(entry.output, format.geometry.pageShift);
  if (address.kind !== 'done') {
    throw new Error(`the format cannot name ${String(entry.output)}, which the model maps`);
  }
  return or(or(entry.bits, address.value), { lo: format.numbers.leafType[levelIndex(entry.level)], hi: 0 });
}

/** The pieces of a leaf one level down. */
export function pieces(format: Format, leaf: LeafEntry): readonly LeafEntry[] {
  const level = (leaf.level + 1) as Level;
  const span = spanOf(format, level);
  return Array.from({ length: 2 ** format.geometry.stride }, (_, i) => ({
    ...leaf,
    level,
    start: leaf.start + i * span,
    output: leaf.output + i * span,
  }));
}

/** First addresses of the tables that a state needs, by level index; the entry tables are not among them. */
export function tablesOf(format: Format, state: State): readonly ReadonlySet<number>[] {
  const { startLevel } = format.geometry;
  const sets = Array.from({ length: 5 }, () => new Set<number>());
  for (let level = (startLevel + 1) as Level; level <= 3; level++) {
    const span = spanOf(format, (level - 1) as Level);
    let last = -1;
    for (const entry of state) {
      const base = Math.floor(entry.start / span) * span;
      if (entry.level >= level && base !== last) {
        last = base;
        sets[levelIndex(level)].add(base);
      }
    }
  }
  return sets;
}

export const countTables = (tables: readonly ReadonlySet<number>[]): number => tables.reduce((sum, each) => sum + each.size, 0);

/** How many tables of `after` are not in `before`. */
export function newTables(before: readonly ReadonlySet<number>[], after: readonly ReadonlySet<number>[]): number {
  return after.reduce((sum, each, i) => sum + [...each].filter((base) => !before[i].has(base)).length, 0);
}

export const showWords = (w: Readonly<Words>): string => `0x${big(w).toString(16).padStart(16, '0')}`;
