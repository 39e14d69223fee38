import { armv8 } from '@granule/armv8';
import { fake } from '@granule/conformance';
import type { TableMemory } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { STOP, type Tables, lookup, mappings, newLookup, query, walk } from '../src/index.js';
import { type Bench, G, M, PAGE, RO, RW, bench, stage2, value } from './support.js';

/** Counts runs by kind. */
function visited(tables: Tables, end: number, budget?: number): { readonly runs: number; readonly failure: string | undefined } {
  let runs = 0;
  const failure = walk(
    tables,
    0,
    end,
    {
      visit: (run) => {
        runs++;
        return run.count;
      },
    },
    budget,
  );
  return { runs, failure: failure?.id };
}

const setEntry = ({ memory, format }: Bench, pa: number, index: number, table: number): void => {
  const address = value(format.encodeOutput(table, format.geometry.pageShift));
  const bits = value(format.encodeTable());
  const word = memory.wordOf(pa, PAGE) + 2 * index;
  memory.words[word] = (bits.lo | address.lo) >>> 0;
  memory.words[word + 1] = (bits.hi | address.hi) >>> 0;
};

/** An arena as an image has it: nothing contiguous, pages by wordOf alone. */
function asImage(memory: TableMemory, wordOf = memory.wordOf.bind(memory)): TableMemory {
  return {
    pageShift: memory.pageShift,
    words: memory.words,
    counts: memory.counts,
    firstPage: 0,
    contiguousPages: 0,
    free: 0,
    taken: 0,
    wordOf,
    addressOf: memory.addressOf.bind(memory),
    take: () => -1,
    give: () => undefined,
  };
}

describe('hostile tables', () => {
  it.each([armv8, fake])('tables that refer to themselves end by the budget: $name', (backend) => {
    const b = bench({ backend, geometry: stage2('4K', 48, 0) });
    for (let i = 0; i < 512; i++) {
      setEntry(b, b.table.root, i, b.table.root);
    }
    const tables = { format: b.format, memory: asImage(b.memory), root: b.table.root };
    const { runs, failure } = visited(tables, 2 ** 48, 5000);
    expect(failure).toBe('walk.too-many-tables');
    expect(runs).toBeLessThanOrEqual(5000 * 512);
    const out = newLookup();
    expect(lookup(tables, 0x1234_5678, out)).toBe(true);
    expect(out.level).toBe(3);
  });

  it('two tables that refer to each other end by the budget too', () => {
    const b = bench({ geometry: stage2('4K', 48, 0) });
    const other = b.memory.take(1);
    for (let i = 0; i < 512; i++) {
      setEntry(b, b.table.root, i, other);
      setEntry(b, other, i, b.table.root);
    }
    expect(visited({ format: b.format, memory: asImage(b.memory), root: b.table.root }, 2 ** 48, 5000).failure).toBe(
      'walk.too-many-tables',
    );
  });

  it('a table outside memory is an outcome, or passed over where the visitor says so', () => {
    const b = bench();
    setEntry(b, b.table.root, 1, 0xff_0000_0000);
    value(b.table.map(2 * G, PAGE, 0, RW));
    const tables = { format: b.format, memory: asImage(b.memory), root: b.table.root };
    expect(visited(tables, 4 * G).failure).toBe('walk.table-outside-memory');
    const lost: string[] = [];
    const found: number[] = [];
    const failure = mappings(tables, 0, 4 * G, {
      leaves: (_, __, ___, address) => found.push(address),
      lost: (run, reason) => lost.push(`${run.address} ${reason}`),
    });
    expect({ failure, lost, found }).toEqual({ failure: undefined, lost: [`${G} outside-memory`], found: [2 * G] });
    const out = newLookup();
    expect([lookup(tables, G, out), out.kind]).toEqual([false, ENTRY.zero]);
  });

  it('an entry table outside memory is an outcome', () => {
    const b = bench();
    expect(visited({ format: b.format, memory: asImage(b.memory), root: 0xff_0000_0000 }, G).failure).toBe('walk.table-outside-memory');
  });

  it("the memory's own limit of loaded pages is told apart", () => {
    const b = bench();
    setEntry(b, b.table.root, 0, 0xff_0000_0000);
    const limited = asImage(b.memory, (pa, bytes) => (pa === 0xff_0000_0000 ? -2 : b.memory.wordOf(pa, bytes)));
    expect(visited({ format: b.format, memory: limited, root: b.table.root }, G).failure).toBe('walk.page-limit');
  });

  it('concatenated entry tables of which one is missing end the walk there', () => {
    const b = bench({ geometry: stage2('4K', 41, 1) });
    value(b.table.map(0, G, 0, RW));
    const holed = asImage(b.memory, (pa, bytes) => (pa === b.table.root + 2 * PAGE ? -1 : b.memory.wordOf(pa, bytes)));
    const tables = { format: b.format, memory: holed, root: b.table.root };
    expect(visited(tables, 1024 * G).failure).toBeUndefined();
    expect(visited(tables, 2 ** 41).failure).toBe('walk.table-outside-memory');
  });
});

describe('a walk', () => {
  const mapped = (): Bench => {
    const b = bench({ recorded: false });
    value(b.table.map(0, 3 * PAGE, 8 * PAGE, RW));
    value(b.table.map(3 * PAGE, PAGE, 11 * PAGE, RO));
    value(b.table.map(2 * M, 4 * M, 2 * M, RW));
    value(b.table.annotate(9 * PAGE, PAGE, 2, 4n));
    return b;
  };
  const runs = (tables: Tables, start: number, end: number): readonly string[] => {
    const seen: string[] = [];
    const name = ['zero', 'annotated', 'leaf', 'table'] as const;
    walk(tables, start, end, {
      visit: (run) => {
        seen.push(`${name[run.kind]} ${run.level} [${run.index}..${run.index + run.count - 1}] ${run.from}-${run.to}`);
        return run.count;
      },
      enter: (run) => seen.push(`enter ${run.level} ${run.from}-${run.to}`),
      leave: (run) => seen.push(`leave ${run.level} ${run.from}-${run.to}`),
    });
    return seen;
  };

  it('visits maximal runs of one kind, tables before and after their entries, clipped to the range', () => {
    const { table } = mapped();
    expect(runs(table.table, PAGE, 5 * M)).toEqual([
      `enter 1 ${PAGE}-${5 * M}`,
      `enter 2 ${PAGE}-${2 * M}`,
      `leaf 3 [1..3] ${PAGE}-${4 * PAGE}`,
      `zero 3 [4..8] ${4 * PAGE}-${9 * PAGE}`,
      `annotated 3 [9..9] ${9 * PAGE}-${10 * PAGE}`,
      `zero 3 [10..511] ${10 * PAGE}-${2 * M}`,
      `leave 2 ${PAGE}-${2 * M}`,
      `leaf 2 [1..2] ${2 * M}-${5 * M}`,
      `leave 1 ${PAGE}-${5 * M}`,
    ]);
  });

  it('ends without a failure where the visitor says STOP', () => {
    const { table } = mapped();
    let calls = 0;
    const failure = walk(table.table, 0, G, {
      visit: () => {
        calls++;
        return STOP;
      },
    });
    expect([failure, calls]).toEqual([undefined, 1]);
  });

  it('tells mappings apart by attributes and output, and query by leaf, at most so many', () => {
    const { table } = mapped();
    const found: string[] = [];
    mappings(table.table, 0, G, { leaves: (run, _, count, address) => found.push(`${address} level ${run.level} × ${count}`) });
    expect(found).toEqual([`0 level 3 × 3`, `${3 * PAGE} level 3 × 1`, `${2 * M} level 2 × 2`]);
    expect(query(table.table, 0, G, 4).map(({ start }) => start)).toEqual([0, PAGE, 2 * PAGE, 3 * PAGE]);
    expect(table.query(PAGE, 1)).toMatchObject([{ start: PAGE, end: 2 * PAGE, level: 3, output: 9 * PAGE }]);
  });
});
