import type { InputAddress } from '@granule/geometry/bits';
import { alignDown, alignUp } from '@granule/geometry/bits';
import type { HostAddress, HostArea } from './host-memory.js';
import type { BlockSizes, KernelProfile } from './profile.js';
import type { Slot } from './slots.js';

/** How large a mapping a fault may ask for. */
export interface MappingSize {
  readonly bytes: number;
  /** No larger block, whatever the host's own table has (force_pte). */
  readonly pagesOnly: boolean;
}

/**
 * Whether a slot lets stage 2 map a block of this size at a user address: IPA and user address agree below the block's size, and the block lies wholly in
 * the slot. Pages are always fine. Source: Linux fault_supports_stage2_huge_mapping.
 */
export function supportsBlock({ ipa, hva: start, size }: Slot, hva: HostAddress, bytes: number, page: number): boolean {
  if (bytes === page) {
    return true;
  }
  const shift = Math.log2(bytes);
  const block = alignDown(hva, shift);
  return ipa - alignDown(ipa, shift) === start - alignDown(start, shift) && block >= start && block + bytes <= start + size;
}

/**
 * Largest block that a device VMA has room for at an address, where user and physical address agree below its size (Linux get_vma_page_shift, 5.14). The end
 * is looked at from the address rounded up, so that an address on a block's boundary passes whatever room is left.
 */
function deviceBytes(area: HostArea, hva: HostAddress, sizes: readonly number[], page: number): number {
  const pa = (area.physical ?? 0) + (hva - area.start);
  const fits = (bytes: number): boolean => {
    const start = alignDown(hva, Math.log2(bytes));
    return hva - start === pa - alignDown(pa, Math.log2(bytes)) && start >= area.start && alignUp(hva, Math.log2(bytes)) <= area.end;
  };
  return sizes.find(fits) ?? page;
}

/**
 * The size that VMA and slot allow: one page while dirty pages are logged; a hugetlb page, a contiguous one as its parts, degraded until the slot supports
 * it; else a page, that may become a transparent huge page. Source: Linux user_mem_abort (kvm_s2_fault_get_vma_info).
 */
export function mappingSize(
  { kernel, sizes }: { readonly kernel: KernelProfile; readonly sizes: BlockSizes },
  slot: Slot,
  area: HostArea,
  hva: HostAddress,
): MappingSize {
  const { page, pmd, largest } = sizes;
  const blocks = largest > pmd ? [largest, pmd] : [pmd];
  if (slot.dirty !== undefined) {
    return { bytes: page, pagesOnly: true };
  }
  const byArea = area.kind === 'device' && kernel.deviceBlocks === 'area';
  const wanted = area.kind === 'hugetlb' ? area.pageBytes : byArea ? deviceBytes(area, hva, blocks, page) : page;
  if (wanted === page) {
    return { bytes: page, pagesOnly: false };
  }
  const block = blocks.find((bytes) => bytes <= wanted && supportsBlock(slot, hva, bytes, page));
  return block === undefined ? { bytes: page, pagesOnly: true } : { bytes: block, pagesOnly: false };
}

/**
 * No more than the guest hypervisor's own block: what falls between two sizes of the host is the smaller one, and a page is then all there is. `maxBytes`
 * undefined: no shadow. Source: Linux user_mem_abort.
 */
export function withinGuestBlock(size: MappingSize, maxBytes: number | undefined, { page, pmd, largest }: BlockSizes): MappingSize {
  if (maxBytes === undefined) {
    return size;
  }
  const limit = maxBytes >= largest ? largest : maxBytes >= pmd ? pmd : page;
  return { bytes: Math.min(size.bytes, limit), pagesOnly: size.pagesOnly || limit === page };
}

/**
 * The largest block for a device region: its size fits in what is left, IPA and PA are aligned to it. Source: the RFC of 2021 (kvm_supported_pgsize).
 */
export function largestBlock(ipa: InputAddress, end: InputAddress, physical: number, sizes: readonly number[], page: number): number {
  const fits = (bytes: number): boolean => {
    const shift = Math.log2(bytes);
    return ipa + bytes <= end && alignDown(ipa, shift) === ipa && alignDown(physical, shift) === physical;
  };
  return sizes.find(fits) ?? page;
}
