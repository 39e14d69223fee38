import { type Outcome, type Refused, done } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import { DirtyBitmap } from './dirty-bitmap.js';
import { refuse } from './errno.js';
import type { HostAddress } from './host-memory.js';
import type { KernelProfile } from './profile.js';

/** KVM_SET_USER_MEMORY_REGION: a slot to make, move, change or (size 0) delete. */
export interface MemoryRegion {
  /** 0 … 32,766. */
  readonly slot: number;
  readonly ipa: InputAddress;
  /** Bytes, a multiple of the page size; 0 deletes. */
  readonly size: number;
  readonly hva: HostAddress;
  /** KVM_MEM_LOG_DIRTY_PAGES. */
  readonly logDirty?: boolean;
  /** KVM_MEM_READONLY. */
  readonly readonly?: boolean;
}

export interface Slot {
  readonly id: number;
  readonly ipa: InputAddress;
  readonly size: number;
  readonly hva: HostAddress;
  readonly readonly: boolean;
  /** While dirty pages are logged. */
  readonly dirty: DirtyBitmap | undefined;
}

export type SlotChange = 'none' | 'create' | 'delete' | 'move' | 'flags';

export interface PlannedChange {
  readonly change: SlotChange;
  readonly old: Slot | undefined;
  readonly slot: Slot | undefined;
}

export interface SlotRules {
  readonly kernel: KernelProfile;
  readonly pageBytes: number;
  readonly ipaBits: number;
}

/** KVM_USER_MEM_SLOTS and KVM_MEM_MAX_NR_PAGES (Linux include/linux/kvm_host.h). */
const MAX_SLOTS = 32_767;
const MAX_PAGES = 2 ** 31 - 1;
const SOURCE = 'Linux kvm_set_memory_region';
/** GOLDEN_RATIO_32 (Linux include/linux/hash.h), and the 7 bits of kvm_memslots.id_hash. */
const GOLDEN_RATIO_32 = 0x61c8_8647;
const ID_HASH_SHIFT = 32 - 7;

/** The memory slots of one VM. */
export class Slots {
  readonly #rules: SlotRules;
  /** The latest last. */
  readonly #slots: Slot[] = [];

  constructor(rules: SlotRules) {
    this.#rules = rules;
  }

  get count(): number {
    return this.#slots.length;
  }

  byId(id: number): Slot | undefined {
    return this.#slots.find((slot) => slot.id === id);
  }

  at(ipa: InputAddress): Slot | undefined {
    return this.#slots.find((slot) => slot.ipa <= ipa && ipa < slot.ipa + slot.size);
  }

  /** Slots that have user addresses in [start, end), by user address (the interval tree of kvm_for_each_memslot_in_hva_range). */
  inHostRange(start: HostAddress, end: HostAddress): readonly Slot[] {
    return this.#slots.filter(({ hva, size }) => hva < end && start < hva + size).sort((a, b) => a.hva - b.hva);
  }

  /** All, in the kernel's order: the buckets of a hash of the number, in each the latest first; or by address, highest first. */
  inKernelOrder(): readonly Slot[] {
    const latestFirst = [...this.#slots].reverse();
    const key = ({ id, ipa }: Slot): number =>
      this.#rules.kernel.slotOrder === 'id-hash' ? Math.imul(id, GOLDEN_RATIO_32) >>> ID_HASH_SHIFT : 0 - ipa;
    return latestFirst.sort((a, b) => key(a) - key(b));
  }

  /**
   * What a request comes to, nothing done yet. Refused in Linux's order: `slot.alignment`, `slot.id`, `slot.wraps`, `slot.too-large`, `slot.none`,
   * `slot.size-changed`, `slot.immutable`, `slot.overlap`.
   */
  plan(region: MemoryRegion): Outcome<PlannedChange> {
    const problem = this.#malformed(region);
    if (problem !== undefined) {
      return problem;
    }
    const old = this.byId(region.slot);
    if (region.size === 0) {
      return old === undefined
        ? refuse('slot.none', `memory_size is 0, which deletes a slot, and there is no slot ${region.slot}.`, SOURCE)
        : done({ change: 'delete', old, slot: undefined });
    }
    const change = old === undefined ? 'create' : this.#changeOf(region, old);
    return typeof change === 'string' ? this.#placed(region, change, old) : change;
  }

  commit({ old, slot }: PlannedChange): void {
    if (old !== undefined) {
      this.#slots.splice(this.#slots.indexOf(old), 1);
    }
    if (slot !== undefined) {
      this.#slots.push(slot);
    }
  }

  #malformed({ slot, ipa, size, hva }: MemoryRegion) {
    const { pageBytes } = this.#rules;
    for (const [name, value] of [['memory_size', size], ['guest_phys_addr', ipa], ['userspace_addr', hva]] as const) {
      if (value % pageBytes !== 0) {
        return refuse('slot.alignment', `${name} ${hex(value)} is not a multiple of the page size, ${pageBytes} bytes.`, SOURCE);
      }
    }
    if (!Number.isInteger(slot) || slot < 0 || slot >= MAX_SLOTS) {
      return refuse('slot.id', `Slot ${slot} is not one of 0 to ${MAX_SLOTS - 1}.`, SOURCE);
    }
    if (ipa + size > 2 ** 53) {
      return refuse('slot.wraps', `guest_phys_addr ${hex(ipa)} and memory_size ${hex(size)} wrap.`, SOURCE);
    }
    return size / pageBytes > MAX_PAGES ? refuse('slot.too-large', `Slot ${slot} has ${size / pageBytes} pages, more than ${MAX_PAGES}.`, SOURCE) : undefined;
  }

  #changeOf(region: MemoryRegion, old: Slot) {
    if (region.size !== old.size) {
      return refuse('slot.size-changed', `Slot ${old.id} has ${hex(old.size)} bytes; a slot's size cannot change to ${hex(region.size)}.`, SOURCE);
    }
    if (region.hva !== old.hva || (region.readonly ?? false) !== old.readonly) {
      return refuse('slot.immutable', `Slot ${old.id} exists; its userspace_addr and KVM_MEM_READONLY cannot change.`, SOURCE);
    }
    return region.ipa !== old.ipa ? 'move' : (region.logDirty ?? false) !== (old.dirty !== undefined) ? 'flags' : 'none';
  }

  #placed(region: MemoryRegion, change: SlotChange, old: Slot | undefined): Outcome<PlannedChange> {
    const { slot: id, ipa, size, hva } = region;
    const other = this.#slots.find((each) => each.id !== id && each.ipa < ipa + size && ipa < each.ipa + each.size);
    if (other !== undefined && (change === 'create' || change === 'move')) {
      return refuse('slot.overlap', `Slot ${id} at ${hex(ipa)}-${hex(ipa + size)} overlaps slot ${other.id} at ${hex(other.ipa)}-${hex(other.ipa + other.size)}.`, SOURCE);
    }
    const dirty = region.logDirty === true ? (old?.dirty ?? new DirtyBitmap(size / this.#rules.pageBytes)) : undefined;
    return done({ change, old, slot: { id, ipa, size, hva, readonly: region.readonly ?? false, dirty } });
  }

  /**
   * The IPA limit, which Linux looks at when a slot that goes or moves is already unmapped (kvm_arch_prepare_memory_region). Refused: `slot.beyond-ipa`.
   */
  fits({ id, ipa, size }: Slot): Refused | undefined {
    const { kernel, ipaBits } = this.#rules;
    const limit = 2 ** ipaBits;
    if (ipa + size < limit || (ipa + size === limit && kernel.slotMayEndAtLimit)) {
      return undefined;
    }
    return refuse('slot.beyond-ipa', `Slot ${id} ends at ${hex(ipa + size)}, beyond the ${ipaBits}-bit IPA space.`, 'Linux kvm_arch_prepare_memory_region');
  }
}
