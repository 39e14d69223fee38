import { alignDown, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { entrySpan, type Granule, type Level } from '@granule/geometry';

/** What the guest hypervisor's stage 1 (EL2 or EL2&0) says of the page that VNCR_EL2 names, and what the host has behind it. */
export interface VncrEntry {
  /** Of VNCR_EL2, sign-extended to 64 bits by hardware: here the offset in its half, page-aligned to 4K. */
  readonly gva: InputAddress;
  readonly upper: boolean;
  /** Granule and level of its leaf: how much an invalidation of any address in it takes. Undefined level: taken as 1 GiB. */
  readonly granule: Granule;
  readonly level: Level | undefined;
  /** The VM's IPA, and the host's address behind it. */
  readonly ipa: OutputAddress;
  readonly physical: OutputAddress;
  readonly nG: boolean;
  readonly asid: number;
  readonly read: boolean;
  readonly write: boolean;
  /** The host may write the page. */
  readonly hostWritable: boolean;
}

/** What an invalidation of the EL2 regime, or of a VMID's memory, names. */
export type VncrScope =
  | { readonly scope: 'all' }
  /** `asid`: not-global entries of another one stay. Undefined: whatever ASID. */
  | { readonly scope: 'va'; readonly start: InputAddress; readonly bytes: number; readonly upper: boolean; readonly asid?: number }
  | { readonly scope: 'asid'; readonly asid: number }
  /** The host takes memory at the VM's IPAs away. */
  | { readonly scope: 'ipa'; readonly start: InputAddress; readonly bytes: number };

/** An unknown level is taken as this much (Linux kvm_invalidate_vncr_ipa, ttl_to_size). */
const UNKNOWN_SIZE = 2 ** 30;

/** How the page may be mapped for hardware: not at all, read-only, or writable. */
export type VncrMapping = 'none' | 'read-only' | 'writable';

function spanOf({ granule, level }: VncrEntry): number {
  return level === undefined || level < 1 ? UNKNOWN_SIZE : entrySpan(granule, level);
}

/** Whether [start, start + bytes) meets the block that holds `address`. The block's *base* counts, not what is left of the address below its size. */
function meets(address: number, span: number, start: number, bytes: number): boolean {
  const base = alignDown(address, Math.log2(span));
  return base < start + bytes && start < base + span;
}

/** One vCPU's entry: the only translation that KVM keeps for VNCR_EL2 accesses. Source: Linux struct vncr_tlb (arch/arm64/kvm/nested.c). */
export class VncrTlb {
  #entry: VncrEntry | undefined;

  get entry(): VncrEntry | undefined {
    return this.#entry;
  }

  /** After a translation fault of an access through VNCR_EL2 was resolved. */
  fill(entry: VncrEntry): void {
    this.#entry = entry;
  }

  /** Whether the entry goes with an invalidation; it does then. */
  invalidate(scope: VncrScope): boolean {
    const gone = this.#entry !== undefined && names(scope, this.#entry);
    if (gone) {
      this.#entry = undefined;
    }
    return gone;
  }

  /**
   * What may be put behind VNCR_EL2 before the guest is entered. Read and write need the guest hypervisor's read permission: what may only be written cannot
   * be mapped. Source: Linux kvm_map_l1_vncr.
   */
  mapping(at: { readonly gva: InputAddress; readonly upper: boolean; readonly asid: number; readonly virtualEl2: boolean }): VncrMapping {
    const entry = this.#entry;
    if (entry === undefined || at.virtualEl2 || entry.gva !== at.gva || entry.upper !== at.upper || (entry.nG && entry.asid !== at.asid) || !entry.read) {
      return 'none';
    }
    return entry.write && entry.hostWritable ? 'writable' : 'read-only';
  }
}

function names(scope: VncrScope, entry: VncrEntry): boolean {
  switch (scope.scope) {
    case 'all':
      return true;
    case 'asid':
      return entry.nG && entry.asid === scope.asid;
    case 'va':
      return scope.upper === entry.upper && (scope.asid === undefined || !entry.nG || entry.asid === scope.asid) && meets(entry.gva, spanOf(entry), scope.start, scope.bytes);
    case 'ipa':
      return meets(entry.ipa, spanOf(entry), scope.start, scope.bytes);
  }
}
