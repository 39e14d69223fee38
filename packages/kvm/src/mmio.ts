import { type Outcome, DONE } from '@granule/contract';
import { hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { largestBlock } from './block-size.js';
import type { Vm } from './vm.js';

/**
 * How a device region is mapped beforehand: by pages (kvm_phys_addr_ioremap, to this day), by the largest block that fits (proposed in 2021), or by that up to
 * the PMD size (what is mapped at faults today is no larger).
 */
export type IoremapPolicy = 'pages' | 'pmd-blocks' | 'largest-block';

/**
 * Maps device memory into a VM: one page-table call for each page or block. A failure undoes what was done. (What today's kernel maps of a passed-through
 * device it maps at faults instead: see guestAbort.)
 */
export function ioremap(
  vm: Vm,
  ipa: InputAddress,
  physical: OutputAddress,
  size: number,
  policy: IoremapPolicy,
  { write = true }: { readonly write?: boolean } = {},
): Outcome<undefined> {
  const { page, pmd, largest } = vm.sizes;
  if (ipa % page !== 0 || physical % page !== 0 || size % page !== 0) {
    throw new RangeError(`ioremap of ${hex(physical)} at ${hex(ipa)}, ${hex(size)} bytes: not whole pages`);
  }
  const prot = { read: true, write, execute: false, memory: 'device' } as const;
  const bounds = { ipa: [ipa, ipa + size], physical: [physical, physical + size] } as const;
  if (policy === 'pages') {
    const outcome = vm.map(ipa, size, physical, prot, bounds, { shared: false, pages: true, eachPage: true });
    if (outcome.kind !== 'done') {
      rollBack(vm, ipa, 'progress' in outcome ? outcome.progress : 0);
    }
    return outcome;
  }
  const sizes = policy === 'largest-block' && largest > pmd ? [largest, pmd] : [pmd];
  for (let done = 0; done < size; ) {
    const bytes = largestBlock(ipa + done, ipa + size, physical + done, sizes, page);
    const outcome = vm.map(ipa + done, bytes, physical + done, prot, bounds, { shared: false });
    if (outcome.kind !== 'done') {
      rollBack(vm, ipa, done);
      return outcome;
    }
    done += bytes;
  }
  return DONE;
}

function rollBack(vm: Vm, ipa: InputAddress, bytes = 0): void {
  if (bytes > 0) {
    vm.table.unmap(ipa, bytes, { mode: 'linux' });
  }
}
