import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { expandEffect } from '@granule/conformance';
import type { Backend, Effect, EffectSink, Outcome } from '@granule/contract';
import { entrySpan } from '@granule/geometry';
import { createVm, type InvalidationPolicy, ioremap, type IoremapPolicy, kernelProfile, unmapRange, VmidAllocator, Backing, type VmOptions } from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { namedCounts } from '../../src/report/counts.js';
import { Tally } from '../../src/report/tally.js';
import { mappingCounts } from '../../src/report/vm-report.js';

const M = 2 ** 20;
const G = 2 ** 30;
const BACKENDS: Readonly<Record<string, Backend>> = { armv8, 'armv7-lpae': armv7Lpae };

function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') throw new Error(outcome.sentence);
  return outcome.value;
}

interface Bench {
  readonly backend?: Backend;
  readonly features?: Partial<VmOptions['host']['features']>;
  readonly invalidation?: InvalidationPolicy;
}

/** A VM, its tally, and the effects as they came. */
function bench({ backend = armv8, features = {}, invalidation = 'each' }: Bench = {}) {
  const effects: Effect[] = [];
  const tally: Tally = new Tally({ lines: { data: 64, instruction: 32 }, format: () => valueOf(made).format });
  const sink: EffectSink = {
    effect(effect) {
      effects.push(effect);
      tally.effect(effect);
    },
  };
  const plain = backend.registers.features({ ID_AA64MMFR0_EL1: 0x10_1125n, CTR_EL0: 0x8444_c004n });
  const made = createVm({
    backend,
    kernel: kernelProfile('7.2'),
    host: { granule: '4K', vaBits: 48, features: { ...plain, ttl: backend === armv8, ...features }, hardwareAccessFlag: true, tlbRange: true },
    memory: createTableArena({ pageShift: 12 }),
    hostMemory: new Backing(4096),
    vmids: new VmidAllocator(8),
    sink,
    trace: tally.policy,
    invalidation,
  });
  return { vm: valueOf(made), tally, effects };
}

/** Maps a device and takes it away again; what the second half came to. */
function reset(policy: IoremapPolicy, setting: Bench = {}, bytes = 8 * G) {
  const { vm, tally } = bench(setting);
  expect(ioremap(vm, 16 * G, 64 * G, bytes, policy).kind).toBe('done');
  tally.nextPhase();
  expect(unmapRange(vm, 16 * G, 16 * G + bytes)).toBeUndefined();
  return namedCounts(tally.phase().counts);
}

describe('8 GiB of MMIO, 4K, unmapped', () => {
  // kvm-behaviour §3f: counts of review thread 002.
  it.each([
    ['pages', 2_097_152, 4_096 + 8],
    ['pmd-blocks', 4_096, 8],
    ['largest-block', 8, 0],
  ] as const)('by %s, one by one: %i invalidations of leaves, %i of tables', (policy, leaves, tables) => {
    const counts = reset(policy);
    expect([counts['tlbi.leaf'] ?? 0, counts['tlbi.table'] ?? 0]).toEqual([leaves, tables]);
    // Each is followed by one of all of stage 1; three DSBs and an ISB go with the pair (kvm/hyp/vhe/tlb.c).
    expect(counts).toMatchObject({ 'tlbi.IPAS2E1IS': leaves + tables, 'tlbi.stage1': leaves + tables, dsb: 3 * (leaves + tables), isb: leaves + tables });
    expect(counts['tables.freed'] ?? 0).toBe(tables);
  });

  it('by pages, deferred with S2FWB and TLBIRANGE: 8 by range and 4,104 of tables', () => {
    const counts = reset('pages', { invalidation: 'deferred', features: { s2fwb: true, tlbirange: true } });
    expect(counts).toMatchObject({ 'tlbi.ipa-range': 8, 'tlbi.table': 4_104, 'tlbi.ipa': 4_104 });
    expect(counts['tlbi.leaf'] ?? 0).toBe(0);
  });

  it('by pages, deferred without these features: one by one all the same', () => {
    expect(reset('pages', { invalidation: 'deferred' })).toMatchObject({ 'tlbi.leaf': 2_097_152, 'tlbi.table': 4_104 });
  });

  it('by pages, all of the VM at once: 8 invalidations of the VMID, and 4,104 of tables', () => {
    expect(reset('pages', { invalidation: 'vm-wide' })).toMatchObject({ 'tlbi.vmid': 8, 'tlbi.table': 4_104 });
  });
});

describe.each(Object.keys(BACKENDS))('a tally on %s', (name) => {
  it('counts a run as the entries that it stands for', () => {
    const { vm, tally, effects } = bench({ backend: BACKENDS[name] });
    const ram = { read: true, write: true, execute: true, memory: 'normal' } as const;
    const bounds = { ipa: [0, 2 ** 40], physical: [0, 2 ** 40] } as const;
    expect(vm.map(4 * M, 3 * M, 64 * M, ram, bounds).kind).toBe('done');
    expect(unmapRange(vm, 4 * M, 7 * M)).toBeUndefined();
    const each = new Tally({ lines: { data: 64, instruction: 32 }, format: () => vm.format });
    effects.flatMap((effect) => (effect.type === 'write' ? expandEffect(effect, (level) => entrySpan('4K', level)) : [effect])).forEach((effect) => each.effect(effect));
    expect({ ...tally.total(), calls: {} }).toEqual(each.total());
    expect(tally.pages).toEqual(each.pages);
  });

  it('tells the invalidation of a leaf from that of a table, whatever it names', () => {
    expect(reset('pages', { backend: BACKENDS[name] }, 2 * M)).toMatchObject({ 'tlbi.leaf': 512, 'tlbi.table': 2 });
  });
});

describe('a tally', () => {
  it('counts lines of a cache: 64 bytes of data, 32 of instructions; one for a whole cache', () => {
    const { tally } = bench();
    tally.effect({ type: 'cmo', op: 'dc-civac', to: 'poc', address: 0, bytes: 4096 });
    tally.effect({ type: 'cmo', op: 'ic-ivau', to: 'pou', address: 0, bytes: 4096 });
    tally.effect({ type: 'cmo', op: 'ic-ialluis', to: 'pou', address: 0, bytes: 0 });
    tally.effect({ type: 'cmo', op: 'dc-cisw', to: 'poc', address: 0x42, bytes: 64 });
    expect(namedCounts(tally.total())).toMatchObject({
      cmo: 4, 'cmo.dc-civac.lines': 64, 'cmo.ic-ivau.lines': 128, 'cmo.ic-ialluis.lines': 1, 'cmo.dc-cisw.lines': 1,
    });
  });

  it('begins anew with each phase, but for the pages in use', () => {
    const { vm, tally } = bench();
    const start = tally.pages.now;
    expect(ioremap(vm, 0, 64 * G, 2 * M, 'pages').kind).toBe('done');
    const first = tally.phase();
    tally.nextPhase();
    expect(unmapRange(vm, 0, 2 * M)).toBeUndefined();
    const second = tally.phase();
    expect([first.pages, second.pages]).toEqual([{ now: start + 2, peak: start + 2 }, { now: start, peak: start + 2 }]);
    expect([first.counts.calls, second.counts.calls]).toEqual([{ s2_init: 1, s2_map: 512 }, { unmap_stage2_range: 1, s2_unmap: 1 }]);
    expect(tally.total().writes).toBe(first.counts.writes + second.counts.writes);
  });

  it('keeps sequences of PEs apart', () => {
    const { tally } = bench();
    const [old, zero] = [Uint32Array.of(0x4000_07ff, 0), Uint32Array.of(0, 0)];
    const write = { type: 'write', table: 0, level: 3, index: 0, count: 1, address: 0x1000, old, new: zero, release: false } as const;
    tally.effect({ ...write, pe: 1 });
    tally.effect({ type: 'tlbi', op: 'IPAS2E1IS', address: 0x1000, pe: 0 });
    tally.effect({ type: 'tlbi', op: 'IPAS2E1IS', address: 0x1000, pe: 1 });
    tally.effect({ type: 'isb', pe: 1 });
    tally.effect({ type: 'tlbi', op: 'IPAS2E1IS', address: 0x1000, pe: 1 });
    expect(tally.total().tlbis.map(({ reason, pe, count }) => [reason, pe, count])).toEqual([['none', 0, 1], ['leaf', 1, 1], ['none', 1, 1]]);
  });
});

describe('mappings of a table', () => {
  it('are counted by level, type and permissions', () => {
    const { vm } = bench();
    expect(ioremap(vm, 0, 64 * G, G + 2 * M + 3 * 4096, 'largest-block').kind).toBe('done');
    expect(mappingCounts(vm.table)).toEqual([
      { level: 1, type: 'device-nGnRE', permissions: 'RW-', leaves: 1, bytes: G },
      { level: 2, type: 'device-nGnRE', permissions: 'RW-', leaves: 1, bytes: 2 * M },
      { level: 3, type: 'device-nGnRE', permissions: 'RW-', leaves: 3, bytes: 3 * 4096 },
    ]);
  });
});
