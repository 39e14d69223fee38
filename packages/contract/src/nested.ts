import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Granule, Level } from '@granule/geometry';
import type { Backend, Features } from './backend.js';
import type { PhysicalReader } from './memory.js';
import type { Outcome } from './outcome.js';

/** The machine that a guest hypervisor sees, as far as its stage 2 goes. */
export interface NestedGuest {
  /** Backend of the guest hypervisor's tables and of the shadows. */
  readonly backend: Backend;
  /** Physical address size that it sees (PARange), bits: the input size of every shadow too. */
  readonly paBits: number;
  /** What the host's KVM offers as IPA at most, bits (get_kvm_ipa_limit): a bound of output addresses. */
  readonly ipaLimit: number;
  readonly hostGranule: Granule;
  /** Stage-2 granules, FEAT_XNX, FEAT_TTL, FEAT_TLBIRANGE, FEAT_XS, as it sees them. */
  readonly features: Pick<Features, 'granules2' | 'xnx' | 'ttl' | 'tlbirange' | 'xs'>;
  /** FEAT_TLBIOS. Default: as FEAT_TLBIRANGE. */
  readonly tlbios?: boolean;
}

/** The registers of a virtual EL2 that say which stage 2 its nested guest runs with. */
export interface NestedState {
  /** VTTBR_EL2 and VTCR_EL2, as the guest hypervisor wrote them. */
  readonly vttbr: bigint;
  readonly vtcr: bigint;
  /** HCR_EL2.VM: its stage 2 is on. */
  readonly stage2: boolean;
  /** SCTLR_EL2.EE: its tables are big-endian. Default false. */
  readonly bigEndian?: boolean;
}

/** The memory of a VM, at its own IPAs: there a guest hypervisor keeps its tables. */
export interface GuestMemory extends PhysicalReader {
  /**
   * Compare-and-swap of the 8 bytes at `ipa`, as one little-endian word, for an access flag that hardware sets. `changed`: they are not `expected`.
   * Absent: read-only memory.
   */
  exchange?(ipa: OutputAddress, expected: bigint, value: bigint): 'done' | 'changed' | 'read-only' | 'not-memory';
}

/** An access of a nested guest that its shadow stage 2 did not let through. */
export interface NestedFault {
  /** IPA of the nested guest. */
  readonly ipa: InputAddress;
  /** ESR_EL2 of the abort: what is forwarded is this, with another fault status code. */
  readonly esr: bigint;
  /** A permission fault; else a translation or access flag fault. */
  readonly permission: boolean;
  /** An instruction abort. */
  readonly fetch: boolean;
  readonly write: boolean;
  /** Made at EL1; false: at EL0. */
  readonly privileged: boolean;
}

/** What a guest hypervisor's stage 2 leaves of a mapping in the shadow. */
export interface ShadowLimits {
  /** The VM's IPA behind the faulting address. */
  readonly ipa: InputAddress;
  /** Bytes of the guest hypervisor's block or page, whatever sizes the host has; Infinity where its stage 2 is off. */
  readonly maxBytes: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly executeEl1: boolean;
  readonly executeEl0: boolean;
  /** Level of the guest hypervisor's entry, which the shadow's leaf notes in its software bits; undefined where its stage 2 is off. */
  readonly level: Level | undefined;
}

/** What is to be done about a {@link NestedFault}. */
export type ShadowDecision =
  /** The host maps, with at most these permissions and this size, its own memory type, and the level as tag. */
  | { readonly did: 'map'; readonly limits: ShadowLimits }
  /** The guest hypervisor is to see the fault. */
  | { readonly did: 'forward'; readonly esr: bigint; readonly statusCode: number; readonly level: Level; readonly sentence: string }
  /** Its entry changed while it was read: the access is made again. */
  | { readonly did: 'retry' };

/** The guest hypervisor's level that a valid leaf of a shadow notes; 0: none. */
export interface ShadowLeaf {
  readonly tag: number;
}

/** What a nested layer asks of whoever holds the shadow tables. Shadows go by number, from 0, as the layer's contexts do. */
export interface HostStage2 {
  /** A shadow more: an empty table with a VMID of its own. Refused as the host refuses it. */
  add(context: number): Outcome<undefined>;
  /** Nothing of [start, end) stays mapped in a shadow, and no TLB holds what was. Ends beyond the shadow's input size are cut. */
  unmap(context: number, start: InputAddress, end: InputAddress): void;
  writeProtect(context: number): void;
  /** Cleans and invalidates what a shadow maps. */
  flush(context: number): void;
  /** The valid leaf that translates an address of a shadow. */
  leaf(context: number, ipa: InputAddress): ShadowLeaf | undefined;
  /** An EL1 invalidation of the guest hypervisor's, carried out under the shadow's VMID on every PE. `name`: broadcast, without nXS. */
  invalidateStage1(context: number, name: string, operand: bigint): void;
}

/** One context as it stands. */
export interface ShadowContext {
  readonly index: number;
  /** False: it has never been used, or was emptied for good. */
  readonly valid: boolean;
  /** VTTBR_EL2 without CnP, VTCR_EL2 and HCR_EL2.VM that it was taken for. */
  readonly vttbr: bigint;
  readonly vtcr: bigint;
  readonly stage2: boolean;
  /** It was taken from another guest, whose mappings go before the next entry. */
  readonly pendingUnmap: boolean;
  /** vCPUs that hold it. */
  readonly references: number;
}

/** Shadow stage-2 contexts of a VM with a virtual EL2 (Linux arch/arm64/kvm/nested.c). vCPUs go by number, from 0. */
export interface ShadowStage2 {
  readonly contexts: readonly ShadowContext[];
  /** A vCPU with a virtual EL2; its contexts come with it. Answers its number. */
  addVcpu(): Outcome<number>;
  /** The vCPU is to run its nested guest: the context that it holds from here on until {@link put}. Never fails (see `nested`). */
  load(vcpu: number, state: NestedState): ShadowContext;
  /** It stops: descheduled (`keep`: and not waiting for an interrupt, so that it keeps its context), or back at virtual EL2. */
  put(vcpu: number, options?: { readonly keep?: boolean }): void;
  /** What is owed before the guest is entered is done: the mappings of a context's former guest go. */
  beforeEntry(vcpu: number): void;
  /** @throws RangeError where the vCPU holds no context */
  fault(vcpu: number, fault: NestedFault): ShadowDecision;
  /**
   * A TLBI of the guest hypervisor's, with the registers that it has at that moment. Refused: `tlbi.undefined` (an exception for the guest),
   * `tlbi.unknown`.
   */
  tlbi(state: NestedState, name: string, operand: bigint): Outcome<undefined>;
  /** The host takes memory away, write-protects, or flushes: every valid context. */
  unmapAll(): void;
  writeProtectAll(): void;
  flushAll(): void;
}

/** A nested layer to be tested or swapped: shadow contexts for one VM. */
export interface NestedLayer {
  readonly name: string;
  /** Not modelled: a backend without nested virtualisation (`nested.not-supported`). */
  open(options: { readonly guest: NestedGuest; readonly memory: GuestMemory; readonly host: HostStage2 }): Outcome<ShadowStage2>;
}
