/**
 * What a shadow stage-2 context is found by: the guest's VMID alone (2017); the VMID, and unmapped where its BADDR changes (proposed in that review); the whole
 * VTTBR_EL2 but CnP, and VTCR_EL2, or the VMID alone while stage 2 is off (today).
 */
export type ContextKey = 'vmid' | 'vmid-unmap-on-baddr' | 'vttbr+vtcr';
