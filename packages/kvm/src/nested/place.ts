import type { ShadowLimits } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { Stage2 } from '../stage2.js';

/** Where a fault is to be mapped: an address in a stage 2, and the VM's IPA behind it. */
export interface FaultPlace {
  readonly stage2: Stage2;
  readonly address: InputAddress;
  readonly ipa: InputAddress;
  /** Absent: the VM's own stage 2, or a shadow of a guest hypervisor whose stage 2 is off. */
  readonly limits?: ShadowLimits;
}
