import fc from 'fast-check';
import type { AttributeRequest, Format, MapOptions, UnmapOptions } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { outputBits } from '../arbitraries/addresses.js';
import { legalAttributes } from '../arbitraries/attributes.js';
import { spanOf } from './state.js';

type Addition = Parameters<Format['relax']>[0];

interface MapCommand {
  readonly op: 'map';
  readonly ia: number;
  readonly size: number;
  readonly output: number;
  readonly attributes: AttributeRequest;
  readonly options?: MapOptions;
  /** By prepareMap, then committed or called off. */
  readonly prepared?: 'commit' | 'cancel';
}

/** One call of a {@link PageTable}. */
export type Command =
  | MapCommand
  | { readonly op: 'unmap'; readonly ia: number; readonly size: number; readonly options?: UnmapOptions }
  | { readonly op: 'write-protect' | 'merge' | 'flush'; readonly ia: number; readonly size: number }
  | { readonly op: 'query'; readonly ia: number; readonly size: number; readonly limit?: number }
  | { readonly op: 'age'; readonly ia: number; readonly size: number; readonly clear: boolean }
  | { readonly op: 'split'; readonly ia: number; readonly size: number; readonly toLevel?: Level }
  | { readonly op: 'annotate'; readonly ia: number; readonly size: number; readonly type: number; readonly value: bigint }
  | { readonly op: 'make-young' | 'lookup'; readonly ia: number }
  | { readonly op: 'relax'; readonly ia: number; readonly add: Addition };

export function commandText(command: Command): string {
  const { op, ia, ...rest } = command;
  const named = Object.entries(rest).map(([name, value]) => {
    const shown =
      typeof value === 'number' && name !== 'type' ? hex(value) : typeof value === 'object' ? JSON.stringify(value) : String(value);
    return `${name} ${shown}`;
  });
  return [op, hex(ia), ...named].join(' ');
}

interface Places {
  readonly page: number;
  /** Addresses around which something happens: the start, entry and table boundaries, the end. */
  readonly edges: readonly number[];
  readonly sizes: readonly number[];
  /** Output minus input address. */
  readonly offsets: readonly number[];
}

/** Where commands go: few places, so that they meet. */
function placesOf(format: Format): Places {
  const { iaBits, startLevel, entryTables, stride } = format.geometry;
  const limit = 2 ** iaBits;
  const page = spanOf(format, 3);
  const spans = ([2, 1, 0] as const)
    .filter((level) => level >= startLevel && spanOf(format, level) < limit)
    .map((level) => spanOf(format, level));
  const entryTable = entryTables > 1 ? [spanOf(format, startLevel) * 2 ** stride] : [];
  const leafSpans = spans.slice(0, 2);
  const top = 2 ** (outputBits(format) - 1);
  return {
    page,
    edges: [0, ...spans, ...entryTable, limit],
    sizes: [1, page, page + 1, 3 * page, ...leafSpans.flatMap((span) => [span / 2, span, span, span + page, 2 * span])],
    offsets: [0, 0, 0, page, ...leafSpans, top],
  };
}

function addresses({ page, edges }: Places): fc.Arbitrary<number> {
  const steps = fc.constantFrom(0, 0, 0, 1, 2, -1, -2, -3).map((pages) => pages * page);
  return fc
    .tuple(fc.constantFrom(...edges), steps, fc.constantFrom(0, 0, 0, 1, page - 1))
    .map(([edge, step, odd]) => Math.max(0, edge + step + odd));
}

const mapOptions: fc.Arbitrary<MapOptions | undefined> = fc.constantFrom<(MapOptions | undefined)[]>(
  undefined,
  undefined,
  {},
  { pages: true },
  { over: 'replace' },
  { over: 'replace', pages: true },
  { minBlockLevel: 2 },
  { over: 'refuse' },
);

const prepared = fc.constantFrom<(MapCommand['prepared'] | undefined)[]>(undefined, undefined, undefined, 'commit', 'cancel');

const unmapOptions: fc.Arbitrary<UnmapOptions | undefined> = fc.constantFrom<(UnmapOptions | undefined)[]>(
  undefined,
  {},
  { tlbi: 'deferred' },
  { tlbi: 'each' },
);

const additions: readonly Addition[] = [
  { read: true },
  { write: true },
  { read: true, write: true },
  { px: true, ux: true },
  { px: false, ux: false },
];

function mapCommands(
  places: Places,
  ia: fc.Arbitrary<number>,
  size: fc.Arbitrary<number>,
  palette: readonly AttributeRequest[],
): fc.Arbitrary<Command> {
  return fc
    .record({
      ia,
      size,
      offset: fc.constantFrom(...places.offsets),
      attributes: fc.constantFrom(...palette),
      options: mapOptions,
      prepared,
    })
    .map(({ ia: address, size: bytes, offset, attributes, options, prepared: how }): Command => {
      const output = Math.floor(address / places.page) * places.page + offset;
      return {
        op: 'map',
        ia: address,
        size: bytes,
        output,
        attributes,
        ...(options === undefined ? {} : { options }),
        ...(how === undefined ? {} : { prepared: how }),
      };
    });
}

/** Sequences of commands for a format: a few attribute requests, a few places, every operation. */
export function commandSequences(format: Format, length: number): fc.Arbitrary<readonly Command[]> {
  const places = placesOf(format);
  const ia = addresses(places);
  const size = fc.constantFrom(...places.sizes);
  const op = <O extends string>(name: O): fc.Arbitrary<O> => fc.constant(name);
  const attributes = legalAttributes(format).map((each): AttributeRequest => ({ ...each, contiguous: false }));
  return fc.array(attributes, { minLength: 2, maxLength: 3 }).chain((palette) => {
    const map = mapCommands(places, ia, size, palette);
    const unmap = fc
      .record({ op: op('unmap'), ia, size, options: unmapOptions })
      .map(({ options, ...rest }): Command => (options === undefined ? rest : { ...rest, options }));
    const command: fc.Arbitrary<Command> = fc.oneof(
      { arbitrary: map, weight: 8 },
      { arbitrary: unmap, weight: 4 },
      {
        arbitrary: fc.record({
          op: fc.constantFrom('write-protect' as const, 'merge' as const, 'merge' as const, 'flush' as const),
          ia,
          size,
        }),
        weight: 3,
      },
      { arbitrary: fc.record({ op: op('age'), ia, size, clear: fc.boolean() }), weight: 2 },
      { arbitrary: fc.record({ op: op('split'), ia, size, toLevel: fc.constantFrom<(2 | 3)[]>(3, 3, 2) }), weight: 2 },
      {
        arbitrary: fc.record({
          op: op('annotate'),
          ia,
          size,
          type: fc.integer({ min: 1, max: 15 }),
          value: fc.bigInt({ min: 0n, max: 255n }),
        }),
        weight: 2,
      },
      { arbitrary: fc.record({ op: fc.constantFrom('make-young' as const, 'lookup' as const), ia }), weight: 2 },
      { arbitrary: fc.record({ op: op('query'), ia, size }), weight: 1 },
      { arbitrary: fc.record({ op: op('query'), ia, size, limit: fc.integer({ min: 1, max: 3 }) }), weight: 1 },
      { arbitrary: fc.record({ op: op('relax'), ia, add: fc.constantFrom(...additions) }), weight: 2 },
    );
    return fc.array(command, { minLength: 1, maxLength: length });
  });
}
