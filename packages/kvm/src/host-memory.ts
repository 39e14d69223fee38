import type { OutputAddress } from '@granule/geometry/bits';
import { alignDown } from '@granule/geometry/bits';

/** User addresses are plain numbers: they are neither input nor output addresses of a stage 2. */
export type HostAddress = number;

export type HostMemoryType = 'normal' | 'device' | 'normal-nc';

/** One VMA of the VMM. */
export interface HostArea {
  readonly start: HostAddress;
  /** Exclusive. */
  readonly end: HostAddress;
  /** `anonymous`: pages, or transparent huge pages; `hugetlb`: pages of `pageBytes`; `device`: VM_PFNMAP, `physical` on. */
  readonly kind: 'anonymous' | 'hugetlb' | 'device';
  /** Bytes of a hugetlb page (contiguous ones included); of the largest page that anonymous memory may have (MADV_NOHUGEPAGE: the page size). */
  readonly pageBytes: number;
  readonly memory: HostMemoryType;
  readonly writable: boolean;
  /** Of `start`; device memory. */
  readonly physical?: OutputAddress;
  /** False: its pages cannot have allocation tags (no VM_MTE_ALLOWED); matters to a VM with tags alone. Default true. */
  readonly tags?: boolean;
}

/** What the host's memory management answers for one address. */
export interface HostPage {
  /** Of the page that holds the address. */
  readonly physical: OutputAddress;
  readonly writable: boolean;
  /** Bytes of the entry that maps it in the host's own table. */
  readonly leafBytes: number;
  /** Memory that the hardware reported as faulty: the VMM gets a signal instead of a mapping (KVM_PFN_ERR_HWPOISON). */
  readonly poisoned?: boolean;
}

/** The host side of a VM: what a VMM has mapped. */
export interface HostMemory {
  areaAt(hva: HostAddress): HostArea | undefined;
  /** What VMAs have of a range, ascending; absent: found by asking {@link areaAt} page by page. */
  areasIn?(start: HostAddress, end: HostAddress): readonly HostArea[];
  /**
   * The page at an address, made present for a read or a write (__kvm_faultin_pfn). Undefined: the host cannot make it so. A callee may unmap ranges
   * of the VM on its way (copy on write); the fault is then tried again.
   */
  page(hva: HostAddress, write: boolean): HostPage | undefined;
}

/** Backing with addresses known beforehand: each area has one physical range and one leaf size. */
export interface BackingRange extends Omit<HostArea, 'end' | 'physical'> {
  readonly bytes: number;
  readonly physical: OutputAddress;
  /** How the host maps it: 2 MiB for a transparent huge page. */
  readonly leafBytes: number;
}

/** Host memory of known ranges. A later range replaces what it covers of earlier ones. */
export class Backing implements HostMemory {
  readonly #ranges: (BackingRange & HostArea)[] = [];
  readonly #pageShift: number;

  /** @param pageBytes the host's page size */
  constructor(pageBytes: number) {
    this.#pageShift = Math.log2(pageBytes);
  }

  add(range: BackingRange): void {
    this.#ranges.push({ ...range, end: range.start + range.bytes });
  }

  areaAt(hva: HostAddress): HostArea | undefined {
    return this.#at(hva);
  }

  areasIn(start: HostAddress, end: HostAddress): readonly HostArea[] {
    const edges = this.#ranges.flatMap((each) => [each.start, each.start + each.bytes]).filter((at) => at > start && at < end);
    const bounds = [...new Set([start, ...edges, end])].sort((a, b) => a - b);
    const areas: HostArea[] = [];
    let previous: BackingRange | undefined;
    for (const [i, at] of bounds.slice(0, -1).entries()) {
      const range = this.#at(at);
      const piece = range && { ...range, start: at, end: bounds[i + 1], physical: range.physical + (at - range.start) };
      if (piece !== undefined && range === previous) {
        areas[areas.length - 1] = { ...areas[areas.length - 1], end: piece.end };
      } else if (piece !== undefined) {
        areas.push(piece);
      }
      previous = range;
    }
    return areas;
  }

  page(hva: HostAddress, write: boolean): HostPage | undefined {
    const range = this.#at(hva);
    if (range === undefined || (write && !range.writable)) {
      return undefined;
    }
    const { start, physical, writable, leafBytes } = range;
    return { physical: physical + alignDown(hva, this.#pageShift) - start, writable, leafBytes };
  }

  #at(hva: HostAddress): (BackingRange & HostArea) | undefined {
    return this.#ranges.findLast(({ start, bytes }) => start <= hva && hva < start + bytes);
  }
}
