import type { OutputAddress } from '@granule/geometry/bits';
import type { DecodedEvent } from '@granule/snapshot';
import { NO_LEVEL, type Call } from '../causes/calls.js';

/** How a kernel names what its calls are about. */
export interface KernelNames {
  /** struct kvm_pgtable and struct kvm_s2_mmu of the VM. */
  readonly pgt: bigint;
  readonly mmu: bigint;
  readonly root: OutputAddress;
  /** Linear map: virtual minus physical address. */
  readonly linearOffset: bigint;
}

/** TLBI_TTL_UNKNOWN (Linux tlbflush.h): INT_MAX. */
const TTL_UNKNOWN = 0x7fff_ffff;

type Fields = Record<string, number | bigint | string | boolean>;

/** Which of its names a call prints first, and how its arguments are the kernel's. */
const SHAPES: Readonly<Record<string, (fields: Fields, names: KernelNames) => Fields>> = {
  s2_init: (_, { pgt, mmu }) => ({ pgt, mmu, flags: 0 }),
  s2_destroy_pgd: (_, { pgt }) => ({ pgt }),
  s2_test_clear_young: ({ mkold, ...rest }, { pgt }) => ({ pgt, ...rest, mkold: mkold === true ? 1 : 0 }),
  unmap_stage2_range: (fields, { mmu }) => ({ mmu, ...fields }),
  flush_vmid: (_, { mmu }) => ({ mmu }),
  flush_vmid_range: (_, { mmu }) => ({ mmu }),
  flush_cpu_context: (_, { mmu, root }) => ({ mmu, pgd_phys: root }),
  flush_vmid_ipa: byAddress,
  flush_vmid_ipa_nsh: byAddress,
  clean_dcache_guest_page: kernelPage,
  invalidate_icache_guest_page: kernelPage,
  dcache_clean_inval_poc: kernelRange,
  icache_inval_pou: kernelRange,
  toggle_cache: ({ was }) => ({ was: was === true ? 1 : 0 }),
  kvm_mmio: (fields) => ({ ...fields, value: 0n }),
};

function byAddress({ ipa, level }: Fields, { mmu }: KernelNames): Fields {
  return { mmu, ipa, level: level === NO_LEVEL ? TTL_UNKNOWN : level };
}

function kernelPage({ phys, size }: Fields, { linearOffset }: KernelNames): Fields {
  return { va: BigInt(phys) + linearOffset, size };
}

function kernelRange({ phys, size }: Fields, { linearOffset }: KernelNames): Fields {
  const start = BigInt(phys) + linearOffset;
  return { start, end: start + BigInt(size) };
}

/** A call of the policy as the event that a kernel's trace would have of it. */
export function eventOf({ event, fields }: Call, names: KernelNames): DecodedEvent {
  const shape = Object.hasOwn(SHAPES, event) ? SHAPES[event] : undefined;
  const plain = { ...fields };
  const printed = shape?.(plain, names) ?? (event.startsWith('s2_') ? { pgt: names.pgt, ...plain } : plain);
  return { event, fields: printed } as unknown as DecodedEvent;
}
