import type { GranulePageTable } from '../page-table.js';

/**
 * Gives every page of the table back. No TLB maintenance: the table is assumed to be in nobody's TTBR any more. The table must not be used
 * afterwards.
 *
 * Source: Linux kvm_pgtable_hyp_destroy (arch/arm64/kvm/hyp/pgtable.c).
 */
export function hypDestroy(table: GranulePageTable): void {
  table.destroy();
}
