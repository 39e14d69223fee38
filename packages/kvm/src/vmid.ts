/** What carries a VMID of some generation, 0 before its first: a VM, and beside it the virtual EL2 of a VM. */
export interface VmidHolder {
  vmid: number;
  generation: number;
  /** Its generation is over, and it runs nowhere: it may get another VMID when it is entered next. */
  expired?(): void;
}

/** The VMID a VM runs with, and whether every TLB entry of the machine had to go for it. */
export interface VmidUse {
  readonly vmid: number;
  /** A new generation began: all VMIDs are invalidated once on every PE (ALLE1IS). */
  readonly rollover: boolean;
}

/**
 * VMIDs with generations. A VM keeps its VMID while its generation lasts; when all are used up a new generation begins, in which VMs that are running keep
 * theirs: those that a PE has entered last and not left, and those that were so at an earlier rollover where the PE has entered nothing since. VMID 0 is the
 * host's. Ids are generation · 2^bits + VMID, as in Linux arch/arm64/kvm/vmid.c.
 */
export class VmidAllocator {
  readonly #count: number;
  readonly #used: Uint8Array;
  /** By PE: the id entered last; 0 since a rollover; {@link #invalid} where the guest was left (active_vmids). */
  readonly #active = new Map<number, number>();
  /** By PE: the id that the last rollover kept for it (reserved_vmids). */
  readonly #reserved = new Map<number, number>();
  /** By VMID: who has it, in this generation or kept from an earlier one. */
  readonly #holders = new Map<number, VmidHolder>();
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

  /** VMID_ACTIVE_INVALID: no VM has VMID 0. */
  get #invalid(): number {
    return this.#count;
  }

  /** A VM enters the guest on a PE (kvm_arm_vmid_update). */
  use(vm: VmidHolder, pe: number): VmidUse {
    const rollover = vm.generation !== this.#generation && this.#renew(vm);
    this.#active.set(pe, this.#idOf(vm));
    return { vmid: vm.vmid, rollover };
  }

  /** The PE runs no guest any more (kvm_arm_vmid_clear_active). */
  leave(pe: number): void {
    this.#active.set(pe, this.#invalid);
  }

  #idOf({ vmid, generation }: VmidHolder): number {
    return generation * this.#count + vmid;
  }

  /** new_vmid. Answers whether a generation began. */
  #renew(vm: VmidHolder): boolean {
    if (vm.generation !== 0 && (this.#keepReserved(vm) || this.#used[vm.vmid] === 0)) {
      this.#take(vm, vm.vmid);
      return false;
    }
    let free = this.#used.indexOf(0, this.#next);
    const rollover = free === -1;
    if (rollover) {
      this.#begin();
      free = this.#used.indexOf(0, 1);
    }
    if (free === -1) {
      throw new RangeError(`all ${this.#count - 1} VMIDs are in use by running VMs`);
    }
    this.#next = free;
    this.#take(vm, free);
    return rollover;
  }

  /** check_update_reserved_vmid: the reservations of an id move on to this generation. */
  #keepReserved(vm: VmidHolder): boolean {
    const old = this.#idOf(vm);
    const pes = [...this.#reserved].filter(([, id]) => id === old);
    pes.forEach(([pe]) => this.#reserved.set(pe, this.#generation * this.#count + vm.vmid));
    return pes.length > 0;
  }

  #take(vm: VmidHolder, vmid: number): void {
    vm.vmid = vmid;
    vm.generation = this.#generation;
    this.#used[vmid] = 1;
    this.#holders.set(vmid, vm);
  }

  /** flush_context. */
  #begin(): void {
    this.#generation += 1;
    this.#used.fill(0);
    for (const pe of new Set([...this.#active.keys(), ...this.#reserved.keys()])) {
      const active = this.#active.get(pe) ?? 0;
      const id = active === 0 ? (this.#reserved.get(pe) ?? 0) : active;
      this.#active.set(pe, 0);
      this.#reserved.set(pe, id);
      this.#used[id % this.#count] = 1;
    }
    for (const [vmid, holder] of [...this.#holders]) {
      if (this.#used[vmid] === 0) {
        this.#holders.delete(vmid);
        holder.expired?.();
      }
    }
  }
}
