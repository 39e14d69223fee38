import { createTableArena } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { decodeAbort, errnoOf, guestAbort, type Handled, kernelProfile, notifierEnd, notifierStart, notifierUnmap, setMemoryRegion } from '../src/index.js';
import { ACCESS_FLAG, bench, type Bench, esr, G, hostOf, M, PERMISSION, TRANSLATION, valueOf, withMemory } from './support.js';

function fault(on: Bench, ipa: number, code: bigint, offset = 0): Handled {
  return valueOf(guestAbort(on.vm, on.vcpu, { esr: code, far: BigInt(ipa + offset), ipa }));
}

describe('the syndrome', () => {
  it('of a write on a stage-1 walk is a write only where it is a permission fault', () => {
    const write = (fsc: number): boolean => decodeAbort({ esr: esr(fsc, { write: true, s1ptw: true }), far: 0n, ipa: 0 }).write;
    expect([write(TRANSLATION + 3), write(PERMISSION + 3)]).toEqual([false, true]);
  });

  it.each([
    [0x82000005n, { cause: 'translation', level: 1, fetch: true, write: false, access: undefined }],
    [0x93c1804fn, { cause: 'permission', level: 3, fetch: false, write: true, access: { bytes: 8 } }],
    [0x93810046n, { cause: 'translation', level: 2, write: true, access: { bytes: 4 } }],
    [0x9200002bn, { cause: 'translation', level: -1 }],
    [0x92000010n, { cause: 'external', level: undefined }],
    [0x9200001fn, { cause: 'external' }],
  ])('%s of DDI 0487 ESR_EL2', (code, expected) => {
    expect(decodeAbort({ esr: code, far: 0x123n, ipa: 0x1000 })).toMatchObject({ ipa: 0x1123, ...expected });
  });
});

describe('kvm_handle_guest_abort', () => {
  it('leaves external aborts to the host', () => {
    expect(fault(bench(), G, esr(0x10))).toEqual({ did: 'host-external-abort' });
  });

  it('injects an address size fault beyond the host, an external abort beyond the IPA space', () => {
    const on = bench();
    expect(fault(on, 2 ** 48, esr(TRANSLATION))).toEqual({ did: 'injected', exception: 'address-size' });
    expect(fault(on, 2 ** 40, esr(TRANSLATION))).toEqual({ did: 'injected', exception: 'external-data-abort' });
  });

  it('takes 48 bits for the limit of a host of 52 whose pages do not reach further', () => {
    expect(fault(bench({ features: { paBits: 52, lpa: true } }), 2 ** 48, esr(TRANSLATION))).toEqual({ did: 'injected', exception: 'address-size' });
  });

  it('refuses faults of other kinds with EFAULT', () => {
    expect(guestAbort(bench().vm, bench().vcpu, { esr: esr(0x21), far: 0n, ipa: G })).toMatchObject({ id: 'abort.unsupported' });
  });

  it('without a slot injects fetches and stage-1 walks, skips cache maintenance, and makes the rest MMIO', () => {
    const on = bench();
    const f = TRANSLATION + 1;
    expect(fault(on, 0x900_0000, esr(f, { fetch: true }))).toEqual({ did: 'injected', exception: 'external-instruction-abort' });
    expect(fault(on, 0x900_0000, esr(f, { s1ptw: true }))).toEqual({ did: 'injected', exception: 'external-data-abort' });
    expect(fault(on, 0x900_0000, esr(f, { write: true, cm: true }))).toEqual({ did: 'skipped' });
    expect(on.told()).toEqual([]);
    expect(fault(on, 0x900_0000, esr(f, { write: true, sas: 2 }), 8)).toEqual({ did: 'mmio', address: 0x900_0008, write: true, bytes: 4 });
    expect(fault(on, 0x900_0000, esr(f, { sas: 0 }))).toEqual({ did: 'mmio', address: 0x900_0000, write: false, bytes: 1 });
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(f), far: 0n, ipa: 0x900_0000 })).toMatchObject({ id: 'abort.no-syndrome' });
    const asking = bench({ nisvToUser: true });
    expect(fault(asking, 0x900_0000, esr(f))).toEqual({ did: 'mmio', address: 0x900_0000, write: false, bytes: undefined });
    expect(on.told().map((text) => text.split(' ')[0])).toEqual(['kvm_mmio', 'kvm_mmio', 'kvm_mmio_nisv']);
  });

  it('makes a write to a read-only slot MMIO, and maps a read of it without write permission', () => {
    const on = bench();
    on.host.add({ start: 0x7000_0000, bytes: M, kind: 'anonymous', pageBytes: 4096, memory: 'normal', writable: true, physical: 2 * G, leafBytes: 4096 });
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: M, hva: 0x7000_0000, readonly: true }));
    expect(fault(on, G, esr(TRANSLATION + 1, { write: true, sas: 3 })).did).toBe('mmio');
    on.told();
    expect(fault(on, G, esr(TRANSLATION + 1)).did).toBe('mapped');
    expect(on.told()).toEqual(['s2_map 0x40000000 0x1000 0x80000000 read+normal 0x8']);
  });

  it('sets the access flag of one page for an access-flag fault', () => {
    const on = bench();
    withMemory(on);
    fault(on, G, esr(TRANSLATION + 1));
    on.told();
    expect(fault(on, G + 0x5000, esr(ACCESS_FLAG + 2))).toEqual({ did: 'made-young', address: G + 0x5000 });
    expect(on.told()).toEqual(['kvm_access_fault 0x40005000', 's2_mkyoung 0x40005000 0x8']);
  });
});

describe('user_mem_abort', () => {
  it('maps a transparent huge page by a block, address and output aligned, executable for a fetch alone', () => {
    const on = bench();
    withMemory(on);
    fault(on, G + 0x12_3000, esr(TRANSLATION + 1, { write: true }));
    fault(on, G + 2 * M, esr(TRANSLATION + 2, { fetch: true }));
    expect(on.told()).toEqual(['s2_map 0x40000000 0x200000 0x80000000 read+write+normal 0x8', 's2_map 0x40200000 0x200000 0x80200000 read+write+execute+normal 0x8']);
  });

  it('maps everything executable where instruction caches need no maintenance (DIC)', () => {
    const on = bench({ features: { dic: true } });
    withMemory(on);
    fault(on, G, esr(TRANSLATION + 1));
    expect(on.told()).toEqual(['s2_map 0x40000000 0x200000 0x80000000 read+write+execute+normal 0x8']);
  });

  it.each([
    ['user address and IPA disagree below the block', { hva: 0x7f00_0000_1000 }],
    ['the block sticks out of the slot', { bytes: M }],
    ['the host maps pages', { leafBytes: 4096 }],
  ])('maps a page where %s', (_, at) => {
    const on = bench();
    withMemory(on, at);
    expect(fault(on, G + 0x3000, esr(TRANSLATION + 1))).toMatchObject({ did: 'mapped', bytes: 4096, address: G + 0x3000 });
  });

  it.each([
    [G, 1 * G, G],
    [G, 32 * M, 2 * M],
    [2 * M, 64 * 1024, 4096],
    [32 * M, 32 * M, 2 * M],
  ])('of a %i-byte slot of hugetlb pages of %i bytes maps %i', (bytes, pageBytes, mapped) => {
    const on = bench();
    on.host.add({ start: 4 * G, bytes, kind: 'hugetlb', pageBytes, memory: 'normal', writable: true, physical: 8 * G, leafBytes: pageBytes });
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: 16 * G, size: bytes, hva: 4 * G }));
    expect(fault(on, 16 * G + 0x1000, esr(TRANSLATION + 1))).toMatchObject({ bytes: mapped });
    expect(on.vm.violations).toEqual([]);
  });

  it('relaxes a permission fault on a mapping of the size that was hit, and maps again otherwise', () => {
    const on = bench();
    withMemory(on);
    fault(on, G, esr(TRANSLATION + 1));
    on.told();
    on.sink.reset();
    expect(fault(on, G, esr(PERMISSION + 2, { fetch: true }))).toEqual({ did: 'relaxed', address: G });
    expect(on.told()).toEqual(['s2_relax_perms 0x40000000 read+write+execute+normal 0x8']);
    expect(on.sink.tlbi).toEqual({ IPAS2E1: 1, VMALLE1: 1 });
    expect(on.sink.cmo).toEqual({ 'ic-ivau': 1 });
  });

  it('never takes a permission fault for a read', () => {
    const on = bench();
    withMemory(on);
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(PERMISSION + 3), far: 0n, ipa: G })).toMatchObject({ id: 'abort.read-permission' });
  });

  it('writes nothing where the same is mapped already, and tells the guest to go on', () => {
    const on = bench();
    withMemory(on);
    fault(on, G, esr(TRANSLATION + 1));
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G })).toMatchObject({ kind: 'retry', id: 'map.already-mapped' });
  });

  it('does nothing where a notifier came between fault and mapping', () => {
    const on = bench();
    withMemory(on);
    const since = on.vm.invalidations;
    notifierUnmap(on.vm, 0x7f00_0000_0000, 0x7f00_0000_1000);
    on.told();
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }, { since })).toMatchObject({ kind: 'retry', id: 'abort.invalidated' });
    expect(on.told()).toEqual([]);
    notifierUnmap(on.vm, 0, 0x1000);
    expect(on.vm.invalidations).toBe(since + 1);
  });

  it('refuses memory that the host does not have', () => {
    const on = bench();
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: M, hva: 0x7000_0000 }));
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G })).toMatchObject({ kind: 'refused', id: 'abort.host-fault' });
  });

  it('is tried again while a notifier is under way, and maps once it has ended', () => {
    const on = bench();
    withMemory(on);
    notifierStart(on.vm, 0x7f00_0000_0000, 0x7f00_0000_1000);
    const at = { esr: esr(TRANSLATION + 1), far: 0n, ipa: G };
    expect(guestAbort(on.vm, on.vcpu, at)).toMatchObject({ kind: 'retry', id: 'abort.invalidated' });
    notifierEnd(on.vm, 0x7f00_0000_0000, 0x7f00_0000_1000);
    expect(guestAbort(on.vm, on.vcpu, at).kind).toBe('done');
  });

  it('needs its minimum of table pages: with fewer in the pool it fails with ENOMEM, and what it took is kept for the next time', () => {
    const on = bench({ memory: createTableArena({ pageShift: 12, maxPages: 3, initialPages: 3 }) });
    withMemory(on, { leafBytes: 4096 });
    const outcome = guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G });
    // The entry table has two of the three pages: one is left where two are needed.
    expect(outcome).toMatchObject({ kind: 'refused', id: 'abort.no-pages' });
    expect(outcome.kind === 'refused' && errnoOf(outcome)).toBe(-12);
    expect(on.vcpu.cache.objects).toBe(1);
    expect(on.vm.freePages).toBe(0);
  });

  it('gives the VMM a signal for faulty memory, and maps nothing', () => {
    const area = { start: 0, end: G, kind: 'anonymous', pageBytes: 4096, memory: 'normal', writable: true } as const;
    const on = bench({ hostMemory: { areaAt: () => area, page: () => ({ physical: G, writable: true, leafBytes: 4096, poisoned: true }) } });
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: M, hva: 0 }));
    expect(fault(on, G, esr(TRANSLATION + 1))).toEqual({ did: 'signalled', address: G });
  });

  it('of a VM with tags needs memory that can have them', () => {
    const on = bench({ mte: true });
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: M, hva: 0 }));
    on.host.add({ start: 0, bytes: M, kind: 'anonymous', pageBytes: 4096, memory: 'normal', writable: true, physical: G, leafBytes: 4096, tags: false });
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G })).toMatchObject({ id: 'abort.tags' });
    expect(setMemoryRegion(on.vm, { slot: 1, ipa: 2 * G, size: M, hva: 0 })).toMatchObject({ id: 'slot.tags' });
  });

  it('is not modelled under pKVM', () => {
    const on = bench({ protection: 'pkvm' });
    withMemory(on);
    expect(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G })).toMatchObject({ kind: 'not-modelled', id: 'abort.pkvm' });
  });

  it('of 4.x cleans where the caches of the guest are off, and maps executable from the first fault on', () => {
    const on = bench({ kernel: kernelProfile('4.8') });
    withMemory(on, { leafBytes: 4096 });
    fault(on, G, esr(TRANSLATION + 1));
    expect(on.sink.cmo).toEqual({ 'dc-civac': 1, 'ic-ivau': 1 });
    on.vcpu.cachesOn = true;
    fault(on, G + 0x1000, esr(TRANSLATION + 3));
    expect(on.sink.cmo).toEqual({ 'dc-civac': 1, 'ic-ivau': 2 });
    expect(on.told()).toContain('s2_map 0x40000000 0x1000 0x80000000 read+write+execute+normal 0x0');
  });

  it('keeps at least as many pages in the cache as a mapping may need below the entry tables', () => {
    const on = bench();
    withMemory(on, { leafBytes: 4096 });
    fault(on, G, esr(TRANSLATION + 1));
    expect(on.vcpu.cache.objects).toBe(38);
    on.vcpu.cache.objects = 2;
    fault(on, G + 0x1000, esr(TRANSLATION + 3));
    expect(on.vcpu.cache.objects).toBe(2);
    on.vcpu.cache.objects = 1;
    fault(on, G + 0x2000, esr(TRANSLATION + 3));
    expect(on.vcpu.cache.objects).toBe(40);
  });
});

describe('device memory', () => {
  function device(version: string, bytes: number, leafBytes: number): Bench {
    const on = bench({ kernel: kernelProfile(version) });
    on.host.add({ start: 4 * G, bytes, kind: 'device', pageBytes: 4096, memory: 'device', writable: true, physical: 2 ** 39, leafBytes });
    valueOf(setMemoryRegion(on.vm, { slot: 0, ipa: 16 * G, size: bytes, hva: 4 * G }));
    return on;
  }

  it('is mapped by pages when the slot is made up to 5.13, by the largest block that the VMA has room for up to 7.0, as the host maps it, 2 MiB at most, today', () => {
    const last = 255 * M + 64 * 1024 - 4096;
    const sizes = (on: Bench, ...offsets: number[]): unknown[] =>
      offsets.map((at) => (fault(on, 16 * G + at, esr(TRANSLATION + 1)) as { bytes: number }).bytes);
    expect(sizes(device('6.12', G, 4096), 0x1000)).toEqual([G]);
    expect(sizes(device('6.12', 255 * M + 64 * 1024, 4096), 0x1000, last)).toEqual([2 * M, 4096]);
    expect(sizes(device('7.2', G, 4096), 0x1000)).toEqual([4096]);
    expect(sizes(device('7.2', G, G), 0x1000)).toEqual([2 * M]);
    const created = device('5.10', 4 * M, 2 * M);
    expect(created.events.find(({ event }) => event === 's2_map')).toMatchObject({ calls: 1024, fields: { size: 4096 } });
    expect(new Set(created.vm.table.query(16 * G, 4 * M).map(({ level }) => level))).toEqual(new Set([3]));
  });

  it('is not cleaned, never executable, and injects a fetch', () => {
    const on = device('7.2', G, 4096);
    fault(on, 16 * G, esr(TRANSLATION + 1));
    expect(on.told()).toEqual(['s2_map 0x400000000 0x1000 0x8000000000 read+write+device 0x8']);
    expect(on.sink.cmo).toEqual({});
    expect(fault(on, 16 * G, esr(PERMISSION + 3, { fetch: true }))).toEqual({ did: 'injected', exception: 'external-instruction-abort' });
  });

  it('that is cacheable needs FEAT_S2FWB and DIC, where a slot is made and at its faults; up to 6.16 it is Device', () => {
    const cacheable = (options: Parameters<typeof bench>[0], late: boolean): unknown => {
      const on = bench(options);
      const add = (): void => on.host.add({ start: 4 * G, bytes: M, kind: 'device', pageBytes: 4096, memory: 'normal', writable: true, physical: 2 ** 39, leafBytes: 4096 });
      if (!late) add();
      const made = setMemoryRegion(on.vm, { slot: 0, ipa: 16 * G, size: M, hva: 4 * G });
      if (late) add();
      const outcome = made.kind === 'done' ? guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: 16 * G }) : made;
      return outcome.kind === 'done' ? on.told().find((text) => text.startsWith('s2_map'))?.split(' ')[4] : outcome.kind === 'refused' && outcome.id;
    };
    const both = { s2fwb: true, dic: true };
    expect([{}, { s2fwb: true }, both].map((features) => cacheable({ features }, false))).toEqual(['slot.device-cacheable', 'slot.device-cacheable', 'read+write+execute+normal']);
    expect([{}, { s2fwb: true }, both].map((features) => cacheable({ features }, true))).toEqual(['abort.uncacheable', 'abort.uncacheable', 'read+write+execute+normal']);
    expect(cacheable({ kernel: kernelProfile('6.12') }, false)).toBe('read+write+device');
  });
});

describe('the huge-page adjustment of 7.2 on a host of two levels', () => {
  it('asks for a huge page at the address of the fault, and runs past its backing', () => {
    const two = hostOf('16K', {}, 36);
    const on = bench({ host: two });
    withMemory(on, { leafBytes: 32 * M, hva: 0x40_0000_0000 });
    fault(on, G + 0x50_4000, esr(TRANSLATION + 2, { write: true }));
    expect(on.told()).toEqual(['s2_map 0x40504000 0x2000000 0x80504000 read+write+normal 0x8']);
    expect(on.vm.violations.map(({ id }) => id)).toEqual(['map.outside-backing']);
  });

  it('up to 7.0 asks for it at its own address, with the frame of the fault', () => {
    const on = bench({ host: hostOf('16K', {}, 36), kernel: kernelProfile('7.0') });
    withMemory(on, { leafBytes: 32 * M, hva: 0x40_0000_0000 });
    fault(on, G + 0x50_4000, esr(TRANSLATION + 2, { write: true }));
    expect(on.told()).toEqual(['s2_map 0x40000000 0x2000000 0x80504000 read+write+normal 0x8']);
    expect(on.vm.violations.map(({ id }) => id)).toEqual(['map.outside-backing']);
  });

  it('asks for the whole huge page with three levels, or where the mask is its size', () => {
    const bySize = { ...kernelProfile('7.2'), thpMask: 'size' } as const;
    for (const on of [bench({ host: hostOf('16K', {}, 47) }), bench({ host: hostOf('16K', {}, 47), kernel: kernelProfile('6.12') }), bench({ host: hostOf('16K', {}, 36), kernel: bySize })]) {
      withMemory(on, { leafBytes: 32 * M, hva: 0x40_0000_0000 });
      fault(on, G + 0x50_4000, esr(TRANSLATION + 2, { write: true }));
      expect(on.told()[0]).toMatch(/^s2_map 0x40000000 0x2000000 0x80000000 /);
      expect(on.vm.violations).toEqual([]);
    }
  });

  it.each([
    ['6.12', 'on a later part of a page maps it at its own address, to 4 KiB', '0x40003000'],
    ['7.0', 'maps the page', '0x40000000'],
  ])('a fault of %s %s', (version, _, address) => {
    const on = bench({ host: hostOf('16K'), kernel: kernelProfile(version) });
    withMemory(on, { leafBytes: 16384 });
    fault(on, G + 0x3000, esr(TRANSLATION + 3, { write: true }));
    expect(on.told()[0]).toMatch(new RegExp(`^s2_map ${address} 0x4000 0x80000000 `, 'u'));
    fault(on, G + 0x2000, esr(PERMISSION + 3, { fetch: true }));
    expect(on.told()[0]).toMatch(/^s2_relax_perms 0x4000(?:2000|0000) /u);
    expect(on.vm.table.query(G, 64 * M)).toHaveLength(1);
  });
});
