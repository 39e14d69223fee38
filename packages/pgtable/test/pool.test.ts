import { armv8 } from '@granule/armv8';
import { fake } from '@granule/conformance';
import { describe, expect, it } from 'vitest';
import type { Granule, Level } from '@granule/geometry';
import type { Bench } from './support.js';
import { RO, RW, answer, bench, snapshot, stage2, value } from './support.js';

const CASES = [armv8, fake].flatMap((backend) => (['4K', '16K', '64K'] as const).map((granule: Granule) => ({ backend, granule })));

describe.each(CASES)('an exhausted pool refuses and changes nothing: $backend.name $granule', ({ backend, granule }) => {
  const geometry = stage2(granule, 42);
  const page = 2 ** geometry.pageShift;
  const block = page * (page / 8);
  /** A block, and no page left in the pool. */
  const full = (): Bench => {
    const b = bench({ backend, geometry, pages: geometry.entryTables + 2 - geometry.startLevel });
    value(b.table.map(block, block, block, RW));
    expect(b.memory.free).toBe(0);
    b.log.drain();
    return b;
  };

  it.each([
    ['map', (b: Bench) => b.table.map(4 * block, page, 0, RW)],
    ['map over a part of a block', (b: Bench) => b.table.map(block, page, block, RO)],
    ['map of a range whose first part needs no page', (b: Bench) => b.table.map(block, 2 * block + page, block, RO)],
    ['map that replaces a part', (b: Bench) => b.table.map(block, page, 7 * page, RW, { over: 'replace' })],
    ['unmap of a part of a block', (b: Bench) => b.table.unmap(block, page)],
    ['unmap of a range that a block sticks out of', (b: Bench) => b.table.unmap(0, block + page)],
    ['split', (b: Bench) => b.table.split(block, block)],
    ['annotate', (b: Bench) => b.table.annotate(block, page, 2, 4n)],
    ['prepareMap', (b: Bench) => b.table.prepareMap(4 * block, page, 0, RW)],
    ['createUnlinked', (b: Bench) => b.table.createUnlinked(3, 0, RW)],
  ])('%s', (_, operation) => {
    const b = full();
    const before = snapshot(b.memory);
    expect(answer(operation(b))).toBe('refused pool.exhausted');
    expect(snapshot(b.memory)).toEqual(before);
    expect(b.log.effects).toEqual([]);
  });

  it('what needs no page goes on working', () => {
    const b = full();
    value(b.table.map(4 * block, block, 0, RW));
    value(b.table.map(block, block, block, RO));
    value(b.table.unmap(block, block));
    expect(b.memory.free).toBe(0);
    value(b.table.unmap(0, 8 * block));
    expect(b.memory.taken).toBe(geometry.entryTables);
  });

  it('a prepared map holds its pages until it is committed or called off', () => {
    const b = bench({ backend, geometry, pages: geometry.entryTables + 3 - geometry.startLevel });
    const prepared = value(b.table.prepareMap(0, page, 0, RW));
    expect([b.memory.free, answer(b.table.map(4 * block, page, 0, RW))]).toEqual([0, 'refused pool.exhausted']);
    prepared.cancel();
    expect(b.memory.taken).toBe(geometry.entryTables);
    const again = value(b.table.prepareMap(0, page, 0, RW));
    value(again.commit());
    expect(b.table.query(0, page)).toHaveLength(1);
  });

  it('a prepared map whose ground has changed is refused, and gives its pages back', () => {
    const b = bench({ backend, geometry, pages: 32 });
    const prepared = value(b.table.prepareMap(0, page, page, RW));
    value(b.table.map(0, page, 5 * page, RW));
    const before = b.memory.taken;
    expect(answer(prepared.commit())).toBe('refused map.would-overwrite');
    expect(b.memory.taken).toBe(before - (3 - geometry.startLevel));
  });
});

it('a table whose entry tables do not fit is refused', () => {
  const level: Level = 1;
  const geometry = stage2('4K', 41, level);
  expect(() => bench({ geometry, pages: 3 })).toThrow('pool.exhausted');
});
