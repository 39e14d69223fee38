import type { Vcpu, Vm } from '../vm.js';
import type { CacheAnswer, CacheEmulation } from './emulation.js';
import { flushVm } from './flush.js';

export interface DeferredOptions {
  /** An IOMMU walks the same table, and cannot live with entries that are not valid: set/way operations are undefined then. Default false. */
  readonly sharedWithIommu?: boolean;
  /**
   * Each flush is followed by taking all of the VM's memory out of use, so that the next one cleans what was used in between alone. Default true. Xen clears
   * the valid bits of the root entries for that and leaves the tables as they are; here the leaves are unmapped, and the same pages fault again: which pages
   * are cleaned, and how many faults it takes, is the same, but not the tables that are freed and made anew.
   */
  readonly tracksUse?: boolean;
}

/**
 * Xen's: the same states, but the flush waits until the guest is entered again, and then comes once. Source: Xen xen/arch/arm/mmu/p2m.c p2m_set_way_flush,
 * p2m_toggle_cache, p2m_flush_vm, p2m_invalidate_root.
 */
export class DeferredCaches implements CacheEmulation {
  readonly name = 'xen-deferred';
  readonly #options: DeferredOptions;
  #needed = false;

  constructor(options: DeferredOptions = {}) {
    this.#options = options;
  }

  setWay(_vm: Vm, vcpu: Vcpu): CacheAnswer {
    if (this.#options.sharedWithIommu === true) {
      return 'undefined';
    }
    if (!vcpu.tvm) {
      vcpu.tvm = true;
      this.#needed = true;
    }
    return 'done';
  }

  vmRegister(_vm: Vm, vcpu: Vcpu, _pc: bigint, now: boolean): void {
    if (vcpu.tvm) {
      this.#needed ||= now !== vcpu.cachesOn;
      vcpu.tvm = !now;
    }
    vcpu.cachesOn = now;
  }

  beforeEntry(vm: Vm): void {
    if (!this.#needed) {
      return;
    }
    this.#needed = false;
    flushVm(vm);
    if (this.#options.tracksUse !== false) {
      withdraw(vm);
    }
  }
}

/** No access of the guest goes without a fault from here on. */
function withdraw(vm: Vm): void {
  for (const { ipa, size } of vm.slots.inKernelOrder()) {
    vm.inChunks(ipa, ipa + size, (addr, bytes) => vm.table.unmap(addr, bytes, { mode: 'linux', tlbi: 'none', skip: { cmo: true } }));
  }
  vm.flushVmid();
}
