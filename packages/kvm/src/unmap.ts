import type { Failure, Outcome } from '@granule/contract';
import { alignUp, type InputAddress } from '@granule/geometry/bits';
import { areasOf } from './backing.js';
import type { HostAddress } from './host-memory.js';
import type { Slot } from './slots.js';
import type { Stage2 } from './stage2.js';
import type { Vcpu, Vm } from './vm.js';

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
  if (vm.nested !== undefined) {
    vm.nested.layer.unmapAll();
  } else if (vm.kernel.nestedHooks) {
    vm.tell({ event: 'nested_s2_unmap', fields: {} });
  }
}

/** The host takes a range of user addresses away, all at once (kvm_unmap_gfn_range). Faults that are under way there are tried again. */
export function notifierUnmap(vm: Vm, start: HostAddress, end: HostAddress): Failure | undefined {
  const failure = notifierStart(vm, start, end);
  notifierEnd(vm, start, end);
  return failure;
}

/** The first half: the range is unmapped, and until {@link notifierEnd} no fault of the VM maps anything (invalidate_range_start). */
export function notifierStart(vm: Vm, start: HostAddress, end: HostAddress): Failure | undefined {
  let failure: Failure | undefined;
  const ranges = slotRanges(vm, start, end);
  vm.invalidating += ranges.length > 0 ? 1 : 0;
  for (const range of ranges) {
    failure ??= unmapRange(vm, range.start, range.end);
    unmapShadows(vm);
  }
  return failure;
}

/** The second half, for the same range: the host has changed its mapping (invalidate_range_end). */
export function notifierEnd(vm: Vm, start: HostAddress, end: HostAddress): void {
  const ranges = slotRanges(vm, start, end);
  vm.invalidating -= ranges.length > 0 ? 1 : 0;
  vm.invalidations += ranges.length;
}

/** A slot goes, or moves (kvm_arch_flush_shadow_memslot). */
export function unmapSlot(vm: Vm, { ipa, size }: Slot): Failure | undefined {
  const failure = unmapRange(vm, ipa, ipa + size);
  unmapShadows(vm);
  return failure;
}

/**
 * Ages the leaves behind a range of user addresses; `clear`: their flags are cleared (kvm_age_gfn), else only looked at (kvm_test_age_gfn). `flush`: where one
 * was young the VM's TLB entries go, so that the next access sets its flag again (clear_flush_young, of page reclaim); without it they stay, and an access that
 * hits one goes unseen (clear_young, test_young). Answers whether any was young. Shadows are not looked at.
 */
export function notifierAge(vm: Vm, start: HostAddress, end: HostAddress, clear: boolean, flush = false): boolean {
  let young = false;
  for (const range of slotRanges(vm, start, end)) {
    const [addr, size] = [range.start, range.end - range.start];
    vm.tell({ event: 's2_test_clear_young', fields: { addr, size, mkold: clear } });
    const outcome: Outcome<boolean> = vm.table.age(addr, size, clear);
    young = (outcome.kind === 'done' && outcome.value) || young;
  }
  if (young && flush) {
    vm.flushVmid();
  }
  return young;
}

/**
 * KVM_ARM_VCPU_INIT of a vCPU that has run, as at a reboot of the guest: it may start with its caches off, so without FEAT_S2FWB all memory of all slots is
 * unmapped, shadows too, device memory stays; with it instruction caches go instead, unless DIC makes that needless. VM-register writes trap again.
 * Source: Linux kvm_arch_vcpu_ioctl_vcpu_init, stage2_unmap_vm.
 */
export function resetVcpu(vm: Vm, vcpu: Vcpu): Failure | undefined {
  const { s2fwb, dic } = vm.host.features;
  let failure: Failure | undefined;
  if (!s2fwb) {
    for (const slot of vm.slots.inKernelOrder()) {
      failure ??= unmapMemory(vm, slot);
    }
    unmapShadows(vm);
  } else if (!dic) {
    vm.options.sink?.effect({ type: 'cmo', op: 'ic-ialluis', to: 'pou', address: 0, bytes: 0 });
    vm.options.sink?.effect({ type: 'dsb', domain: 'ish' });
    vm.options.sink?.effect({ type: 'isb' });
  }
  vcpu.tvm = !s2fwb;
  vcpu.cachesOn = false;
  return failure;
}

/** stage2_unmap_memslot. */
function unmapMemory(vm: Vm, slot: Slot): Failure | undefined {
  let failure: Failure | undefined;
  for (const { start, end, kind } of areasOf(vm, slot)) {
    const [from, to] = [Math.max(start, slot.hva), Math.min(end, slot.hva + slot.size)];
    if (kind !== 'device') {
      failure ??= unmapRange(vm, slot.ipa + (from - slot.hva), slot.ipa + (to - slot.hva));
    }
  }
  return failure;
}

/**
 * Takes the VM's stage 2 down: nothing walks it any more, so there is neither TLB nor cache maintenance; tables go by chunks of the largest block, then the
 * entry tables (kvm_free_stage2_pgd).
 */
export function teardown(vm: Vm): void {
  vm.retire();
  vm.inChunks(0, vm.ipaLimit, (addr, size) => {
    vm.tell({ event: 's2_destroy_range', fields: { addr, size } });
    return vm.table.unmap(addr, size, { mode: 'linux', tlbi: 'none', skip: { cmo: true } });
  });
  vm.tell({ event: 's2_destroy_pgd', fields: {} });
  vm.table.destroy();
}
