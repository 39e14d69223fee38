import type { Outcome } from '@granule/contract';
import { DONE, done } from '@granule/contract';
import { alignDown, alignUp, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import type { GranulePageTable } from '@granule/pgtable';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import { hypAddress, type HypLayout } from './layout.js';
import type { PrivateVa } from './private-va.js';

/** What a hyp mapping permits and is: code, data, read-only data, device registers (PAGE_HYP_EXEC, PAGE_HYP, PAGE_HYP_RO, PAGE_HYP_DEVICE). */
export type HypKind = 'code' | 'data' | 'rodata' | 'device';

/**
 * When EL2's table gets what of the kernel: each object when it comes up (2016 and today's nVHE), or all of memory beforehand (pKVM for its own; VHE has it for free).
 * And whether anything is ever unmapped, with the TLB invalidation that this takes: by pKVM alone.
 */
export interface HypPolicy {
  readonly name: 'per-object-2016' | 'nvhe' | 'pkvm';
  readonly linearMap: 'per-object' | 'up-front';
  readonly unmaps: boolean;
  /** The identity map has a table of its own (boot_hyp_pgd), or shares EL2's. */
  readonly separateBootTable: boolean;
}

export const HYP_POLICIES: Readonly<Record<HypPolicy['name'], HypPolicy>> = {
  'per-object-2016': { name: 'per-object-2016', linearMap: 'per-object', unmaps: false, separateBootTable: true },
  'nvhe': { name: 'nvhe', linearMap: 'per-object', unmaps: false, separateBootTable: false },
  'pkvm': { name: 'pkvm', linearMap: 'up-front', unmaps: true, separateBootTable: false },
};

const REQUESTS = {
  code: { read: true, write: false, px: true, ux: true },
  data: { read: true, write: true, px: false, ux: false },
  rodata: { read: true, write: false, px: false, ux: false },
  device: { read: true, write: true, px: false, ux: false, memory: 'device-nGnRE' },
} as const;

/** One call of kvm_pgtable_hyp_map. */
export interface HypMapCall {
  readonly addr: InputAddress;
  readonly size: number;
  /** As the caller has it: it need not be page-aligned, and is rounded down. */
  readonly phys: OutputAddress;
  readonly kind: HypKind;
}

export interface HypMappingsOptions {
  readonly policy: HypPolicy;
  readonly layout: HypLayout;
  /** Linear address of a physical one: phys − offset. */
  readonly linearOffset: number;
  readonly table: GranulePageTable;
  /** {@link HypPolicy.separateBootTable}. */
  readonly bootTable?: GranulePageTable;
  readonly privateVa: PrivateVa;
  readonly trace?: (call: HypMapCall) => void;
}

/** What EL2 has mapped of the kernel, and of its own. */
export class HypMappings {
  readonly #options: HypMappingsOptions;
  readonly #pageShift: number;

  constructor(options: HypMappingsOptions) {
    this.#options = options;
    this.#pageShift = options.table.format.geometry.pageShift;
  }

  /** The code that switches EL2's MMU, at its own physical address (kvm_map_idmap_text). */
  mapIdmap(start: OutputAddress, end: OutputAddress): Outcome<undefined> {
    const from: number = alignDown(start, this.#pageShift);
    const { table, bootTable = table } = this.#options;
    return this.#map(bootTable, { addr: from, size: alignUp(end, this.#pageShift) - from, phys: from, kind: 'code' });
  }

  /**
   * An object of the kernel at its hyp address (create_hyp_mappings): page by page, with the physical address of the same offset in each; where the whole of
   * memory is mapped beforehand nothing is left to do.
   */
  mapObject(start: OutputAddress, end: OutputAddress, kind: HypKind): Outcome<undefined> {
    const { layout, linearOffset, table, policy } = this.#options;
    if (policy.linearMap === 'up-front') {
      return DONE;
    }
    const first = alignDown(hypAddress(layout, start - linearOffset), this.#pageShift);
    const last = alignUp(hypAddress(layout, end - linearOffset), this.#pageShift);
    const page = 2 ** this.#pageShift;
    for (let addr = first; addr < last; addr += page) {
      const outcome = this.#map(table, { addr, size: page, phys: start + (addr - first), kind });
      if (outcome.kind !== 'done') {
        return outcome;
      }
    }
    return DONE;
  }

  /** All of memory at once, by the largest blocks (pKVM's own, recreate_hyp_mappings). */
  mapLinear(start: OutputAddress, end: OutputAddress): Outcome<undefined> {
    const { layout, linearOffset, table } = this.#options;
    return this.#map(table, { addr: hypAddress(layout, start - linearOffset), size: end - start, phys: start, kind: 'data' });
  }

  /** A range at an address of EL2's choice: vectors, device registers (__create_hyp_private_mapping). Answers the address of the first byte. */
  mapPrivate(phys: OutputAddress, bytes: number, kind: HypKind): Outcome<InputAddress> {
    const offset = phys - alignDown(phys, this.#pageShift);
    const size = alignUp(bytes + offset, this.#pageShift);
    const base = this.#options.privateVa.allocate(size);
    if (base.kind !== 'done') {
      return base;
    }
    const outcome = this.#map(this.#options.table, { addr: base.value, size, phys, kind });
    return outcome.kind === 'done' ? done(base.value + offset) : outcome;
  }

  /**
   * A stack: twice its size reserved and aligned to that, the upper half mapped. An overflow runs into the guard below, and one bit of the stack pointer
   * tells it (create_hyp_stack). Answers the address above its end.
   */
  createStack(phys: OutputAddress, bytes: number): Outcome<InputAddress> {
    const base = this.#options.privateVa.allocateAligned(2 * bytes);
    if (base.kind !== 'done') {
      return base;
    }
    const outcome = this.#map(this.#options.table, { addr: base.value + bytes, size: bytes, phys, kind: 'data' });
    return outcome.kind === 'done' ? done(base.value + 2 * bytes) : outcome;
  }

  /** Takes a range away; answers the bytes: 0 where the policy never unmaps. */
  unmap(addr: InputAddress, size: number): Outcome<number> {
    return this.#options.policy.unmaps ? hypUnmap(this.#options.table, addr, size) : done(0);
  }

  #map(table: GranulePageTable, call: HypMapCall): Outcome<undefined> {
    this.#options.trace?.(call);
    const { addr, size, phys, kind } = call;
    return hypMap(table, addr, size, phys, REQUESTS[kind], { mode: 'linux' });
  }
}

/** Whether a stack pointer ran over: with stacks of a power of two at odd multiples of their size, that bit is clear below them. */
export function stackOverflowed(stackPointer: InputAddress, bytes: number): boolean {
  return Math.floor(stackPointer / bytes) % 2 === 0;
}
