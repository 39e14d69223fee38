import { createTableArena } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import {
  clearDirtyLog, DirtyBitmap, errnoOf, getDirtyLog, guestAbort, kernelProfile, setManualDirtyLog, setMemoryRegion, setSplitChunk, splitCacheCapacity, splitHugePages,
} from '../src/index.js';
import { bench, type Bench, esr, G, M, PERMISSION, TRANSLATION, valueOf, withMemory } from './support.js';

const REGION = { slot: 0, ipa: G, size: 64 * M, hva: 0x7f00_0000_0000 };

function log(on: Bench, logDirty: boolean): void {
  valueOf(setMemoryRegion(on.vm, { ...REGION, logDirty }));
}

function touch(on: Bench, page: number, code = esr(TRANSLATION + 3, { write: true })): string {
  const outcome = guestAbort(on.vm, on.vcpu, { esr: code, far: 0n, ipa: G + page * 4096 });
  return outcome.kind === 'done' ? outcome.value.did : outcome.id;
}

/** A VM with memory of huge pages, all of it mapped by blocks. */
function mapped(options: Parameters<typeof bench>[0] = {}, prepare: (on: Bench) => void = () => {}): Bench {
  const on = bench(options);
  prepare(on);
  withMemory(on);
  for (let page = 0; page < 64 * 256; page += 512) {
    touch(on, page);
  }
  on.told();
  on.sink.reset();
  return on;
}

const levels = ({ vm }: Bench): Record<number, number> =>
  vm.table.query(G, 64 * M).reduce<Record<number, number>>((counts, { level }) => ({ ...counts, [level]: (counts[level] ?? 0) + 1 }), {});

describe('dirty logging', () => {
  it('write-protects the slot when it begins, and invalidates the VM once', () => {
    const on = mapped();
    log(on, true);
    expect(on.told()).toEqual(['s2_wrprotect 0x40000000 0x4000000', 'nested_s2_wp']);
    expect(on.sink.tlbi).toEqual({ VMALLS12E1IS: 1 });
    expect(levels(on)).toEqual({ 2: 32 });
  });

  it('invalidates by range where the host has FEAT_TLBIRANGE', () => {
    const on = mapped({ features: { tlbirange: true } });
    log(on, true);
    expect(on.sink.tlbi).toEqual({ RIPAS2E1IS: 1, VMALLE1IS: 1 });
  });

  it('maps pages while it is on: a write splits a block, a read maps without write permission', () => {
    const on = mapped();
    log(on, true);
    on.told();
    touch(on, 3, esr(PERMISSION + 2, { write: true }));
    touch(on, 4, esr(TRANSLATION + 3));
    expect(on.told()).toEqual(['s2_map 0x40003000 0x1000 0x80003000 read+write+normal 0x8', 's2_map 0x40004000 0x1000 0x80004000 read+normal 0x8']);
    touch(on, 4, esr(PERMISSION + 3, { write: true }));
    expect(on.told()).toEqual(['s2_relax_perms 0x40004000 read+write+normal 0x8']);
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toEqual([3, 4]);
  });

  it('clears and write-protects what KVM_GET_DIRTY_LOG gave, from the first to the last bit of each word of 64 pages', () => {
    const on = mapped();
    log(on, true);
    [3, 10, 63, 64, 130].forEach((page) => touch(on, page));
    on.told();
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toEqual([3, 10, 63, 64, 130]);
    expect(on.told()).toEqual([
      's2_wrprotect 0x40003000 0x3d000', 'nested_s2_wp', 's2_wrprotect 0x40040000 0x1000', 'nested_s2_wp', 's2_wrprotect 0x40082000 0x1000', 'nested_s2_wp',
    ]);
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toEqual([]);
    expect(on.told()).toEqual([]);
  });

  it('collapses nothing when it ends; a clean page does at its next write, a dirty table never', () => {
    const on = mapped();
    log(on, true);
    touch(on, 3, esr(PERMISSION + 2, { write: true }));
    touch(on, 515, esr(PERMISSION + 2, { write: true }));
    getDirtyLog(on.vm, 0);
    touch(on, 515, esr(PERMISSION + 3, { write: true }));
    on.told();
    on.sink.reset();
    log(on, false);
    expect(on.told()).toEqual([]);
    expect(levels(on)).toEqual({ 2: 30, 3: 2 });
    expect(touch(on, 3, esr(PERMISSION + 3, { write: true }))).toBe('mapped');
    expect(on.told()).toEqual(['s2_map 0x40000000 0x200000 0x80000000 read+write+normal 0x8']);
    expect(on.sink.tlbi).toEqual({ VMALLS12E1IS: 1 });
    expect(levels(on)).toEqual({ 2: 31, 3: 1 });
  });

  it.each([
    [99, 'dirty-log.no-slot', -2],
    [0, 'dirty-log.off', -2],
  ])('of slot %i refuses %s with errno %i', (slot, id, errno) => {
    const outcome = getDirtyLog(mapped().vm, slot);
    expect(outcome).toMatchObject({ kind: 'refused', id });
    expect(outcome.kind !== 'done' && errnoOf(outcome)).toBe(errno);
  });
});

describe('manual protection', () => {
  const manual = (mode: 'manual' | 'initially-set', prepare?: (on: Bench) => void): Bench => {
    const on = mapped({}, prepare);
    on.vm.manualDirtyLog = mode;
    log(on, true);
    return on;
  };

  it('neither clears nor protects as it reads', () => {
    const on = manual('manual');
    touch(on, 3);
    on.told();
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toEqual([3]);
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toEqual([3]);
    expect(on.told()).toEqual([]);
  });

  it('begins with every page dirty and nothing protected, where it is asked to', () => {
    const on = manual('initially-set');
    expect(on.told()).toEqual([]);
    expect(valueOf(getDirtyLog(on.vm, 0)).list()).toHaveLength(16_384);
  });

  it('protects, with KVM_CLEAR_DIRTY_LOG, what the mask and the dirty pages have in common', () => {
    const on = manual('initially-set');
    valueOf(clearDirtyLog(on.vm, 0, 64, 128, (page) => page === 70 || page === 75));
    expect(on.told()).toEqual(['s2_wrprotect 0x40046000 0x6000', 'nested_s2_wp']);
    valueOf(clearDirtyLog(on.vm, 0, 64, 128, (page) => page === 70));
    expect(on.told()).toEqual([]);
  });

  it.each([
    [1, 64],
    [0, 63],
    [16_320, 128],
  ])('refuses the range of %i and %i pages', (first, count) => {
    expect(clearDirtyLog(manual('manual').vm, 0, first, count, () => true)).toMatchObject({ id: 'dirty-log.range' });
  });

  it('is not needed for KVM_CLEAR_DIRTY_LOG, which 4.x does not have', () => {
    const on = mapped();
    log(on, true);
    touch(on, 3);
    on.told();
    expect(clearDirtyLog(on.vm, 0, 0, 64, () => true).kind).toBe('done');
    expect(on.told()).toEqual(['s2_wrprotect 0x40003000 0x1000', 'nested_s2_wp']);
    expect(clearDirtyLog(bench({ kernel: kernelProfile('4.8') }).vm, 0, 0, 64, () => true)).toMatchObject({ id: 'dirty-log.not-manual' });
  });

  it.each([
    [0, 'off'],
    [1, 'manual'],
    [3, 'initially-set'],
  ])('is switched by bits %i to %s', (bits, mode) => {
    const { vm } = bench();
    valueOf(setManualDirtyLog(vm, bits));
    expect(vm.manualDirtyLog).toBe(mode);
  });

  it('cannot begin all dirty without being manual', () => {
    expect(setManualDirtyLog(bench().vm, 2)).toMatchObject({ kind: 'refused', id: 'dirty-log.initially-set' });
  });
});

describe('a dirty bitmap', () => {
  it.each([1, 31, 32, 33, 64, 100])('of %i pages is filled with so many', (pages) => {
    const bitmap = new DirtyBitmap(pages);
    bitmap.fill();
    expect(bitmap.list()).toEqual(Array.from({ length: pages }, (_, page) => page));
  });
});

describe('eager splitting', () => {
  it.each([
    [2 * M, 2],
    [1 * G, 513],
  ])('sizes its cache for a chunk of %i bytes to %i pages', (chunk, pages) => {
    const { vm } = bench();
    valueOf(setSplitChunk(vm, chunk));
    expect(splitCacheCapacity(vm)).toBe(pages);
  });

  it('splits the slot by chunks when logging begins; everything stays mapped', () => {
    const on = mapped({}, ({ vm }) => valueOf(setSplitChunk(vm, 2 * M)));
    log(on, true);
    expect(on.told().slice(2)).toEqual(Array.from({ length: 32 }, (_, i) => `s2_split 0x${(G + i * 2 * M).toString(16)} 0x200000`));
    expect(levels(on)).toEqual({ 3: 16_384 });
  });

  it('takes block sizes alone, before any slot', () => {
    const { vm } = mapped();
    expect(setSplitChunk(vm, 3 * M)).toMatchObject({ id: 'split.chunk-size' });
    expect(setSplitChunk(vm, 2 * M)).toMatchObject({ id: 'split.chunk-late' });
  });

  it('stops where its cache cannot be filled, and what was split stays so', () => {
    // Two entry tables, one of level 2; then five are left for caches of two pages, of which each chunk uses one.
    const on = mapped({ memory: createTableArena({ pageShift: 12, maxPages: 48, initialPages: 48 }) }, ({ vm }) => valueOf(setSplitChunk(vm, 2 * M)));
    on.vcpu.cache.objects = 40;
    on.told();
    log(on, true);
    expect(on.told().slice(2)).toHaveLength(4);
    expect(levels(on)).toEqual({ 2: 28, 3: 4 * 512 });
    expect(splitHugePages(on.vm, G, G + 64 * M)).toMatchObject({ kind: 'refused', id: 'split.no-pages' });
  });

  it('is not to be had under pKVM', () => {
    expect(setSplitChunk(bench({ protection: 'pkvm' }).vm, 2 * M)).toMatchObject({ id: 'split.protected' });
  });

  it('of a logged slot that moves begins again', () => {
    const on = mapped({}, ({ vm }) => valueOf(setSplitChunk(vm, 2 * M)));
    log(on, true);
    on.told();
    valueOf(setMemoryRegion(on.vm, { ...REGION, ipa: 2 * G, logDirty: true }));
    expect(on.told().slice(0, 4)).toEqual(['unmap_stage2_range 0x40000000 0x4000000', 's2_unmap 0x40000000 0x4000000', 'nested_s2_unmap', 's2_wrprotect 0x80000000 0x4000000']);
  });
});
