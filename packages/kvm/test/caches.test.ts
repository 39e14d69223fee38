import { describe, expect, it } from 'vitest';
import { type CacheEmulation, DeferredCaches, linuxCaches, PerCpuCaches } from '../src/index.js';
import { bench, type Bench, withMemory } from './support.js';

const PC = 0x8000_1234n;
const names = (on: Bench): string[] => on.told().map((text) => text.split(' ')[0]);

/** A vCPU in one state of the machine: HCR_EL2.TVM, and caches on. */
function at(tvm: boolean, cachesOn: boolean): Bench {
  const on = bench();
  withMemory(on);
  Object.assign(on.vcpu, { tvm, cachesOn });
  return on;
}

const FLUSH = ['stage2_flush_vm', 's2_flush', 'nested_s2_flush'];

describe('set/way and cache toggling, state by state', () => {
  it('a new vCPU has TVM set, unless the host has S2FWB', () => {
    expect(bench().vcpu.tvm).toBe(true);
    expect(bench({ features: { s2fwb: true } }).vcpu.tvm).toBe(false);
  });

  it.each([true, false])('DC by set/way with TVM clear is traced, then flushes the VM, then sets TVM (caches on: %s)', (cachesOn) => {
    const on = at(false, cachesOn);
    linuxCaches.setWay(on.vm, on.vcpu, PC);
    expect(on.told()).toEqual(['set_way_flush', `kvm_set_way_flush 0x80001234 ${String(cachesOn)}`, 'stage2_flush_vm', 's2_flush 0x40000000 0x4000000', 'nested_s2_flush']);
    expect(on.vcpu.tvm).toBe(true);
  });

  it.each([true, false])('DC by set/way with TVM set does nothing, caches on or off (%s)', (cachesOn) => {
    const on = at(true, cachesOn);
    linuxCaches.setWay(on.vm, on.vcpu, PC);
    expect(names(on)).toEqual(['set_way_flush']);
    expect(on.vcpu.tvm).toBe(true);
  });

  it.each([
    [false, false, [], true],
    [false, true, FLUSH, false],
    [true, false, FLUSH, true],
    [true, true, [], false],
  ])('a trapped VM-register write, caches %s to %s: flush, TVM, and the trace last', (was, now, flush, tvm) => {
    const on = at(true, was);
    linuxCaches.vmRegister(on.vm, on.vcpu, PC, now);
    expect(names(on)).toEqual(['toggle_cache', ...flush, 'kvm_toggle_cache']);
    expect(on.vcpu).toMatchObject({ tvm, cachesOn: now });
  });

  it.each([true, false])('a VM-register write with TVM clear is not seen (caches on after it: %s)', (now) => {
    const on = at(false, true);
    linuxCaches.vmRegister(on.vm, on.vcpu, PC, now);
    expect(on.told()).toEqual([]);
    expect(on.vcpu).toMatchObject({ tvm: false, cachesOn: now });
  });

  it('a write of TTBR with the caches on disarms the trap, so that switching them off later goes unseen', () => {
    const on = at(false, true);
    linuxCaches.setWay(on.vm, on.vcpu, PC);
    linuxCaches.vmRegister(on.vm, on.vcpu, PC, true);
    on.told();
    linuxCaches.vmRegister(on.vm, on.vcpu, PC, false);
    expect(on.told()).toEqual([]);
  });

  it('TVM is of the vCPU, the flush of the VM', () => {
    const on = at(false, true);
    const other = on.vm.addVcpu();
    other.tvm = false;
    linuxCaches.setWay(on.vm, on.vcpu, PC);
    expect([on.vcpu.tvm, other.tvm]).toEqual([true, false]);
  });

  it('set/way operations are ignored with S2FWB', () => {
    const on = bench({ features: { s2fwb: true } });
    linuxCaches.setWay(on.vm, on.vcpu, PC);
    expect(on.told()).toEqual([]);
    expect(on.vcpu.tvm).toBe(false);
  });
});

describe('other emulations', () => {
  it('the older one works on this PE, and on each other when the vCPU next runs there, once', () => {
    const caches = new PerCpuCaches(3);
    const on = bench();
    const operations = (): number => on.sink.cmo['dc-cisw'] ?? 0;
    caches.load(on.vm, on.vcpu, 0);
    caches.setWay(on.vm, on.vcpu);
    expect(operations()).toBe(1);
    [1, 1, 0, 2].forEach((pe) => caches.load(on.vm, on.vcpu, pe));
    expect(operations()).toBe(3);
  });

  it("Xen's flushes once, before the guest goes on", () => {
    const caches: CacheEmulation = new DeferredCaches();
    const on = at(false, false);
    caches.setWay(on.vm, on.vcpu, PC);
    caches.vmRegister(on.vm, on.vcpu, PC, true);
    expect(on.told()).toEqual([]);
    caches.beforeEntry?.(on.vm);
    caches.beforeEntry?.(on.vm);
    expect(names(on)).toEqual(FLUSH);
  });
});
