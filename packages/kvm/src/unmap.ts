import type { Failure, Outcome } from '@granule/contract';
import { alignUp, type InputAddress } from '@granule/geometry/bits';
import type { HostAddress } from './host-memory.js';
import type { Slot } from './slots.js';
import type { Stage2 } from './stage2.js';
import type { Vm } from './vm.js';

/** IPAs of a slot behind part of its user addresses; pages that the range touches. */
interface SlotRange {
  readonly slot: Slot;
  readonly start: InputAddress;
  readonly end: InputAddress;
}

/** A range of user addresses by slot (kvm_handle_hva_range). */
function slotRanges(vm: Vm, start: HostAddress, end: HostAddress): readonly SlotRange[] {
  const { pageShift } = vm.format.geometry;
  return vm.slots.inHostRange(start, end).map((slot) => {
    const { ipa, hva, size } = slot;
    const to = alignUp(Math.min(end, hva + size) - hva, pageShift);
    return { slot, start: ipa + Math.floor((Math.max(start, hva) - hva) / vm.sizes.page) * vm.sizes.page, end: ipa + to };
  });
}

/** Takes a range out of a stage 2, in steps of the largest block, with the VM's policy of invalidation and maintenance (__unmap_stage2_range). */
export function unmapRange(stage2: Stage2, start: InputAddress, end: InputAddress): Failure | undefined {
  stage2.tell({ event: 'unmap_stage2_range', fields: { start, size: end - start } });
  const { invalidation = 'deferred', maintenance = 'map-and-unmap' } = stage2.options;
  const options = {
    mode: 'linux' as const,
    tlbi: invalidation === 'each' || invalidation === 'deferred' ? invalidation : ('none' as const),
    skip: { cmo: !maintenance.endsWith('unmap') },
  };
  return stage2.inChunks(start, end, (addr, size) => {
    stage2.tell({ event: 's2_unmap', fields: { addr, size } });
    const outcome = stage2.table.unmap(addr, size, options);
    if (invalidation === 'vm-wide') {
      stage2.flushVmid();
    }
    return outcome;
  });
}

function unmapShadows(vm: Vm): void {
  if (vm.kernel.nestedHooks) {
    vm.tell({ event: 'nested_s2_unmap', fields: {} });
  }
  vm.nested?.unmapAll();
}

/** The host takes a range of user addresses away (kvm_unmap_gfn_range). Faults that are under way there are tried again. */
export function notifierUnmap(vm: Vm, start: HostAddress, end: HostAddress): Failure | undefined {
  let failure: Failure | undefined;
  for (const range of slotRanges(vm, start, end)) {
    failure ??= unmapRange(vm, range.start, range.end);
    unmapShadows(vm);
    vm.invalidations += 1;
  }
  return failure;
}

/** A slot goes, or moves (kvm_arch_flush_shadow_memslot). */
export function unmapSlot(vm: Vm, { ipa, size }: Slot): Failure | undefined {
  const failure = unmapRange(vm, ipa, ipa + size);
  unmapShadows(vm);
  return failure;
}

/**
 * Ages the leaves behind a range of user addresses; `clear`: their flags are cleared (kvm_age_gfn), else only looked at (kvm_test_age_gfn). No invalidation
 * of its own: the notifier of the host decides. Answers whether any was young.
 */
export function notifierAge(vm: Vm, start: HostAddress, end: HostAddress, clear: boolean): boolean {
  let young = false;
  for (const range of slotRanges(vm, start, end)) {
    const [addr, size] = [range.start, range.end - range.start];
    vm.tell({ event: 's2_test_clear_young', fields: { addr, size, mkold: clear } });
    const outcome: Outcome<boolean> = vm.table.age(addr, size, clear);
    young = (outcome.kind === 'done' && outcome.value) || young;
  }
  return young;
}

/**
 * Takes the VM's stage 2 down: nothing walks it any more, so there is neither TLB nor cache maintenance; tables go by chunks of the largest block, then the
 * entry tables (kvm_free_stage2_pgd).
 */
export function teardown(vm: Vm): void {
  vm.inChunks(0, vm.ipaLimit, (addr, size) => {
    vm.tell({ event: 's2_destroy_range', fields: { addr, size } });
    return vm.table.unmap(addr, size, { mode: 'linux', tlbi: 'none', skip: { cmo: true } });
  });
  vm.tell({ event: 's2_destroy_pgd', fields: {} });
  vm.table.destroy();
}
