import { done, type Outcome, type Refused } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { areasOf } from './backing.js';
import { flushSlot } from './caches/flush.js';
import { splitHugePages, writeProtectRange } from './dirty-log.js';
import { refuse } from './errno.js';
import { ioremap } from './mmio.js';
import type { MemoryRegion, PlannedChange, Slot, SlotChange } from './slots.js';
import { unmapRange, unmapSlot } from './unmap.js';
import type { Vm } from './vm.js';

const SOURCE = 'Linux kvm_arch_prepare_memory_region';

/**
 * KVM_SET_USER_MEMORY_REGION, in Linux's order: what the request comes to; a slot that goes or moves is unmapped, shadows included; only then are IPA limit and
 * backing looked at, so that a move that fails there leaves the slot as it was, with nothing mapped. Device memory is mapped here where the policy says so, and
 * a failure of that unmaps all of the slot. Where dirty logging begins the slot is write-protected and its blocks are split eagerly (unless it begins all
 * dirty); where it ends nothing is collapsed or unmapped. Refused: `slot.*`, and what mapping refuses.
 */
export function setMemoryRegion(vm: Vm, region: MemoryRegion): Outcome<SlotChange> {
  const planned = vm.slots.plan(region);
  if (planned.kind !== 'done') {
    return planned;
  }
  const { change, old } = planned.value;
  if (change === 'none') {
    return done(change);
  }
  if (old !== undefined && (change === 'delete' || change === 'move')) {
    unmapSlot(vm, old);
  }
  const problem = prepare(vm, planned.value);
  if (problem.kind !== 'done') {
    return problem;
  }
  vm.slots.commit(planned.value);
  changeLogging(vm, planned.value);
  return done(change);
}

function prepare(vm: Vm, { change, slot }: PlannedChange): Outcome<undefined> {
  const problem = protectedProblem(vm, change, slot) ?? (slot && (vm.slots.fits(slot) ?? backingProblem(vm, slot)));
  if (problem !== undefined) {
    return problem;
  }
  return slot === undefined || change === 'flags' ? done(undefined) : mapDevices(vm, slot);
}

/** A protected VM keeps its slots once it has run, and the host can neither follow nor withhold its writes. */
function protectedProblem(vm: Vm, change: SlotChange, slot: Slot | undefined): Refused | undefined {
  if (vm.options.protection !== 'pkvm-protected') {
    return undefined;
  }
  if (vm.generation !== 0 && (change === 'delete' || change === 'move')) {
    return refuse('slot.protected', 'A protected VM has run, and its slots can no more be moved or deleted.', SOURCE);
  }
  return slot?.dirty !== undefined || slot?.readonly === true
    ? refuse('slot.protected', `Slot ${slot.id} of a protected VM can be neither read-only nor logged.`, SOURCE)
    : undefined;
}

function backingProblem(vm: Vm, slot: Slot): Refused | undefined {
  const { s2fwb, dic } = vm.host.features;
  for (const { start, kind, memory, tags } of areasOf(vm, slot)) {
    if (vm.options.mte === true && tags === false) {
      return refuse('slot.tags', `The memory at ${hex(start)} behind slot ${slot.id} cannot have tags, and the VM has FEAT_MTE.`, SOURCE);
    }
    if (kind === 'device' && slot.dirty !== undefined) {
      return refuse('slot.device-logging', `Slot ${slot.id} has device memory behind it, whose pages cannot be logged.`, SOURCE);
    }
    if (kind === 'device' && memory === 'normal' && vm.kernel.cacheableDevice === 'with-fwb-and-dic' && !(s2fwb && dic)) {
      return refuse('slot.device-cacheable', `Slot ${slot.id} has cacheable device memory behind it, which needs FEAT_S2FWB and DIC.`, SOURCE);
    }
  }
  return undefined;
}

function mapDevices(vm: Vm, slot: Slot): Outcome<undefined> {
  const policy = vm.options.mmio ?? (vm.kernel.ioremapAtCreation ? 'pages' : 'at-fault');
  if (policy === 'at-fault') {
    return done(undefined);
  }
  for (const area of areasOf(vm, slot)) {
    const [start, end] = [Math.max(area.start, slot.hva), Math.min(area.end, slot.hva + slot.size)];
    if (area.kind === 'device' && area.physical !== undefined) {
      const mapped = ioremap(vm, slot.ipa + (start - slot.hva), area.physical + (start - area.start), end - start, policy, { write: !slot.readonly });
      if (mapped.kind !== 'done') {
        unmapRange(vm, slot.ipa, slot.ipa + slot.size);
        return mapped;
      }
    }
  }
  if (vm.kernel.ioremapAtCreation && !vm.host.features.s2fwb) {
    flushSlot(vm, slot);
  }
  return done(undefined);
}

/** kvm_arch_commit_memory_region. */
function changeLogging(vm: Vm, { old, slot }: PlannedChange): void {
  if (slot?.dirty === undefined) {
    vm.splitCache = 0;
    return;
  }
  if (vm.manualDirtyLog === 'initially-set') {
    if (old?.dirty === undefined) {
      slot.dirty.fill();
    }
    return;
  }
  writeProtectRange(vm, slot.ipa, slot.ipa + slot.size);
  vm.flushRange(slot.ipa, slot.size);
  splitHugePages(vm, slot.ipa, slot.ipa + slot.size);
}
