import type { Outcome } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { Handled } from '../abort.js';
import type { Stage2 } from '../stage2.js';
import type { Abort } from '../syndrome.js';
import type { Vcpu } from '../vm.js';

/** What a guest hypervisor's stage 2 leaves of a mapping in a shadow. */
export interface ShadowLimits {
  /** Bytes of the guest hypervisor's block or page, rounded to no host size yet. */
  readonly maxBytes: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly executeEl1: boolean;
  readonly executeEl0: boolean;
  /** Level of its entry, for the software bits. */
  readonly level: number;
}

/** Where a fault is to be mapped: address in a stage 2, and the VM's IPA behind it. */
export interface FaultPlace {
  readonly stage2: Stage2;
  readonly address: InputAddress;
  readonly ipa: InputAddress;
  /** Absent: the VM's own stage 2, or a shadow of a context without stage 2. */
  readonly limits?: ShadowLimits;
}

/** What a VM with a virtual EL2 adds to the policy of any VM. */
export interface ShadowHooks {
  /** The stage 2 that a vCPU runs with (hw_mmu). */
  stage2Of(vcpu: Vcpu): Stage2;
  /** A fault on the way from the address of a nested guest to the VM's IPA: where it is to be mapped, or what else came of it. */
  place(vcpu: Vcpu, abort: Abort): Outcome<FaultPlace | Handled>;
  /** kvm_nested_s2_unmap, _wp, _flush: all of every valid shadow. */
  unmapAll(): void;
  writeProtectAll(): void;
  flushAll(): void;
}
