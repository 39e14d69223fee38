import type { Features } from '@granule/contract';
import { entrySpan, hostLevels, type Granule } from '@granule/geometry';

/** What one kernel version does its own way; everything else in this package is the same for all. */
export interface KernelProfile {
  /** `7.2`, `6.12`, `5.10`, `4.8`. */
  readonly version: string;
  /** Walker flags of s2_map in a guest fault: KVM_PGTABLE_WALK_SHARED 8; up to 6.x also HANDLE_FAULT 0x10 (inverted since). */
  readonly mapFlags: number;
  /** Walker flags of s2_relax_perms and s2_mkyoung; absent: these functions take none (before 6.14). */
  readonly relaxFlags?: number;
  /**
   * Device memory (VM_PFNMAP) at a fault: pages; blocks as large as host VMA and alignment allow (get_vma_page_shift, 5.14); or as the host's own table maps it
   * (the THP path).
   */
  readonly deviceBlocks: 'page' | 'area' | 'host-leaf';
  /** Cacheable device memory: Device all the same, or cacheable where FEAT_S2FWB and DIC make maintenance needless (6.17). */
  readonly cacheableDevice: 'as-device' | 'with-fwb-and-dic';
  /** Device memory of a slot is mapped when the slot is made (kvm_phys_addr_ioremap, up to 5.13). */
  readonly ioremapAtCreation: boolean;
  /** Largest block: that of a PMD, or of a PUD where the granule has one (4.21). */
  readonly largestBlock: 'pmd' | 'pud';
  /** Stage 2 may be no deeper than the host's own tables, whose helpers it borrows (up to 4.19); the IPA size is fixed then, and a VM has no type. */
  readonly fixedIpa: boolean;
  /** A fault cleans what it maps to PoC: always, or where the guest's caches are off (4.x coherent_cache_guest_page). */
  readonly cleansAtFault: 'always' | 'caches-off';
  /** KVM_CLEAR_DIRTY_LOG and KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 exist (5.2). */
  readonly clearDirtyLog: boolean;
  /** Memory is executable from the first fault on, whatever the fault was (up to 4.15, without XN at stage 2). */
  readonly alwaysExecutable: boolean;
  /**
   * What addresses are masked with where a transparent huge page is mapped: its size; PTRS_PER_PMD − 1 page frames, which is no mask at all on a host whose PMD
   * level is folded (7.2 with 16K pages and 36-bit VA: see map.outside-backing); or the IPA with the size and the frame with PTRS_PER_PMD − 1 (5.10 to 7.0).
   */
  readonly thpMask: 'size' | 'ptrs-per-pmd' | 'ipa-size-frame-ptrs';
  /** Order of kvm_for_each_memslot: a hash of the slot's number (5.17), or by address, highest first. */
  readonly slotOrder: 'id-hash' | 'address-descending';
  /** A slot may end exactly at the IPA limit (>), or not (>=, 4.x). */
  readonly slotMayEndAtLimit: boolean;
  /** Functions for shadow stage 2 are called, whether or not the VM has any. */
  readonly nestedHooks: boolean;
  /** Address of a page mapping: aligned to the page (7.0), or as the fault has it, to 4 KiB, which the walker rounds down. */
  readonly faultAddress: 'page' | 'fault';
  /** From which size on all of the instruction cache is invalidated: PTRS_PER_PTE lines (6.7), or never. */
  readonly icacheAllAbove: 'ptrs-per-pte' | 'never';
  /** Steps of operations on ranges: parts between entries of the entry table, or between blocks of the largest size (6.2, and stable 6.1.84, 5.15.154). */
  readonly rangeStep: 'entry' | 'block';
}

/** Before there was hyp/pgtable.c. */
const V4_8: KernelProfile = {
  version: '4.8',
  mapFlags: 0,
  deviceBlocks: 'page',
  cacheableDevice: 'as-device',
  ioremapAtCreation: true,
  largestBlock: 'pmd',
  fixedIpa: true,
  cleansAtFault: 'caches-off',
  alwaysExecutable: true,
  clearDirtyLog: false,
  thpMask: 'ptrs-per-pmd',
  slotOrder: 'address-descending',
  slotMayEndAtLimit: false,
  nestedHooks: false,
  faultAddress: 'fault',
  icacheAllAbove: 'never',
  rangeStep: 'entry',
};

/** What changed, oldest first: the version that brought it and the function that shows it. Stable kernels may have a change earlier than their number says. */
const CHANGES: readonly (Pick<KernelProfile, 'version'> & Partial<KernelProfile>)[] = [
  // kvm_pgtable_stage2_map, transparent_hugepage_adjust, kvm_arch_prepare_memory_region.
  {
    version: '5.10', largestBlock: 'pud', fixedIpa: false, cleansAtFault: 'always', alwaysExecutable: false, clearDirtyLog: true, slotMayEndAtLimit: true,
    thpMask: 'ipa-size-frame-ptrs',
  },
  // get_vma_page_shift; device memory is no longer mapped when a slot is made.
  { version: '5.14', deviceBlocks: 'area', ioremapAtCreation: false },
  // kvm_memslots.id_hash.
  { version: '5.17', slotOrder: 'id-hash' },
  // stage2_apply_range.
  { version: '6.1', rangeStep: 'block' },
  // user_mem_abort: faults in parallel, KVM_PGTABLE_WALK_SHARED.
  { version: '6.2', mapFlags: 0x8 },
  // KVM_PGTABLE_WALK_HANDLE_FAULT.
  { version: '6.3', mapFlags: 0x18 },
  // __invalidate_icache_max_range.
  { version: '6.7', icacheAllAbove: 'ptrs-per-pte' },
  // kvm_nested_s2_unmap, kvm_nested_s2_wp, kvm_nested_s2_flush.
  { version: '6.11', nestedHooks: true },
  { version: '6.12' },
  // kvm_pgtable_stage2_relax_perms and kvm_pgtable_stage2_mkyoung take walker flags.
  { version: '6.14', relaxFlags: 0x18 },
  // kvm_supports_cacheable_pfnmap.
  { version: '6.17', cacheableDevice: 'with-fwb-and-dic' },
  // KVM_PGTABLE_WALK_HANDLE_FAULT inverted to KVM_PGTABLE_WALK_IGNORE_EAGAIN.
  { version: '6.19', mapFlags: 0x8, relaxFlags: 0x8 },
  // user_mem_abort aligns the address to the mapping (stable 6.18 and 6.19 too).
  { version: '7.0', faultAddress: 'page' },
  // kvm_s2_fault_map, after the rework of user_mem_abort.
  { version: '7.1', deviceBlocks: 'host-leaf', thpMask: 'ptrs-per-pmd' },
  { version: '7.2' },
];

/** Oldest first. */
export const KERNELS: readonly KernelProfile[] = CHANGES.reduce<readonly KernelProfile[]>((known, change) => [...known, { ...known[known.length - 1], ...change }], [V4_8]);

/** The profile of the newest known kernel that is not newer than this one (`uname -r` or the whole of `uname -a`); the oldest for what is older still. */
export function kernelProfile(release: string): KernelProfile {
  const [, major = '0', minor = '0'] = /(?:^|\s)(\d+)\.(\d+)/.exec(release) ?? [];
  const number = (version: string): number => {
    const [a, b] = version.split('.').map(Number);
    return a * 1000 + b;
  };
  return KERNELS.findLast(({ version }) => number(version) <= number(`${major}.${minor}`)) ?? KERNELS[0];
}

/** The machine and the configuration of the host's kernel. */
export interface HostProfile {
  readonly granule: Granule;
  /** Virtual address size of the host kernel, bits; with the granule it tells which levels are folded. */
  readonly vaBits: number;
  readonly features: Features;
  /** CONFIG_ARM64_HW_AFDBM and no erratum: VTCR_EL2.HA is set where FEAT_HAFDBS is there. */
  readonly hardwareAccessFlag: boolean;
  /** CONFIG_ARM64_TLB_RANGE (5.9…): FEAT_TLBIRANGE is used where it is there. */
  readonly tlbRange: boolean;
}

/** Block sizes of a host, bytes. */
export interface BlockSizes {
  readonly page: number;
  readonly pmd: number;
  /** Largest block that KVM maps: 1 GiB with 4K pages; with 16K and 64K pages the PMD size, there is no larger one. */
  readonly largest: number;
}

/** @param largest `pmd`: no larger block than that (4.x, ARMv7 and pKVM) */
export function blockSizes(granule: Granule, largest: 'pmd' | 'pud' = 'pud'): BlockSizes {
  const pmd = entrySpan(granule, 2);
  return { page: entrySpan(granule, 3), pmd, largest: granule === '4K' && largest === 'pud' ? entrySpan(granule, 1) : pmd };
}

/** Entries of a PMD table: 1 where the PMD is folded into the PGD (Linux pgtable-nopmd.h: a host of two levels). */
export function ptrsPerPmd({ granule, vaBits }: Pick<HostProfile, 'granule' | 'vaBits'>): number {
  return hostLevels(granule, vaBits) <= 2 ? 1 : entrySpan(granule, 1) / entrySpan(granule, 2);
}
