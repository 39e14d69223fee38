import type { Counts } from '../../src/report/counts.js';

export const NOTHING: Counts = {
  tlbis: [], cmos: [], barriers: {}, faults: [], answers: {}, traps: {}, calls: {}, writes: 0, tablePages: { taken: 0, freed: 0 }, accesses: 0,
};

export function countsOf(some: Partial<Counts>): Counts {
  return { ...NOTHING, ...some };
}

/** So many unmapped leaves and emptied tables, each invalidated by IPA as Linux does it (__kvm_tlb_flush_vmid_ipa). */
export function invalidations(leaves: number, tables: number): Counts {
  const all = leaves + tables;
  return countsOf({
    tlbis: [
      { op: 'IPAS2E1IS', scope: 'ipa', reason: 'leaf', pe: 0, count: leaves },
      { op: 'IPAS2E1IS', scope: 'ipa', reason: 'table', pe: 0, count: tables },
      { op: 'VMALLE1IS', scope: 'stage1', reason: 'stage2', pe: 0, count: all },
    ],
    barriers: { 'dsb.ishst': all, 'dsb.ish': 2 * all, isb: all },
    writes: all,
    tablePages: { taken: 0, freed: tables },
  });
}
