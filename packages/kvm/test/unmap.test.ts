import { describe, expect, it } from 'vitest';
import { guestAbort, ioremap, notifierAge, notifierUnmap, resetVcpu, setMemoryRegion, teardown, unmapRange, type VmOptions } from '../src/index.js';
import { bench, type Bench, esr, G, M, PERMISSION, TRANSLATION, valueOf, withMemory } from './support.js';

const IPA = 16 * G;
const PHYSICAL = 2 ** 39;
const LEAF = 'IPAS2E1IS leaf';
const TABLE = 'IPAS2E1IS table';

/** A device region mapped by entries of one size, by one call of the core; then unmapped. Counts of the unmapping. */
function unmapped(bytes: number, entry: number, options: Partial<VmOptions> & { readonly features?: object }): Bench {
  const on = bench(options);
  const request = { read: true, write: true, memory: 'device-nGnRE', af: true } as const;
  const minBlockLevel = entry === G ? 1 : entry === 2 * M ? 2 : 3;
  valueOf(on.vm.table.map(IPA, bytes, PHYSICAL, request, { mode: 'linux', minBlockLevel }));
  on.sink.reset();
  on.told();
  unmapRange(on.vm, IPA, IPA + bytes);
  return on;
}

describe('unmapping 8 GiB of device memory, 4K', () => {
  /** Of each: TLB invalidations of leaves, of tables, by range, of the VM. */
  it.each([
    ['pages', 4096, {}, { [LEAF]: 2_097_152, [TABLE]: 4104 }],
    ['2 MiB blocks', 2 * M, {}, { [LEAF]: 4096, [TABLE]: 8 }],
    ['1 GiB blocks', G, {}, { [LEAF]: 8 }],
    ['pages with S2FWB and TLBIRANGE', 4096, { features: { s2fwb: true, tlbirange: true } }, { [TABLE]: 4104, RIPAS2E1IS: 8 }],
    ['pages with TLBIRANGE alone', 4096, { features: { tlbirange: true } }, { [LEAF]: 2_097_152, [TABLE]: 4104 }],
    ['pages, all of the VM each time', 4096, { invalidation: 'vm-wide' as const }, { [TABLE]: 4104, VMALLS12E1IS: 8 }],
    ['2 MiB blocks, elided', 2 * M, { invalidation: 'elided' as const }, { [TABLE]: 8 }],
  ])('by %s', (_, entry, options, counts) => {
    const { sink, told } = unmapped(8 * G, entry, options);
    const { VMALLE1IS: ofStage1 = 0, ...tlbi } = sink.tlbi;
    expect(tlbi).toEqual(counts);
    // Stage 1 of the VMID goes after each invalidation by IPA.
    const byIpa = Object.entries(counts).filter(([op]) => op !== 'VMALLS12E1IS').reduce((sum, [, count]) => sum + count, 0);
    expect(ofStage1).toBe(byIpa);
    expect(sink.cmo).toEqual({});
    expect(told().filter((text) => text.startsWith('s2_unmap'))).toHaveLength(8);
  });
});

describe('cache maintenance of one page that is mapped and unmapped', () => {
  it.each([
    ['map-and-unmap', 1, 1],
    ['map', 1, 0],
    ['unmap', 0, 1],
    ['none', 0, 0],
  ] as const)('%s', (maintenance, atMap, atUnmap) => {
    const on = bench({ maintenance });
    withMemory(on, { leafBytes: 4096 });
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1, { write: true }), far: 0n, ipa: G }));
    expect(on.sink.cmo['dc-civac'] ?? 0).toBe(atMap);
    on.sink.reset();
    notifierUnmap(on.vm, 0x7f00_0000_0000, 0x7f00_0000_1000);
    expect(on.sink.cmo['dc-civac'] ?? 0).toBe(atUnmap);
  });

  it('is elided with S2FWB, at both', () => {
    const on = bench({ features: { s2fwb: true } });
    withMemory(on);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    notifierUnmap(on.vm, 0x7f00_0000_0000, 0x7f00_0020_0000);
    expect(on.sink.cmo).toEqual({});
  });
});

describe('a notifier', () => {
  it('unmaps the pages that its range touches, and no more than the slot has', () => {
    const on = bench();
    withMemory(on);
    notifierUnmap(on.vm, 0x7f00_0000_0800, 0x7f00_0000_1800);
    notifierUnmap(on.vm, 0x7f00_03ff_f000, 0x7f00_1000_0000);
    expect(on.told()).toEqual([
      'unmap_stage2_range 0x40000000 0x2000', 's2_unmap 0x40000000 0x2000', 'nested_s2_unmap',
      'unmap_stage2_range 0x43fff000 0x1000', 's2_unmap 0x43fff000 0x1000', 'nested_s2_unmap',
    ]);
  });

  it('takes a whole block for a part of it', () => {
    const on = bench();
    withMemory(on);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    notifierUnmap(on.vm, 0x7f00_0000_1000, 0x7f00_0000_2000);
    expect(on.vm.table.query(G, 2 * M)).toEqual([]);
  });

  it('that ages clears flags and tells whether any was set; without clearing only the latter', () => {
    const on = bench();
    withMemory(on);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    on.told();
    on.sink.reset();
    const at = [0x7f00_0000_0000, 0x7f00_0000_1000] as const;
    expect([false, true, false, true].map((clear) => notifierAge(on.vm, ...at, clear))).toEqual([true, true, false, false]);
    expect(on.told()).toContain('s2_test_clear_young 0x40000000 0x1000 true');
    expect(on.sink.tlbi).toEqual({});
  });
});

describe('ageing that flushes', () => {
  it('does so where a page was young, of the whole VM', () => {
    const on = bench();
    withMemory(on);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    on.sink.reset();
    const at = [0x7f00_0000_0000, 0x7f00_0000_1000] as const;
    expect([notifierAge(on.vm, ...at, true, true), notifierAge(on.vm, ...at, true, true)]).toEqual([true, false]);
    expect(on.sink.tlbi).toEqual({ VMALLS12E1IS: 1 });
  });
});

describe('a vCPU that is initialised again', () => {
  const reset = (features: object): Bench => {
    const on = bench({ features });
    withMemory(on);
    on.host.add({ start: 0x100_0000, bytes: M, kind: 'device', pageBytes: 4096, memory: 'device', writable: true, physical: 2 ** 39, leafBytes: 4096 });
    valueOf(setMemoryRegion(on.vm, { slot: 1, ipa: IPA, size: M, hva: 0x100_0000 }));
    [G, IPA].forEach((ipa) => valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa })));
    Object.assign(on.vcpu, { tvm: false, cachesOn: true });
    on.told();
    on.sink.reset();
    resetVcpu(on.vm, on.vcpu);
    return on;
  };

  it('loses its memory without S2FWB, but device memory stays; writes of VM registers trap again', () => {
    const on = reset({});
    expect(on.told()).toEqual(['unmap_stage2_range 0x40000000 0x4000000', 's2_unmap 0x40000000 0x4000000', 'nested_s2_unmap']);
    expect(on.vm.table.query(0, 2 * IPA).map(({ start }) => start)).toEqual([IPA]);
    expect(on.vcpu).toMatchObject({ tvm: true, cachesOn: false });
  });

  it.each([
    [{ s2fwb: true }, { 'ic-ialluis': 1 }],
    [{ s2fwb: true, dic: true }, {}],
  ])('keeps it with %j', (features, cmo) => {
    const on = reset(features);
    expect([on.told(), on.sink.cmo]).toEqual([[], cmo]);
    expect(on.vcpu.tvm).toBe(false);
  });
});

describe('a range of dirty pages', () => {
  it('is invalidated by operations of at most 2^21 pages', () => {
    const on = bench({ features: { tlbirange: true } });
    on.vm.flushRange(0, 20 * G);
    const ranges = on.sink.effects.flatMap((each) => (each.type === 'tlbi' && each.bytes !== undefined ? [[each.address, each.bytes]] : []));
    expect(ranges).toEqual([[0, 8 * G], [8 * G, 8 * G], [16 * G, 4 * G]]);
  });
});

describe('teardown', () => {
  it('frees every table without TLB or cache maintenance', () => {
    const on = bench();
    withMemory(on);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    on.sink.reset();
    const { memory } = on.vm.table;
    teardown(on.vm);
    expect(memory.taken).toBe(0);
    expect(on.sink.cmo).toEqual({});
    expect(on.sink.tlbi[LEAF] ?? 0).toBe(0);
  });
});

describe('ioremap', () => {
  it.each([
    ['pages', 16 * M, 4096],
    ['pmd-blocks', 16 * M, 8],
    ['pmd-blocks', 2 * G, 1024],
    ['largest-block', 16 * M, 8],
    ['largest-block', 2 * G, 2],
  ] as const)('by %s maps %i bytes in %i calls', (policy, bytes, calls) => {
    const on = bench();
    valueOf(ioremap(on.vm, IPA, PHYSICAL, bytes, policy));
    expect(on.events.reduce((sum, event) => sum + (event.event === 's2_map' ? (event.calls ?? 1) : 0), 0)).toBe(calls);
    expect(on.vm.violations).toEqual([]);
  });

  it('by pages takes back what it had mapped, where something is in the way', () => {
    const on = bench();
    valueOf(ioremap(on.vm, IPA + 3 * 4096, PHYSICAL + 3 * 4096, 4096, 'pages'));
    expect(ioremap(on.vm, IPA, PHYSICAL, 8 * 4096, 'pages')).toMatchObject({ kind: 'retry', id: 'map.already-mapped' });
    expect(on.vm.table.query(IPA, 8 * 4096).map(({ start }) => start)).toEqual([IPA + 3 * 4096]);
  });

  it('by largest block goes down where the region ends off a block', () => {
    const on = bench();
    valueOf(ioremap(on.vm, IPA, PHYSICAL, G + 2 * M + 4096, 'largest-block'));
    expect(on.told().map((text) => text.split(' ')[2])).toEqual(['0x40000000', '0x200000', '0x1000']);
  });
});

describe('a write fault on a page inside a block while dirty pages are logged', () => {
  it('maps that page and unmaps the rest of the block', () => {
    const on = bench();
    withMemory(on);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: 64 * M, hva: 0x7f00_0000_0000, logDirty: true }));
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(PERMISSION + 2, { write: true }), far: 0n, ipa: G + 0x3000 }));
    expect(on.vm.table.query(G, 2 * M).map(({ start, level }) => [start, level])).toEqual([[G + 0x3000, 3]]);
  });
});
