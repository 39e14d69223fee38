import { type Outcome, DONE } from '@granule/contract';
import { hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import { largestBlock } from './block-size.js';
import type { Vm } from './vm.js';

/** How a device region is mapped beforehand: by pages (kvm_phys_addr_ioremap, to this day), or by the largest block that fits (proposed in 2021). */
export type IoremapPolicy = 'pages' | 'largest-block';

const DEVICE = { read: true, write: true, execute: false, memory: 'device' } as const;

/**
 * Maps device memory into a VM: one page-table call for each page or block. A failure undoes what was done. (What today's kernel maps of a passed-through
 * device it maps at faults instead: see guestAbort.)
 */
export function ioremap(vm: Vm, ipa: InputAddress, physical: OutputAddress, size: number, policy: IoremapPolicy): Outcome<undefined> {
  const { page, pmd, largest } = vm.sizes;
  if (ipa % page !== 0 || physical % page !== 0 || size % page !== 0) {
    throw new RangeError(`ioremap of ${hex(physical)} at ${hex(ipa)}, ${hex(size)} bytes: not whole pages`);
  }
  const sizes = policy === 'pages' ? [] : largest > pmd ? [largest, pmd] : [pmd];
  const bounds = { ipa: [ipa, ipa + size], physical: [physical, physical + size] } as const;
  for (let done = 0; done < size; ) {
    const bytes = largestBlock(ipa + done, ipa + size, physical + done, sizes, page);
    const outcome = vm.map(ipa + done, bytes, physical + done, DEVICE, bounds, { shared: false });
    if (outcome.kind !== 'done') {
      if (done > 0) {
        vm.table.unmap(ipa, done, { mode: 'linux' });
      }
      return outcome;
    }
    done += bytes;
  }
  return DONE;
}
