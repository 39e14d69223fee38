import type { CostItem } from './items.js';

/** What one operation costs: `ns / per` nanoseconds, exactly. */
export interface Cost {
  /** Nanoseconds for `per` operations; both exact integers. */
  readonly ns: number;
  readonly per: number;
  /** `at-least`: the measurement tells no more than that. */
  readonly bound: 'measured' | 'at-least';
  /** How the figure follows from the source. */
  readonly how: string;
  /**
   * Operations that the figure includes, for each one that it is paid for: the measurement had them in it. What occurs beyond that is paid for apart, or
   * unknown.
   */
  readonly covers?: Readonly<Partial<Record<CostItem, number>>>;
}

/** Costs of a machine, as far as something is published about it. What has no cost is never guessed: an estimate names it. */
export interface CostProfile {
  readonly name: string;
  readonly machine: string;
  /** Publication of the measurement. */
  readonly source: string;
  readonly costs: Readonly<Partial<Record<CostItem, Cost>>>;
  /** What the profile does not know, in a sentence. */
  readonly unknown: string;
}

/** 30 minutes: what "30+ minutes" says for certain. */
const HALF_AN_HOUR_NS = 30 * 60 * 1_000_000_000;
/** 8 GiB by 4K pages: TLBIs by IPA of an unmap, one for each of 2^21 leaves and for each of the 4,096 + 8 tables that they empty. */
const TLBIS_OF_8_GIB = 2_097_152 + 4_096 + 8;

const FPGA_TLBI = {
  ns: HALF_AN_HOUR_NS,
  per: TLBIS_OF_8_GIB,
  bound: 'at-least',
  how: '30 minutes, of "30+", over the 2,101,256 invalidations by IPA that unmapping 8 GiB of 4K pages issues',
  // One sequence of __kvm_tlb_flush_vmid_ipa (arch/arm64/kvm/hyp/vhe/tlb.c) after one write.
  covers: { 'tlbi-stage1': 1, dsb: 3, isb: 1, 'descriptor-write': 1 },
} as const satisfies Cost;

/** 127 GiB, touched by 4K pages. */
const PAGES_OF_127_GIB = 127 * 2 ** 18;

/** Published figures; see the README of lab for what to do with them. */
export const COST_PROFILES = {
  'fpga-2021': {
    name: 'fpga-2021',
    machine: 'FPGA, not named',
    source: 'Keqian Zhu, Re: [RFC PATCH] kvm: arm64: Try stage2 block mapping for host device MMIO, 26 January 2021: unmapping 8 GiB of MMIO takes "30+ minutes"',
    costs: { 'tlbi-leaf': FPGA_TLBI, 'tlbi-table': FPGA_TLBI },
    unknown: 'The thread tells one total: whatever else an unmap does is in the cost of its TLBIs, and range and VMID invalidations, faults and caches have none.',
  },
  'kunpeng-920': {
    name: 'kunpeng-920',
    machine: 'Kunpeng 920, 2.6 GHz',
    source: 'Keqian Zhu, KVM: arm64: Support enabling dirty log gradually in small chunks (Linux c862626e19ef, 2020): dirty logging of a 128G VM starts in 650 ms with 4K pages, 1.8 ms without write protection',
    costs: {
      'descriptor-write': {
        ns: 650_000_000 - 1_800_000,
        per: PAGES_OF_127_GIB,
        bound: 'measured',
        how: '650 ms less 1.8 ms over the 33,292,288 pages of 127 GiB, write-protected in one walk',
      },
    },
    unknown: 'Only writes of neighbouring descriptors in one walk are measured; TLBIs, barriers, faults and caches have no cost.',
  },
  'xgene-2016': {
    name: 'xgene-2016',
    machine: 'Applied Micro X-Gene (HP Moonshot m400), 2.4 GHz, KVM without VHE',
    source: 'Dall et al., ARM Virtualization: Performance and Architectural Implications, ISCA 2016, table II: a hypercall takes 6,500 cycles',
    costs: {
      fault: { ns: 65_000, per: 24, bound: 'at-least', how: '6,500 cycles at 2.4 GHz for exit and entry; handling the fault comes on top' },
      trap: { ns: 65_000, per: 24, bound: 'at-least', how: '6,500 cycles at 2.4 GHz for exit and entry; emulation comes on top' },
    },
    unknown: 'Only the way out of the guest and back is measured; what the hypervisor does meanwhile has no cost.',
  },
} as const satisfies Readonly<Record<string, CostProfile>>;
export type CostProfileName = keyof typeof COST_PROFILES;

export function costProfile(name: string): CostProfile | undefined {
  return Object.hasOwn(COST_PROFILES, name) ? COST_PROFILES[name as CostProfileName] : undefined;
}
