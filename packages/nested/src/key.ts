import type { NestedState } from '@granule/contract';

/**
 * What a shadow stage-2 context is found by: the guest's VMID alone (2017); the VMID, and unmapped where its BADDR changes (proposed in that review); the whole
 * VTTBR_EL2 but CnP, and VTCR_EL2, or the VMID alone while stage 2 is off (today).
 */
export type ContextKey = 'vmid' | 'vmid-unmap-on-baddr' | 'vttbr+vtcr';

/** VTTBR_EL2.CnP (DDI 0487 VTTBR_EL2): it says how tables are shared between PEs, not which they are. */
const CNP = 1n;
/** VTTBR_EL2.BADDR, with the bits of a 52-bit address in [5:2]. */
const BADDR = 0xffff_ffff_fffen;

/** VTTBR_EL2 as a context keeps it. */
export function withoutCnp(vttbr: bigint): bigint {
  return vttbr - (vttbr & CNP);
}

/** VTTBR_EL2.VMID, 16 bits whatever VTCR_EL2.VS is (Linux get_vmid). */
export function vmidOf(vttbr: bigint): number {
  return Number((vttbr >> 48n) & 0xffffn);
}

/**
 * Whether a context that was taken for `has` serves a guest that is to run with `wants`. With stage 2 off, the designs of 2017 used the VM's own stage 2: here
 * a context apart, which maps the same. Source: Linux lookup_s2_mmu.
 */
export function matches(key: ContextKey, has: NestedState, wants: NestedState): boolean {
  if (has.stage2 !== wants.stage2) {
    return false;
  }
  const exact = key === 'vttbr+vtcr' && wants.stage2;
  return exact ? has.vttbr === withoutCnp(wants.vttbr) && has.vtcr === wants.vtcr : vmidOf(has.vttbr) === vmidOf(wants.vttbr);
}

/** Whether what a context maps is of another table than the one it is found for: the proposal of 2017 unmaps it then. */
export function baddrChanged(key: ContextKey, has: NestedState, wants: NestedState): boolean {
  return key === 'vmid-unmap-on-baddr' && ((has.vttbr ^ wants.vttbr) & BADDR) !== 0n;
}
