import type { Granule, Level } from '../src/index.js';

/** IPA, start level, concatenated tables, log2 bytes of the entry table. */
export type Row = readonly [ipaBits: number, startLevel: Level, entryTables: number, log2Bytes: number];

/**
 * What KVM/arm64 chooses for each IPA size: computed by hand from Linux include/asm/stage2_pgtable.h (stage2_pgtable_levels, pgd_ptrs),
 * kvm_arm.h (VTCR_EL2_LVLS_TO_SL0, ARM64_VTTBR_X) and kvm_get_vtcr (at least two levels).
 */
export const KVM_STAGE2: Readonly<Record<Granule, readonly Row[]>> = {
  '4K': [
    [32, 2, 4, 14], [33, 2, 8, 15], [34, 2, 16, 16], [35, 1, 1, 8], [36, 1, 1, 9], [37, 1, 1, 10], [38, 1, 1, 11], [39, 1, 1, 12],
    [40, 1, 2, 13], [41, 1, 4, 14], [42, 1, 8, 15], [43, 1, 16, 16], [44, 0, 1, 8], [45, 0, 1, 9], [46, 0, 1, 10], [47, 0, 1, 11],
    [48, 0, 1, 12], [49, 0, 2, 13], [50, 0, 4, 14], [51, 0, 8, 15], [52, 0, 16, 16],
  ],
  '16K': [
    [32, 2, 1, 10], [33, 2, 1, 11], [34, 2, 1, 12], [35, 2, 1, 13], [36, 2, 1, 14], [37, 2, 2, 15], [38, 2, 4, 16], [39, 2, 8, 17],
    [40, 2, 16, 18], [41, 1, 1, 8], [42, 1, 1, 9], [43, 1, 1, 10], [44, 1, 1, 11], [45, 1, 1, 12], [46, 1, 1, 13], [47, 1, 1, 14],
    [48, 1, 2, 15], [49, 1, 4, 16], [50, 1, 8, 17], [51, 1, 16, 18], [52, 0, 1, 8],
  ],
  '64K': [
    [32, 2, 1, 6], [33, 2, 1, 7], [34, 2, 1, 8], [35, 2, 1, 9], [36, 2, 1, 10], [37, 2, 1, 11], [38, 2, 1, 12], [39, 2, 1, 13],
    [40, 2, 1, 14], [41, 2, 1, 15], [42, 2, 1, 16], [43, 2, 2, 17], [44, 2, 4, 18], [45, 2, 8, 19], [46, 2, 16, 20], [47, 1, 1, 8],
    [48, 1, 1, 9], [49, 1, 1, 10], [50, 1, 1, 11], [51, 1, 1, 12], [52, 1, 1, 13],
  ],
};
