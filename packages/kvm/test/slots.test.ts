import { describe, expect, it } from 'vitest';
import { errnoOf, kernelProfile, setMemoryRegion, Slots } from '../src/index.js';
import { bench, G, M, withMemory } from './support.js';

describe('KVM_SET_USER_MEMORY_REGION', () => {
  const base = { slot: 0, ipa: G, size: 2 * M, hva: 0x7000_0000 };

  it.each([
    ['slot.alignment', -22, { ...base, size: 2 * M + 1 }],
    ['slot.alignment', -22, { ...base, hva: 0x7000_0010 }],
    ['slot.id', -22, { ...base, slot: 32_767 }],
    ['slot.too-large', -22, { ...base, slot: 1, ipa: 0, size: 2 ** 43 }],
    ['slot.none', -22, { ...base, slot: 3, size: 0 }],
    ['slot.size-changed', -22, { ...base, size: 4 * M }],
    ['slot.immutable', -22, { ...base, readonly: true }],
    ['slot.immutable', -22, { ...base, hva: 0x8000_0000 }],
    ['slot.overlap', -17, { ...base, slot: 1, ipa: G + M }],
    ['slot.beyond-ipa', -14, { ...base, slot: 1, ipa: 2 ** 40 - M }],
  ])('refuses %s with errno %i', (id, errno, region) => {
    const { vm } = bench();
    expect(setMemoryRegion(vm, base)).toMatchObject({ kind: 'done', value: 'create' });
    const outcome = setMemoryRegion(vm, region);
    expect(outcome).toMatchObject({ kind: 'refused', id });
    expect(outcome.kind !== 'done' && errnoOf(outcome)).toBe(errno);
  });

  it('lets a slot end exactly at the IPA limit; 4.x did not', () => {
    const region = { ...base, ipa: 2 ** 40 - 2 * M };
    expect(setMemoryRegion(bench().vm, region).kind).toBe('done');
    expect(setMemoryRegion(bench({ kernel: kernelProfile('4.8') }).vm, region)).toMatchObject({ id: 'slot.beyond-ipa' });
  });

  it('tells creation, move, change of flags, deletion and nothing apart', () => {
    const { vm } = bench();
    const regions = [base, base, { ...base, ipa: 2 * G }, { ...base, ipa: 2 * G, logDirty: true }, { ...base, size: 0 }];
    expect(regions.map((region) => setMemoryRegion(vm, region))).toMatchObject(
      ['create', 'none', 'move', 'flags', 'delete'].map((value) => ({ kind: 'done', value })),
    );
  });

  it('unmaps a slot that goes and every shadow, in steps of 1 GiB between multiples of it', () => {
    const on = bench();
    withMemory(on, { ipa: G - 64 * M, bytes: 128 * M });
    setMemoryRegion(on.vm, { slot: 0, ipa: 0, size: 0, hva: 0 });
    expect(on.told()).toEqual(['unmap_stage2_range 0x3c000000 0x8000000', 's2_unmap 0x3c000000 0x4000000', 's2_unmap 0x40000000 0x4000000', 'nested_s2_unmap']);
  });

  it('refuses to log device memory', () => {
    const { vm, host } = bench();
    host.add({ start: 0x7000_0000, bytes: 2 * M, kind: 'device', pageBytes: 4096, memory: 'device', writable: true, physical: 2 ** 39, leafBytes: 4096 });
    expect(setMemoryRegion(vm, { ...base, logDirty: true })).toMatchObject({ id: 'slot.device-logging' });
  });
});

describe('a slot that cannot be', () => {
  it('where it is to move stays where it was, with nothing mapped: the IPA limit is looked at when it is unmapped', () => {
    const on = bench();
    withMemory(on);
    on.told();
    expect(setMemoryRegion(on.vm, { slot: 0, ipa: 2 ** 40, size: 64 * M, hva: 0x7f00_0000_0000 })).toMatchObject({ id: 'slot.beyond-ipa' });
    expect(on.told()).toEqual(['unmap_stage2_range 0x40000000 0x4000000', 's2_unmap 0x40000000 0x4000000', 'nested_s2_unmap']);
    expect(on.vm.slots.byId(0)?.ipa).toBe(G);
  });

  it('because a page of its device memory is mapped already is unmapped as a whole again', () => {
    const on = bench({ kernel: kernelProfile('5.10') });
    on.host.add({ start: 0x7000_0000, bytes: 8 * M, kind: 'device', pageBytes: 4096, memory: 'device', writable: true, physical: 2 ** 39, leafBytes: 4096 });
    const device = { read: true, write: true, execute: false, memory: 'device' } as const;
    on.vm.map(G + M, 4096, 2 ** 39 + M, device, { ipa: [G, 2 * G], physical: [2 ** 39, 2 ** 40] });
    on.told();
    expect(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: 8 * M, hva: 0x7000_0000 })).toMatchObject({ kind: 'retry', id: 'map.already-mapped' });
    const told = on.told();
    expect(told.slice(-2)).toEqual(['unmap_stage2_range 0x40000000 0x800000', 's2_unmap 0x40000000 0x800000']);
    expect([on.vm.slots.count, on.vm.table.query(G, 8 * M).length]).toEqual([0, 0]);
  });

  it('of a protected VM: read-only, logged, or gone once it has run', () => {
    const on = bench({ protection: 'pkvm-protected' });
    const region = { slot: 0, ipa: G, size: M, hva: 0x7000_0000 };
    const ids = [{ ...region, logDirty: true }, { ...region, readonly: true }].map((each) => setMemoryRegion(on.vm, each));
    expect(ids).toMatchObject([{ id: 'slot.protected' }, { id: 'slot.protected' }]);
    expect(setMemoryRegion(on.vm, region).kind).toBe('done');
    on.vm.load(on.vcpu, 0);
    const gone = setMemoryRegion(on.vm, { ...region, size: 0 });
    expect(gone.kind !== 'done' && errnoOf(gone)).toBe(-1);
  });
});

describe('device memory of a slot that is made', () => {
  it.each([
    ['pages', 1024],
    ['largest-block', 2],
    ['at-fault', 0],
  ] as const)('is mapped by %s', (mmio, calls) => {
    const on = bench({ mmio });
    on.host.add({ start: 0x7000_0000, bytes: 4 * M, kind: 'device', pageBytes: 4096, memory: 'device', writable: true, physical: 2 ** 39, leafBytes: 4096 });
    on.host.add({ start: 0x7040_0000, bytes: M, kind: 'anonymous', pageBytes: 4096, memory: 'normal', writable: true, physical: G, leafBytes: 4096 });
    expect(setMemoryRegion(on.vm, { slot: 0, ipa: G, size: 5 * M, hva: 0x7000_0000 }).kind).toBe('done');
    expect(on.events.reduce((sum, each) => sum + (each.event === 's2_map' ? (each.calls ?? 1) : 0), 0)).toBe(calls);
    expect(on.vm.violations).toEqual([]);
  });
});

describe('the order of kvm_for_each_memslot', () => {
  it('is that of a recorded flush of nine slots: by hash of the number', () => {
    const slots = new Slots({ kernel: kernelProfile('7.2'), pageBytes: 4096, ipaBits: 40 });
    for (let slot = 0; slot < 9; slot++) {
      const planned = slots.plan({ slot, ipa: slot * G, size: M, hva: slot * G });
      expect(planned.kind).toBe('done');
      if (planned.kind === 'done') {
        slots.commit(planned.value);
      }
    }
    expect(slots.inKernelOrder().map(({ id }) => id)).toEqual([0, 8, 3, 6, 1, 4, 7, 2, 5]);
  });

  it('was by address, highest first, in 4.x', () => {
    const on = bench({ kernel: kernelProfile('4.8') });
    [2, 3, 1].forEach((n) => withMemory(on, { ipa: n * G, hva: n * G, bytes: M }));
    expect(on.vm.slots.inKernelOrder().map(({ ipa }) => ipa / G)).toEqual([3, 2, 1]);
  });
});
