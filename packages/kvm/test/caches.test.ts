import { describe, expect, it } from 'vitest';
import { type CacheEmulation, DeferredCaches, guestAbort, linuxCaches, PerCpuCaches } from '../src/index.js';
import { bench, type Bench, esr, G, M, TRANSLATION, valueOf, withMemory } from './support.js';

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

/**
 * The states of Linux kvm_set_way_flush and kvm_toggle_cache, TVM by caches on, as the table of what is known of KVM has them (arch/arm64/kvm/mmu.c, sys_regs.c):
 * event, then for TVM = 0 and TVM = 1 whether the VM is flushed, what TVM is then, and the tracepoint. `-`: nothing, and TVM as it was.
 */
const MACHINE = `
set/way, caches off   | flush 1 kvm_set_way_flush | -
set/way, caches on    | flush 1 kvm_set_way_flush | -
VM register, off->off | -                         | keep 1 kvm_toggle_cache
VM register, off->on  | -                         | flush 0 kvm_toggle_cache
VM register, on->off  | -                         | flush 1 kvm_toggle_cache
VM register, on->on   | -                         | keep 0 kvm_toggle_cache
`;

describe('the machine of TVM', () => {
  const rows = MACHINE.trim().split('\n').map((line) => line.split('|').map((cell) => cell.trim()));

  it.each(rows.flatMap(([event, ...cells]) => cells.map((cell, tvm) => [event, tvm, cell] as const)))('%s, TVM = %i: %s', (event, tvm, cell) => {
    const [was, now = was] = (/(on|off)(?:->(on|off))?$/.exec(event)?.slice(1) ?? []).map((word) => (word === undefined ? undefined : word === 'on'));
    const on = at(tvm === 1, was === true);
    if (event.startsWith('set/way')) {
      linuxCaches.setWay(on.vm, on.vcpu, PC);
    } else {
      linuxCaches.vmRegister(on.vm, on.vcpu, PC, now === true);
    }
    const told = names(on);
    const [flush, then, trace] = cell === '-' ? ['keep', String(tvm), undefined] : cell.split(' ');
    expect([told.includes('stage2_flush_vm'), String(Number(on.vcpu.tvm)), told.find((name) => name.startsWith('kvm_'))]).toEqual([flush === 'flush', then, trace]);
    // The trace of a set/way operation comes before the flush, that of a toggle after it.
    if (flush === 'flush') {
      expect(told.indexOf('stage2_flush_vm') < told.indexOf(trace!)).toBe(event.startsWith('VM register'));
    }
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

  it("Xen's cleans what was used since the last time alone: everything faults again after a flush", () => {
    const caches = new DeferredCaches();
    const on = at(false, false);
    const touch = (page: number): void => void valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 3, { write: true }), far: 0n, ipa: G + page * 4096 }));
    const flushed = (): number => {
      on.vcpu.tvm = false;
      on.sink.reset();
      caches.setWay(on.vm, on.vcpu);
      caches.beforeEntry(on.vm);
      return on.sink.effects.reduce((bytes, each) => bytes + (each.type === 'cmo' && each.op === 'dc-civac' ? each.bytes : 0), 0);
    };
    touch(0);
    touch(512);
    expect(flushed()).toBe(4 * M);
    expect(on.sink.tlbi['VMALLS12E1IS']).toBe(1);
    expect(flushed()).toBe(0);
    touch(512);
    expect(flushed()).toBe(2 * M);
  });

  it("Xen's can leave everything mapped, and cleans it all each time", () => {
    const caches = new DeferredCaches({ tracksUse: false });
    const on = at(false, false);
    valueOf(guestAbort(on.vm, on.vcpu, { esr: esr(TRANSLATION + 1), far: 0n, ipa: G }));
    caches.setWay(on.vm, on.vcpu);
    caches.beforeEntry(on.vm);
    expect(on.vm.table.query(G, M)).toHaveLength(1);
  });

  it('the older one flushes all lines of the PE where the vCPU has moved since it last ran', () => {
    const caches = new PerCpuCaches(2, [0x00, 0x40, 0x80]);
    const on = bench();
    caches.load(on.vm, on.vcpu, 0);
    caches.ran(on.vcpu);
    caches.load(on.vm, on.vcpu, 1);
    caches.setWay(on.vm, on.vcpu, PC, { op: 'isw', operand: 0x1040 });
    expect(on.sink.effects.flatMap((each) => (each.type === 'cmo' ? [[each.op, each.address]] : []))).toEqual([['dc-cisw', 0], ['dc-cisw', 0x40], ['dc-cisw', 0x80]]);
  });
});
