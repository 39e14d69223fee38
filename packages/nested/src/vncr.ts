import { alignDown, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { entrySpan, type Granule, type Level } from '@granule/geometry';
import { decodeRange, ttlSize } from './tlbi.js';

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

/** Operand of an invalidation by VA: ASID 63:48, TTL 47:44, VA[55:12] in 43:0 (DDI 0487 C5.5, TLBI VAE2). */
const VA_FIELD = 0xf_ffff_ffffn;
/** VA[55], which tells the halves. */
const UPPER = 1n << 43n;

/**
 * What an invalidation of the guest hypervisor's own regime names: ALLE2 and its like, and with HCR_EL2.{E2H,TGE} = {1,1} those of EL1. `name` without
 * shareability and nXS. Undefined: no such operation. A TTL that names no size is taken as 1 GiB. Source: Linux compute_s1_tlbi_range.
 */
export function vncrScope(name: string, operand: bigint): VncrScope | undefined {
  const asid = Number(operand >> 48n);
  switch (name) {
    case 'ALLE2':
    case 'VMALLE1':
      return { scope: 'all' };
    case 'ASIDE1':
      return { scope: 'asid', asid };
    case 'VAE2':
    case 'VALE2':
    case 'VAE1':
    case 'VALE1':
      return { ...byAddress(operand), asid };
    case 'VAAE1':
    case 'VAALE1':
      return byAddress(operand);
    case 'RVAE2':
    case 'RVALE2':
    case 'RVAE1':
    case 'RVALE1':
      return { ...byRange(operand), asid };
    case 'RVAAE1':
    case 'RVAALE1':
      return byRange(operand);
    default:
      return undefined;
  }
}

type ByVa = VncrScope & { readonly scope: 'va' };

function byAddress(operand: bigint): ByVa {
  const bytes = ttlSize(Number((operand >> 44n) & 15n)) ?? UNKNOWN_SIZE;
  return { scope: 'va', start: alignDown(Number(operand & VA_FIELD) * 4096, Math.log2(bytes)), bytes, upper: (operand & UPPER) !== 0n };
}

function byRange(operand: bigint): ByVa {
  const { base, upper, bytes } = decodeRange(operand);
  return { scope: 'va', start: base, bytes, upper };
}

/** What an access through VNCR_EL2 gets that is not let through although stage 1 translates the page. Source: Linux kvm_handle_vncr_abort. */
export type VncrFault =
  /** Memory that the guest hypervisor may write and the host may not, or none at all: not what a guest can put right. */
  | { readonly fault: 'external-abort' }
  /** The guest hypervisor's own permissions, at the level of its entry. */
  | { readonly fault: 'permission'; readonly level: Level | undefined };

/** @param entry undefined: VNCR_EL2 leads to no memory slot, or to one that is no RAM */
export function vncrFault(entry: VncrEntry | undefined): VncrFault {
  const hostsFault = entry === undefined || (entry.write && !entry.hostWritable);
  return hostsFault ? { fault: 'external-abort' } : { fault: 'permission', level: entry.level };
}
