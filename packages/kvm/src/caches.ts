import type { Vcpu, Vm } from './vm.js';

/** How set/way operations and cache toggling of a guest are emulated. */
export interface CacheEmulation {
  readonly name: string;
  /** A trapped DC by set/way. */
  setWay(vm: Vm, vcpu: Vcpu, pc: bigint): void;
  /** A write to SCTLR, TTBR, TCR, MAIR, … , while it traps; `now`: caches on after it. */
  vmRegister(vm: Vm, vcpu: Vcpu, pc: bigint, now: boolean): void;
  /** Before the guest is entered again. */
  beforeEntry?(vm: Vm): void;
}

/** Cleans and invalidates every slot, and the shadows (stage2_flush_vm). */
export function flushVm(vm: Vm): void {
  vm.tell({ event: 'stage2_flush_vm', fields: {} });
  for (const { ipa, size } of vm.slots.inKernelOrder()) {
    vm.inChunks(ipa, ipa + size, (addr, bytes) => {
      vm.tell({ event: 's2_flush', fields: { addr, size: bytes } });
      return vm.table.flush(addr, bytes);
    });
  }
  if (vm.kernel.nestedHooks) {
    vm.tell({ event: 'nested_s2_flush', fields: {} });
  }
  vm.nested?.flushAll();
}

/**
 * Today's: the first set/way operation flushes the VM and makes VM-register writes trap; while they do, further set/way operations wait for the caches
 * to be toggled. Any trapped write that leaves the caches on ends the trapping, whether or not it changed them. With FEAT_S2FWB set/way operations are ignored.
 * Sources: Linux kvm_set_way_flush, kvm_toggle_cache.
 */
export const linuxCaches: CacheEmulation = {
  name: 'linux',
  setWay(vm, vcpu, pc) {
    if (vm.host.features.s2fwb) {
      return;
    }
    vm.tell({ event: 'set_way_flush', fields: {} });
    if (!vcpu.tvm) {
      vm.tell({ event: 'kvm_set_way_flush', fields: { pc, cache: vcpu.cachesOn } });
      flushVm(vm);
      vcpu.tvm = true;
    }
  },
  vmRegister(vm, vcpu, pc, now) {
    if (!vcpu.tvm) {
      vcpu.cachesOn = now;
      return;
    }
    const was = vcpu.cachesOn;
    vm.tell({ event: 'toggle_cache', fields: { was } });
    if (now !== was) {
      flushVm(vm);
    }
    vcpu.cachesOn = now;
    vcpu.tvm = !now;
    vm.tell({ event: 'kvm_toggle_cache', fields: { pc, was, now } });
  },
};

/**
 * Before 2015: the operation is done on this PE alone, every other PE owes one (require_dcache_flush) and pays when this vCPU next runs there. It misses
 * what speculation brings back and what system caches hold. Source: Linux 3.19 arch/arm/kvm/coproc.c access_dcsw.
 */
export class PerCpuCaches implements CacheEmulation {
  readonly name = 'per-cpu';
  /** By vCPU: PEs that owe an operation. */
  readonly #owed = new Map<number, Set<number>>();
  readonly #pes: number;
  /** The PE of each vCPU. */
  readonly #at = new Map<number, number>();

  constructor(pes: number) {
    this.#pes = pes;
  }

  setWay(vm: Vm, vcpu: Vcpu): void {
    const here = this.#at.get(vcpu.id) ?? 0;
    this.#owed.set(vcpu.id, new Set(Array.from({ length: this.#pes }, (_, pe) => pe).filter((pe) => pe !== here)));
    this.#clean(vm);
  }

  vmRegister(): void {
    // Nothing follows a toggle.
  }

  /** The vCPU runs on a PE (kvm_arch_vcpu_load). */
  load(vm: Vm, vcpu: Vcpu, pe: number): void {
    this.#at.set(vcpu.id, pe);
    if (this.#owed.get(vcpu.id)?.delete(pe) === true) {
      this.#clean(vm);
    }
  }

  #clean(vm: Vm): void {
    vm.options.sink?.effect({ type: 'cmo', op: 'dc-cisw', to: 'poc', address: 0, bytes: 0 });
  }
}

/**
 * Xen's: the same states, but the flush waits until the guest is entered again, and then comes once. Source: Xen xen/arch/arm/mmu/p2m.c p2m_set_way_flush,
 * p2m_toggle_cache, p2m_flush_vm.
 */
export class DeferredCaches implements CacheEmulation {
  readonly name = 'xen-deferred';
  #needed = false;

  setWay(_vm: Vm, vcpu: Vcpu): void {
    if (!vcpu.tvm) {
      vcpu.tvm = true;
      this.#needed = true;
    }
  }

  vmRegister(_vm: Vm, vcpu: Vcpu, _pc: bigint, now: boolean): void {
    if (vcpu.tvm) {
      this.#needed ||= now !== vcpu.cachesOn;
      vcpu.tvm = !now;
    }
    vcpu.cachesOn = now;
  }

  beforeEntry(vm: Vm): void {
    if (this.#needed) {
      this.#needed = false;
      flushVm(vm);
    }
  }
}
