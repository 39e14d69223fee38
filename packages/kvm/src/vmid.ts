/** What a VM carries: a VMID of some generation; 0 before its first. */
export interface VmidHolder {
  vmid: number;
  generation: number;
}

/** The VMID a VM runs with, and whether every TLB entry of the machine had to go for it. */
export interface VmidUse {
  readonly vmid: number;
  /** A new generation began: all VMIDs are invalidated once on every PE (ALLE1IS). */
  readonly rollover: boolean;
}

/**
 * VMIDs with generations. A VM keeps its VMID while its generation lasts; when all are used up a new generation begins, in which VMs that are running
 * keep theirs. VMID 0 is the host's. Source: Linux arch/arm64/kvm/vmid.c.
 */
export class VmidAllocator {
  readonly #count: number;
  readonly #used: Uint8Array;
  /** By PE. */
  readonly #active = new Map<number, VmidHolder>();
  #generation = 1;
  #next = 1;

  /** @param bits 8 or 16 (VTCR_EL2.VS) */
  constructor(bits: number) {
    this.#count = 2 ** bits;
    this.#used = new Uint8Array(this.#count);
  }

  get generation(): number {
    return this.#generation;
  }

  /** A VM enters the guest on a PE. */
  use(vm: VmidHolder, pe: number): VmidUse {
    let rollover = false;
    if (vm.generation !== this.#generation) {
      rollover = this.#allocate(vm);
    }
    this.#active.set(pe, vm);
    return { vmid: vm.vmid, rollover };
  }

  /** The PE runs no guest any more. */
  leave(pe: number): void {
    this.#active.delete(pe);
  }

  #allocate(vm: VmidHolder): boolean {
    let rollover = false;
    if (vm.generation !== 0 && this.#used[vm.vmid] === 0) {
      this.#take(vm, vm.vmid);
      return false;
    }
    let free = this.#used.indexOf(0, this.#next);
    if (free === -1) {
      this.#begin();
      rollover = true;
      if (vm.generation === this.#generation) {
        return true;
      }
      free = this.#used.indexOf(0, 1);
    }
    if (free === -1) {
      throw new RangeError(`all ${this.#count - 1} VMIDs are in use by running VMs`);
    }
    this.#next = free;
    this.#take(vm, free);
    return rollover;
  }

  #take(vm: VmidHolder, vmid: number): void {
    vm.vmid = vmid;
    vm.generation = this.#generation;
    this.#used[vmid] = 1;
  }

  #begin(): void {
    this.#generation += 1;
    this.#next = 1;
    this.#used.fill(0);
    for (const vm of this.#active.values()) {
      this.#take(vm, vm.vmid);
    }
  }
}
