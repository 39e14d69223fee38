import type { Outcome } from '@granule/contract';
import { DONE, done, notModelled } from '@granule/contract';
import { alignDown, alignUp, hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import type { GranulePageTable } from '@granule/pgtable';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import { refuse } from '../errno.js';
import { hypAddress, type HypLayout } from './layout.js';
import type { PrivateVa } from './private-va.js';

/** What a hyp mapping permits and is: code, data, read-only data, device registers (PAGE_HYP_EXEC, PAGE_HYP, PAGE_HYP_RO, PAGE_HYP_DEVICE). */
export type HypKind = 'code' | 'data' | 'rodata' | 'device';

/**
 * When EL2's table gets what of the kernel: each object when it comes up (2016 and today's nVHE), all of memory beforehand (pKVM for its own; what was asked for
 * in 2016, `nvhe-linear`), or nothing, since EL2 runs the kernel and its tables (VHE). And whether anything is ever unmapped: by pKVM, which invalidates the TLB
 * for it; by the code of 2016 at teardown alone, so that it needed no invalidation, and used otherwise (`unmap-without-flush`) lacks it.
 */
export interface HypPolicy {
  readonly name: 'per-object-2016' | 'unmap-without-flush' | 'nvhe' | 'nvhe-linear' | 'pkvm' | 'vhe';
  readonly linearMap: 'per-object' | 'up-front' | 'own-tables';
  readonly unmaps: boolean;
  /** Each leaf and table that is unmapped. */
  readonly invalidates: boolean;
  /** The identity map has a table of its own (boot_hyp_pgd), or shares EL2's. */
  readonly separateBootTable: boolean;
  /** Device registers: at the kernel's own address within vmalloc, at a private address, nowhere, or where the kernel has them. */
  readonly io: 'kernel-address' | 'private' | 'refused' | 'own-tables';
}

const NVHE = { name: 'nvhe', linearMap: 'per-object', unmaps: false, invalidates: true, separateBootTable: false, io: 'private' } as const satisfies HypPolicy;
const OF_2016 = { ...NVHE, name: 'per-object-2016', invalidates: false, separateBootTable: true, io: 'kernel-address' } as const satisfies HypPolicy;

export const HYP_POLICIES: Readonly<Record<HypPolicy['name'], HypPolicy>> = {
  'per-object-2016': OF_2016,
  'unmap-without-flush': { ...OF_2016, name: 'unmap-without-flush', unmaps: true },
  'nvhe': NVHE,
  'nvhe-linear': { ...NVHE, name: 'nvhe-linear', linearMap: 'up-front' },
  'pkvm': { ...NVHE, name: 'pkvm', linearMap: 'up-front', unmaps: true, io: 'refused' },
  'vhe': { ...NVHE, name: 'vhe', linearMap: 'own-tables', io: 'own-tables' },
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

  /**
   * The code that switches EL2's MMU, at its own physical address (kvm_map_idmap_text). Refused: `hyp.idmap-crosses-page` (a BUG_ON in kvm_mmu_init). Not
   * modelled: `hyp.merged-table`.
   */
  mapIdmap(start: OutputAddress, end: OutputAddress): Outcome<undefined> {
    const from: number = alignDown(start, this.#pageShift);
    const { table, bootTable = table } = this.#options;
    if (alignDown(end - 1, this.#pageShift) !== from) {
      const sentence = `The identity-mapped code at ${hex(start)}-${hex(end)} crosses a page.`;
      return refuse('hyp.idmap-crosses-page', sentence, 'Linux kvm_mmu_init');
    }
    if (end > 2 ** bootTable.format.geometry.iaBits) {
      const sentence = `The identity map at ${hex(start)} needs more VA bits than EL2's ${bootTable.format.geometry.iaBits}: a third table that merges both.`;
      return notModelled('hyp.merged-table', sentence, 'Linux 4.8 merged_hyp_pgd, __kvm_extend_hypmap');
    }
    return this.#map(bootTable, { addr: from, size: 2 ** this.#pageShift, phys: from, kind: 'code' });
  }

  /**
   * An object of the kernel at its hyp address (create_hyp_mappings): page by page, with the physical address of the same offset in each; where the whole of
   * memory is mapped beforehand nothing is left to do.
   */
  mapObject(start: OutputAddress, end: OutputAddress, kind: HypKind): Outcome<undefined> {
    const { layout, linearOffset, table, policy } = this.#options;
    if (policy.linearMap !== 'per-object') {
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

  /** A range at an address that the caller has from before. */
  mapAt(addr: InputAddress, size: number, phys: OutputAddress, kind: HypKind): Outcome<undefined> {
    return this.#map(this.#options.table, { addr, size, phys, kind });
  }

  /**
   * Registers of a device, which the kernel has at `linear` (create_hyp_io_mappings). Answers the address of the first byte for EL2. Refused: `hyp.not-vmalloc`
   * (2016: the kernel's address must be one of vmalloc), `hyp.io-protected`.
   */
  mapIo(linear: number, phys: OutputAddress, bytes: number, { vmalloc = true }: { readonly vmalloc?: boolean } = {}): Outcome<InputAddress> {
    switch (this.#options.policy.io) {
      case 'private':
        return this.mapPrivate(phys, bytes, 'device');
      case 'own-tables':
        return done(linear);
      case 'refused':
        return refuse('hyp.io-protected', 'A protected hypervisor maps no device for its host.', 'Linux create_hyp_io_mappings: -EPERM');
      case 'kernel-address': {
        if (!vmalloc) {
          return refuse('hyp.not-vmalloc', `The kernel has the device not at an address of vmalloc, but at ${hex(linear)}.`, 'Linux 4.8 create_hyp_io_mappings: -EINVAL');
        }
        const at = hypAddress(this.#options.layout, linear);
        const mapped = this.mapAt(at, bytes, phys, 'device');
        return mapped.kind === 'done' ? done(at) : mapped;
      }
    }
  }

  /** Takes a range away; answers the bytes: 0 where the policy never unmaps. Stops at the first page that is not mapped, without splitting a block. */
  unmap(addr: InputAddress, size: number): Outcome<number> {
    const { policy, table } = this.#options;
    if (!policy.unmaps) {
      return done(0);
    }
    return hypUnmap(table, addr, size, { tlbi: policy.invalidates ? 'vale2is' : 'none' });
  }

  /** Frees all tables, which EL2 must no longer use: nothing is invalidated (free_hyp_pgds, kvm_pgtable_hyp_destroy). */
  teardown(): void {
    const { table, bootTable } = this.#options;
    table.destroy();
    bootTable?.destroy();
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
