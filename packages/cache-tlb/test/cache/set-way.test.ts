import { describe, expect, it } from 'vitest';
import { armv8 } from '@granule/armv8';
import { allSetWays, ccsidr, encodeSetWay, shapeOfCcsidr } from '../../src/cache/geometry.js';
import type { CacheHierarchy } from '../../src/cache/hierarchy.js';
import { guestOperation, maintainData, maintainSetWay } from '../../src/cache/maintenance.js';
import { takeCacheChoice } from '../../src/cache/speculation.js';
import { machine, NC, WB } from './support.js';

type Fields = Readonly<Record<string, bigint>>;

/** One DC CISW, its operand through the backend's words. */
function cleanSetWay(caches: CacheHierarchy, pe: number, operand: number): void {
  const fields = armv8.instructions.decode('CISW', BigInt(operand)) as { readonly value: Fields };
  maintainSetWay(caches, pe, 'CISW', Number(fields.value['SetWay']), Number(fields.value['Level']));
}

/** What a guest's "flush all caches" does on one PE: every set and way of each level that CLIDR_EL1 tells of. */
function* flushOf(caches: CacheHierarchy): Generator<number> {
  for (const [index, lines] of [caches.data[0], caches.outer].entries()) {
    if (lines === undefined) continue;
    const shape = shapeOfCcsidr(ccsidr(lines.shape, caches.lineBytes));
    for (const each of allSetWays(index + 1, shape)) yield encodeSetWay(each, shape, shape.lineBytes);
  }
}

function flush(caches: CacheHierarchy, pe: number): void {
  for (const operand of flushOf(caches)) cleanSetWay(caches, pe, operand);
}

describe('set/way operations cannot be virtualised', () => {
  it('works where nothing stands against it: one PE, no speculation, no system cache', () => {
    const { caches, load, store, ram } = machine();
    store(0, 0x1c0, 42);
    flush(caches, 0);
    expect(ram[0x1c0]).toBe(42);
    expect(load(0, 0x1c0, NC)).toBe(42);
  });

  it('local PE: the flush runs where the vCPU runs now, the line is where it ran before', () => {
    const { caches, load, store } = machine();
    store(1, 0x1c0, 42);
    flush(caches, 0);
    expect(load(0, 0x1c0, NC)).toBe(0);
    maintainData(caches, 0, 'CIVAC', 0x1c0, WB);
    expect(load(0, 0x1c0, NC)).toBe(42);
  });

  it('line migration: every PE flushes its own caches, and the line moves behind their backs', () => {
    const { caches, load, store } = machine();
    store(0, 0x1c0, 42);
    flush(caches, 1);
    takeCacheChoice(caches, { type: 'migrate', from: 0, to: 1, line: 0x1c0 });
    flush(caches, 0);
    expect(load(0, 0x1c0, NC)).toBe(0);
    expect(load(1, 0x1c0)).toBe(42);
    maintainData(caches, 0, 'CIVAC', 0x1c0, WB);
    expect(load(0, 0x1c0, NC)).toBe(42);
  });

  it('system cache: the line leaves every level that has a number, and stops before memory', () => {
    const { caches, load, store } = machine({ system: { sets: 4, ways: 4, replacement: 'lru' } });
    store(0, 0x1c0, 42);
    flush(caches, 0);
    flush(caches, 1);
    expect(caches.data.flatMap((each) => each.held())).toEqual([]);
    expect(load(0, 0x1c0, NC)).toBe(0);
    maintainData(caches, 0, 'CIVAC', 0x1c0, WB);
    expect(load(0, 0x1c0, NC)).toBe(42);
  });

  it('speculation between two steps of the flush brings a line back that was just flushed', () => {
    const { caches, load, store } = machine();
    store(0, 0x1c0, 1);
    flush(caches, 0);
    takeCacheChoice(caches, { type: 'fill', pe: 0, line: 0x1c0, policy: WB });
    store(0, 0x1c0, 2, NC);
    expect(load(0, 0x1c0)).toBe(1);
  });
});

describe('operands', () => {
  /** DDI 0487 C5.3, DC CISW: the way from bit 31 down, the set above the line offset, the level in [3:1]. */
  it.each([
    [{ sets: 256, ways: 4 }, 64, { level: 1, set: 255, way: 3 }, 0xc000_3fc0],
    [{ sets: 1024, ways: 16 }, 64, { level: 2, set: 1, way: 15 }, 0xf000_0042],
    [{ sets: 128, ways: 1 }, 32, { level: 1, set: 5, way: 0 }, 0x0000_00a0],
    [{ sets: 512, ways: 3 }, 64, { level: 3, set: 0, way: 2 }, 0x8000_0004],
  ])('%j of %i bytes: %j', (shape, lineBytes, named, operand) => {
    expect(encodeSetWay(named, shape, lineBytes)).toBe(operand);
  });

  it('a level or a way that is not there is left alone', () => {
    const { caches, store, ram } = machine({ data: { sets: 4, ways: 3, replacement: 'lru' }, outer: undefined });
    store(0, 0, 1);
    store(0, 64, 1);
    for (const operand of [0xc000_0000, 0x0000_0002, 0x0000_0004]) cleanSetWay(caches, 0, operand);
    expect([ram[0], ram[64]]).toEqual([0, 0]);
    cleanSetWay(caches, 0, 0);
    expect([ram[0], ram[64]]).toEqual([1, 0]);
  });

  it('a clean keeps the line, an invalidation loses it', () => {
    const { caches, load, store, ram } = machine({ outer: undefined });
    store(0, 0, 1);
    maintainSetWay(caches, 0, 'CSW', 0, 0);
    expect([ram[0], caches.data[0].held().length]).toEqual([1, 1]);
    store(0, 0, 2);
    maintainSetWay(caches, 0, 'ISW', 0, 0);
    expect(load(0, 0)).toBe(1);
  });

  it('a guest\'s invalidation also cleans: by set/way with SWIO or stage 2, by address with stage 2', () => {
    expect(guestOperation('ISW', { vm: false, swio: true })).toBe('CISW');
    expect(guestOperation('ISW', { vm: true, swio: false })).toBe('CISW');
    expect(guestOperation('ISW', { vm: false, swio: false })).toBe('ISW');
    expect(guestOperation('IVAC', { vm: true, swio: false })).toBe('CIVAC');
    expect(guestOperation('IVAC', { vm: false, swio: true })).toBe('IVAC');
    expect(guestOperation('CSW', { vm: true, swio: true })).toBe('CSW');
  });
});
