import type { Change, Format, Outcome, Words } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { Command } from './commands.js';
import { annotated, conflict, mapped, mergedIn, splitIn, TooManyTables, unmapped, withChange, type MapRequest } from './operations.js';
import { countTables, endOf, meets, spanOf, tablesOf, typeless, type LeafEntry, type Range, type State } from './state.js';

/** What an operation must come to. */
export type Expectation =
  /** Refused under an id that starts with one of these; nothing changes. */
  | { readonly type: 'refused'; readonly ids: readonly string[] }
  /** There is no leaf: refused, or retry; nothing changes. */
  | { readonly type: 'no-leaf' }
  | StatesExpected;

/**
 * Done, with one of these states (the first takes the fewest tables), unless the pool is exhausted. `undefined`: more tables than there
 * ever were.
 */
export interface StatesExpected {
  readonly type: 'states';
  readonly states: readonly (State | undefined)[];
  readonly answer?: (after: State) => unknown;
  /** The state may hold already, and the operation say so by `retry`. */
  readonly mayRetry?: boolean;
  /** Prepared and called off: answered as if it were done, and nothing changes. */
  readonly undone?: boolean;
}

const one = (state: State): Expectation => ({ type: 'states', states: [state] });

function attempt(build: () => State): State | undefined {
  try {
    return build();
  } catch (error) {
    if (error instanceof TooManyTables) {
      return undefined;
    }
    throw error;
  }
}

/** The range in pages: the offset of `ia` in its page is dropped first, then the end is rounded up; or why it is refused. */
function pagesOf(format: Format, ia: number, size: number): Range | readonly string[] {
  const page = spanOf(format, 3);
  if (!Number.isInteger(ia) || !Number.isInteger(size) || ia < 0 || size < 0) {
    return ['range.not-integer', 'range.beyond-ia'];
  }
  const start = Math.floor(ia / page) * page;
  const end = Math.ceil((start + size) / page) * page;
  const beyond = end > 2 ** format.geometry.iaBits || start >= 2 ** format.geometry.iaBits;
  const wrong = [...(size === 0 ? ['range.empty'] : []), ...(beyond ? ['range.beyond-ia'] : [])];
  return wrong.length > 0 ? wrong : { start, end };
}

const failed = (outcome: Outcome<unknown>): readonly string[] => (outcome.kind === 'done' ? [] : ['id' in outcome ? outcome.id : '']);

function expectMap(
  format: Format,
  state: State,
  command: Command & { readonly op: 'map' },
  pages: Range | readonly string[],
  limit: number,
): Expectation {
  const { output, attributes, options = {} } = command;
  const bits = format.encodeLeaf(attributes, 3);
  const range = 'start' in pages ? pages : undefined;
  const { pageShift } = format.geometry;
  const addresses = range === undefined ? [output] : [output, output + (range.end - range.start) - 2 ** pageShift];
  const outputs = addresses.flatMap((each) => failed(format.encodeOutput(each, pageShift))).map(() => 'oa.');
  const ids = [...('start' in pages ? [] : pages), ...outputs, ...failed(bits)];
  if (range === undefined || ids.length > 0 || bits.kind !== 'done') {
    return { type: 'refused', ids };
  }
  const request: MapRequest = { range, output, bits: typeless(format, bits.value, 3), options };
  if (options.over !== 'replace' && conflict(format, state, request) !== undefined) {
    return { type: 'refused', ids: ['map.would-overwrite'] };
  }
  return { type: 'states', states: [attempt(() => mapped(format, state, request, limit))], undone: command.prepared === 'cancel' };
}

function expectAnnotate(
  format: Format,
  state: State,
  command: Command & { readonly op: 'annotate' },
  range: Range,
  limit: number,
): Expectation {
  const note = format.encodeAnnotation(command.type, command.value);
  if (note.kind !== 'done') {
    return { type: 'refused', ids: failed(note) };
  }
  return { type: 'states', states: [attempt(() => annotated(format, state, range, note.value, limit))] };
}

/** Blocks of the range cut where they meet it, or whole. */
function expectSplit(format: Format, state: State, range: Range, toLevel: Level, limit: number): Expectation {
  const met = state.filter((each) => meets(format, each, range) && each.level < toLevel);
  const whole =
    met.length === 0 ? range : { start: Math.min(range.start, met[0].start), end: Math.max(range.end, endOf(format, met[met.length - 1])) };
  return {
    type: 'states',
    states: [attempt(() => splitIn(format, state, range, toLevel, limit)), attempt(() => splitIn(format, state, whole, toLevel, limit))],
  };
}

/** Tables that the range meets, or those that lie in it. */
function expectMerge(format: Format, state: State, range: Range): Expectation {
  const tables = countTables(tablesOf(format, state));
  const meeting = mergedIn(format, state, (table) => table.start < range.end && table.end > range.start);
  const inside = mergedIn(format, state, (table) => table.start >= range.start && table.end <= range.end);
  return { type: 'states', states: [meeting, inside], answer: (after) => tables - countTables(tablesOf(format, after)) };
}

const accessed = (format: Format, leaf: LeafEntry): boolean =>
  ((leaf.bits.lo & format.numbers.afLo) | (leaf.bits.hi & format.numbers.afHi)) !== 0;

const setting = ({ lo, hi }: Words): Change => ({ loClear: 0, loSet: lo, hiClear: 0, hiSet: hi });
const clearing = ({ lo, hi }: Words): Change => ({ loClear: lo, loSet: 0, hiClear: hi, hiSet: 0 });

function expectAge(format: Format, state: State, range: Range, clear: boolean): Expectation {
  const young = state.some((each) => each.kind === 'leaf' && meets(format, each, range) && accessed(format, each));
  const af = { lo: format.numbers.afLo, hi: format.numbers.afHi };
  return { type: 'states', states: [clear ? withChange(format, state, range, clearing(af)) : state], answer: () => young };
}

function expectLeafChange(format: Format, state: State, range: Range, change: Outcome<Change>): Expectation {
  if (change.kind !== 'done') {
    return { type: 'refused', ids: failed(change) };
  }
  const there = state.some((each) => each.kind === 'leaf' && meets(format, each, range));
  return there ? { type: 'states', states: [withChange(format, state, range, change.value)], mayRetry: true } : { type: 'no-leaf' };
}

/**
 * What a command must do to a table in this state.
 *
 * @param limit table pages that the pool ever had; states that need more are not built
 */
export function expectationOf(format: Format, state: State, command: Command, limit: number): Expectation {
  const pages = pagesOf(format, command.ia, 'size' in command ? command.size : 1);
  if (command.op === 'map') {
    return expectMap(format, state, command, pages, limit);
  }
  if (command.op === 'lookup' || command.op === 'query') {
    return one(state);
  }
  if (!('start' in pages)) {
    return { type: 'refused', ids: pages };
  }
  const af = { lo: format.numbers.afLo, hi: format.numbers.afHi };
  switch (command.op) {
    case 'unmap':
      return { type: 'states', states: [unmapped(format, state, pages)] };
    case 'annotate':
      return expectAnnotate(format, state, command, pages, limit);
    case 'write-protect':
      return one(withChange(format, state, pages, format.numbers.writeProtect));
    case 'age':
      return expectAge(format, state, pages, command.clear);
    case 'make-young':
      return expectLeafChange(format, state, pages, { kind: 'done', value: setting(af) });
    case 'relax':
      return expectLeafChange(format, state, pages, format.relax(command.add));
    case 'split':
      return expectSplit(format, state, pages, command.toLevel ?? 3, limit);
    case 'merge':
      return expectMerge(format, state, pages);
    case 'flush':
      return one(state);
  }
}
