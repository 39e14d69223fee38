import { GRANULES, type Granule } from './granule.js';

/** A host kernel's own stage-1 geometry: page size and CONFIG_ARM64_VA_BITS. */
export interface Host {
  readonly granule: Granule;
  readonly vaBits: number;
}

/**
 * Levels of an unconcatenated table: `floor((bits − 4) / stride)`, for 16 … 52 bits (Linux ARM64_HW_PGTABLE_LEVELS; AArch64.S1StartLevel).
 */
export function levels(granule: Granule, bits: number): number {
  return Math.floor((bits - 4) / GRANULES[granule].stride);
}

/** Levels of a host's own page tables (Linux CONFIG_PGTABLE_LEVELS), for a VA of 16 … 52 bits. */
export function hostLevels(granule: Granule, vaBits: number): number {
  return levels(granule, vaBits);
}

/**
 * Levels that KVM gives a stage-2 table: it always concatenates as much as possible, so 16 tables at the start level stand for four more
 * bits, but keeps at least two levels, so that the host's PMD-sized pages need no split (Linux stage2_pgtable_levels, kvm_get_vtcr).
 */
export function kvmStage2Levels(granule: Granule, ipaBits: number): number {
  return Math.max(2, levels(granule, ipaBits - 4));
}

/**
 * The largest IPA, bits, whose KVM stage-2 table is not deeper than the host's own tables; undefined where the host has fewer than two
 * levels. 4K pages: 43 for a 39-bit host, 52 for 48; 16K: 40 for 36, 51 for 47; 64K: 46 for 42.
 */
export function largestIpaForHost(host: Host): number | undefined {
  const have = hostLevels(host.granule, host.vaBits);
  return have < 2 ? undefined : Math.min(52, GRANULES[host.granule].stride * (have + 1) + 7);
}
