import type { EntryEffect } from '@granule/contract';

/** TLB invalidation of software at EL2, with its barriers, in order. */
export type VmInvalidation = readonly EntryEffect[];

/** Every VMID on every PE, once a generation (__kvm_flush_vm_context). */
export function vmContextInvalidation(aarch32: boolean): VmInvalidation {
  return [{ type: 'dsb', domain: 'ishst' }, { type: 'tlbi', op: aarch32 ? 'TLBIALLNSNHIS' : 'ALLE1IS' }, { type: 'dsb', domain: 'ish' }, { type: 'isb' }];
}

/** Stage 1 of one VMID and the instruction cache, on this PE (__kvm_flush_cpu_context). ARMv7 has both stages in one operation. */
export function cpuContextInvalidation(aarch32: boolean, vmid: number): VmInvalidation {
  return [
    { type: 'dsb', domain: 'nshst' },
    { type: 'tlbi', op: aarch32 ? 'TLBIALL' : 'VMALLE1', vmid },
    { type: 'cmo', op: 'ic-iallu', to: 'pou', address: 0, bytes: 0 },
    { type: 'dsb', domain: 'nsh' },
    { type: 'isb' },
  ];
}
