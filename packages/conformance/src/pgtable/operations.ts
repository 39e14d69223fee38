import type { Change, Format, MapOptions, Words } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { changed } from '../words.js';
import { endOf, meets, pieces, sameWords, spanOf, type Entry, type LeafEntry, type Range, type State } from './state.js';

/** More tables are needed than the pool ever had: the model stops building. */
export class TooManyTables extends Error {}

export interface MapRequest {
  readonly range: Range;
  readonly output: number;
  /** Attribute bits without type and address. */
  readonly bits: Readonly<Words>;
  readonly options: MapOptions;
}

/** The first leaf of the range that goes elsewhere than the request. */
export function conflict(format: Format, state: State, { range, output }: MapRequest): LeafEntry | undefined {
  return state.find(
    (each): each is LeafEntry => each.kind === 'leaf' && meets(format, each, range) && each.output - each.start !== output - range.start,
  );
}

/** Maps by the largest leaves that fit; a leaf that already says what is wanted stays, whatever its level. */
export function mapped(format: Format, state: State, request: MapRequest, limit: number): State {
  const { range, output, bits, options } = request;
  const offset = output - range.start;
  const minLevel = options.pages === true ? 3 : options.minBlockLevel ?? format.geometry.startLevel;
  const result: Entry[] = [];
  let tables = 0;
  const place = (level: Level, base: number, there: State): void => {
    const span = spanOf(format, level);
    if (base >= range.end || base + span <= range.start) {
      result.push(...there);
      return;
    }
    const covered = base >= range.start && base + span <= range.end;
    if (covered && level >= minLevel && format.numbers.leafType[levelIndex(level)] !== -1 && (base + offset) % span === 0) {
      result.push({ kind: 'leaf', start: base, level, output: base + offset, bits });
      return;
    }
    const block = there.length === 1 && there[0].kind === 'leaf' && there[0].level === level ? there[0] : undefined;
    if (block?.output === base + offset && sameWords(block.bits, bits)) {
      result.push(block);
      return;
    }
    const goes = block !== undefined && covered && block.output !== base + offset;
    below(level, base, block === undefined ? there : goes ? [] : pieces(format, block));
  };
  const below = (level: Level, base: number, there: State): void => {
    if (++tables > limit) {
      throw new TooManyTables();
    }
    descend((level + 1) as Level, base, 2 ** format.geometry.stride, there);
  };
  const descend = (level: Level, base: number, count: number, there: State): void => {
    const span = spanOf(format, level);
    const first = Math.max(0, Math.floor((range.start - base) / span));
    const last = Math.min(count, Math.ceil((range.end - base) / span));
    result.push(...there.filter((each) => each.start < base + first * span));
    for (let i = first; i < last; i++) {
      const start = base + i * span;
      place(level, start, there.length === 0 ? there : between(there, start, start + span));
    }
    result.push(...there.filter((each) => each.start >= base + last * span));
  };
  descend(format.geometry.startLevel, 0, format.geometry.rootEntries, state);
  return result;
}

/** The entries that start in [start, end); `state` is sorted. */
function between(state: State, start: number, end: number): State {
  const at = (address: number): number => {
    let low = 0;
    let high = state.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (state[middle].start < address) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  };
  return state.slice(at(start), at(end));
}

/** Everything of the range goes; what sticks out of it stays, in the largest pieces of itself. */
export function unmapped(format: Format, state: State, range: Range): State {
  const outside = (entry: Entry): readonly Entry[] => {
    if (!meets(format, entry, range)) {
      return [entry];
    }
    const inside = entry.start >= range.start && endOf(format, entry) <= range.end;
    return inside || entry.kind === 'note' ? [] : pieces(format, entry).flatMap(outside);
  };
  return state.flatMap(outside);
}

export function annotated(format: Format, state: State, range: Range, note: Readonly<Words>, limit: number): State {
  const page = spanOf(format, 3);
  const pages = (range.end - range.start) / page;
  if (pages > limit * 2 ** format.geometry.stride) {
    throw new TooManyTables();
  }
  const notes = Array.from({ length: pages }, (_, i): Entry => ({ kind: 'note', start: range.start + i * page, level: 3, bits: note }));
  return [...unmapped(format, state, range), ...notes].sort((a, b) => a.start - b.start);
}

/** Every leaf that meets the range changes, whole. */
export function withChange(format: Format, state: State, range: Range, change: Change): State {
  return state.map((each) => (each.kind === 'leaf' && meets(format, each, range) ? { ...each, bits: changed(each.bits, change) } : each));
}

/** Blocks that meet the range become leaves of `toLevel`, level by level where they meet it. */
export function splitIn(format: Format, state: State, range: Range, toLevel: Level, limit: number): State {
  let tables = 0;
  const cut = (entry: Entry): readonly Entry[] => {
    if (entry.kind === 'note' || entry.level >= toLevel || !meets(format, entry, range)) {
      return [entry];
    }
    if (++tables > limit) {
      throw new TooManyTables();
    }
    return pieces(format, entry).flatMap(cut);
  };
  return state.flatMap(cut);
}

/**
 * Whole tables of leaves with equal bits and outputs in sequence become a block, deepest first.
 *
 * @param takes whether the table whose span is [start, end) is looked at
 */
export function mergedIn(format: Format, state: State, takes: (table: Range) => boolean): State {
  const { startLevel, stride } = format.geometry;
  let result = state;
  for (let level = 3 as Level; level > startLevel; level--) {
    const parent = (level - 1) as Level;
    if (format.numbers.leafType[levelIndex(parent)] !== -1) {
      result = mergeLevel(format, result, level, 2 ** stride, takes);
    }
  }
  return result;
}

function mergeLevel(format: Format, state: State, level: Level, entries: number, takes: (table: Range) => boolean): State {
  const parent = (level - 1) as Level;
  const span = spanOf(format, parent);
  const result: Entry[] = [];
  for (let i = 0; i < state.length; ) {
    const first = state[i];
    const last = i + entries - 1;
    const inOrder =
      first.kind === 'leaf' && first.level === level && first.start % span === 0 && first.output % span === 0 && last < state.length;
    if (inOrder && takes({ start: first.start, end: first.start + span }) && uniform(format, state.slice(i, last + 1))) {
      result.push({ ...first, level: parent });
      i = last + 1;
    } else {
      result.push(first);
      i++;
    }
  }
  return result;
}

/** Leaves of one level, one after the other, with equal bits and outputs in sequence. */
function uniform(format: Format, group: State): boolean {
  const first = group[0] as LeafEntry;
  const span = spanOf(format, first.level);
  return group.every(
    (each, i) =>
      each.kind === 'leaf' &&
      each.level === first.level &&
      each.start === first.start + i * span &&
      each.output === first.output + i * span &&
      sameWords(each.bits, first.bits),
  );
}
