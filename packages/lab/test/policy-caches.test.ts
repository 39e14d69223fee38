import { linuxCaches, notifierUnmap, PerCpuCaches, type MaintenancePolicy } from '@granule/kvm';
import { describe, expect, it } from 'vitest';
import { ALL_LINES, CacheRig, DATA } from './policy-cache-rig.js';

const PAGE = 4096;

/**
 * A page of a guest: mapped, read ahead by the host's own map, written by the guest, taken away. What the host then finds in it, which it reads by its own
 * cacheable map, and what a device finds that reads memory behind all caches. 42 is what the guest wrote.
 */
function afterUnmap(guest: 'cached' | 'uncached', maintenance: MaintenancePolicy, s2fwb = false): { readonly host: number; readonly device: number } {
  const rig = new CacheRig({ vm: { maintenance }, features: { s2fwb } });
  if (guest === 'cached') rig.switchOn();
  rig.write(1n);
  rig.hostReadsAhead(1);
  rig.write(42n);
  notifierUnmap(rig.vm, 0, PAGE);
  // The device first: what it finds does not change what the caches hold.
  return { device: rig.deviceSees(), host: rig.hostSees(1) };
}

describe('is the cache maintenance at unmap ever needed, when map does one?', () => {
  it('yes, for a guest whose caches are off: a line that the host read ahead hides what it wrote', () => {
    expect(afterUnmap('uncached', 'map').host).toBe(1);
    expect(afterUnmap('uncached', 'map-and-unmap').host).toBe(42);
  });

  it('yes, for a device that is not coherent, and a guest whose caches are on: unless who programs the device cleans', () => {
    expect(afterUnmap('cached', 'map').device).not.toBe(42);
    expect(afterUnmap('cached', 'map-and-unmap').device).toBe(42);
  });

  it('no, where guest and host both go through the caches', () => {
    expect(afterUnmap('cached', 'map').host).toBe(42);
  });

  it('no, where guest and device both go past them', () => {
    expect(afterUnmap('uncached', 'map').device).toBe(42);
  });

  it('not for the host with S2FWB, which makes every guest cacheable; the device is left to who programs it', () => {
    expect([afterUnmap('uncached', 'map', true), afterUnmap('uncached', 'map-and-unmap', true)].map(({ host }) => host)).toEqual([42, 42]);
    expect(afterUnmap('uncached', 'map-and-unmap', true).device).not.toBe(42);
  });
});

describe('cache maintenance at map', () => {
  /** The host clears a page, and gives it to a guest whose caches are off. */
  const given = (maintenance: MaintenancePolicy): { readonly value: bigint | undefined; readonly rules: readonly string[] } => {
    const rig = new CacheRig({ vm: { maintenance } });
    rig.machine.storeByDevice(DATA, Uint8Array.of(0x66));
    rig.hostWrites(1, 7);
    const value = rig.value();
    return { value, rules: rig.rules() };
  };

  it.each(['none', 'unmap'] as const)('that is left out (%s) shows a guest what was in memory before', (maintenance) => {
    expect(given(maintenance)).toEqual({ value: 0x66n, rules: ['data.stale-read'] });
  });

  it.each(['map', 'map-and-unmap'] as const)('%s', (maintenance) => {
    expect(given(maintenance)).toEqual({ value: 7n, rules: [] });
  });
});

describe('is there a guest that slips through TVM?', () => {
  /** The guest writes 42, flushes by set/way and writes 43, with its caches on; then it does something, and switches them off. */
  const slips = (between: (rig: CacheRig) => void, after: (rig: CacheRig) => void = () => undefined) => {
    const rig = new CacheRig({ caches: linuxCaches });
    rig.switchOn();
    rig.write(42n);
    rig.setWays();
    rig.write(43n);
    between(rig);
    const { tvm } = rig.vcpu;
    rig.switchOff();
    after(rig);
    return { tvm, value: rig.value(), rules: rig.rules() };
  };

  it('yes: a write of TTBR0 with M and C set disarms the trap without a flush, SCTLR.C = 0 goes unseen, and the guest reads 42', () => {
    const found = slips((rig) => rig.register('TTBR0_EL1', rig.guest.registers['TTBR0_EL1']));
    expect(found).toEqual({ tvm: false, value: 42n, rules: ['data.stale-read'] });
  });

  it('no, without that write: the trap is still armed, and switching off flushes', () => {
    expect(slips(() => undefined)).toEqual({ tvm: true, value: 43n, rules: [] });
  });

  it('no, where the guest flushes once its caches are off, as the architecture wants it: set/way operations always trap', () => {
    const found = slips((rig) => rig.register('TTBR0_EL1', rig.guest.registers['TTBR0_EL1']), (rig) => rig.setWays());
    expect(found).toEqual({ tvm: false, value: 43n, rules: [] });
  });
});

describe('set/way operations one CPU at a time, as before 2015', () => {
  /** The guest writes on PE 1, is moved to PE 0, flushes there and switches its caches off. */
  const moved = (caches: ConstructorParameters<typeof CacheRig>[0] & object): { readonly value: bigint | undefined; readonly rules: readonly string[] } => {
    const rig = new CacheRig(caches);
    rig.switchOn();
    rig.run(1);
    rig.write(42n);
    rig.run(0);
    rig.setWays();
    rig.switchOff();
    rig.setWays();
    const value = rig.value();
    return { value, rules: rig.rules() };
  };

  it('miss the line on the PE where the guest ran before', () => {
    const { value, rules } = moved({ caches: new PerCpuCaches(2, ALL_LINES) });
    expect(value).not.toBe(42n);
    expect(rules).toEqual(['cache.set-way-not-enough']);
  });

  it('do not where they are turned into maintenance by address', () => {
    expect(moved({ caches: linuxCaches })).toEqual({ value: 42n, rules: [] });
  });
});

describe('one invalidation of all of the VM, after everything is unmapped', () => {
  it('comes when the page is cleaned already, so that a guest may still write to it in between: without S2FWB it must not wait', () => {
    const rig = new CacheRig({ vm: { invalidation: 'vm-wide' } });
    rig.switchOn();
    rig.write(1n);
    const cleans = (): number => rig.heard.findLastIndex((each) => each.type === 'cmo' && each.address === DATA);
    const before = cleans();
    notifierUnmap(rig.vm, 0, PAGE);
    const flush = rig.heard.findLastIndex((each) => each.type === 'tlbi' && each.op === 'VMALLS12E1IS');
    expect(cleans()).toBeGreaterThan(before);
    expect(flush).toBeGreaterThan(cleans());
  });
});
