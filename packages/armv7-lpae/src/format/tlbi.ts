import type { DsbDomain, TlbiSequences, TlbiStep } from '@granule/contract';
import type { Regime } from './shape.js';

/** The operations of one regime. An operation by address removes entries of every level of the walk of that address. */
interface Operations {
  readonly leaf: string;
  readonly leafLocal: string;
  readonly all: string;
  /** Whether `leaf` and `leafLocal` take an address. */
  readonly byAddress: boolean;
}

/**
 * DDI 0406C B3.10. ARMv7 cannot invalidate stage 2 by IPA: KVM invalidates everything of the VMID, whose VTTBR must be in force, from Hyp
 * mode, where TLBIALLIS takes stage 1 and stage 2 together (Linux 4.8 arch/arm/kvm/hyp/tlb.c, __kvm_tlb_flush_vmid). The operations of
 * PL1&0 are those for all ASIDs, because a table does not know its own.
 */
const OPERATIONS: Readonly<Record<Regime, Operations>> = {
  s2: { leaf: 'TLBIALLIS', leafLocal: 'TLBIALL', all: 'TLBIALLIS', byAddress: false },
  pl2: { leaf: 'TLBIMVAHIS', leafLocal: 'TLBIMVAH', all: 'TLBIALLHIS', byAddress: true },
  pl10: { leaf: 'TLBIMVAAIS', leafLocal: 'TLBIMVAA', all: 'TLBIALLIS', byAddress: true },
};

const dsb = (domain: DsbDomain): TlbiStep => ({ type: 'dsb', domain });

/** Make the table change visible, invalidate, wait, synchronise this PE. */
function sequence(op: string, byAddress: boolean, local: boolean): readonly TlbiStep[] {
  const takes = byAddress ? 'address' : 'nothing';
  return [dsb(local ? 'nshst' : 'ishst'), { type: 'tlbi', op, takes }, dsb(local ? 'nsh' : 'ish'), { type: 'isb' }];
}

/** What a change of a table of this regime owes. There are no level hints and no range operations. */
export function tlbiSequences(regime: Regime): TlbiSequences {
  const { leaf, leafLocal, all, byAddress } = OPERATIONS[regime];
  const one = sequence(leaf, byAddress, false);
  const everything = sequence(all, false, false);
  return { leaf: one, leafLocal: sequence(leafLocal, byAddress, true), table: one, range: everything, all: everything };
}
