import { type Outcome, done, DONE } from '@granule/contract';
import { hex, type InputAddress } from '@granule/geometry/bits';
import { bounds, type DirtyBitmap, WORD_PAGES } from './dirty-bitmap.js';
import { refuse } from './errno.js';
import type { MemoryRegion, PlannedChange, Slot, SlotChange } from './slots.js';
import { unmapSlot } from './unmap.js';
import type { Vm } from './vm.js';

/**
 * KVM_SET_USER_MEMORY_REGION. A slot that goes or moves is unmapped; where dirty logging begins the slot is write-protected and its blocks are split eagerly
 * (unless it begins all dirty); where it ends nothing is collapsed or unmapped. Refused: `slot.*`.
 */
export function setMemoryRegion(vm: Vm, region: MemoryRegion): Outcome<SlotChange> {
  const planned = vm.slots.plan(region);
  if (planned.kind !== 'done') {
    return planned;
  }
  const { change, old, slot } = planned.value;
  if (slot?.dirty !== undefined && change !== 'none' && hasDevice(vm, slot)) {
    return refuse('slot.device-logging', `Slot ${slot.id} has device memory behind it, whose pages cannot be logged.`, 'Linux kvm_arch_prepare_memory_region');
  }
  if (old !== undefined && (change === 'delete' || change === 'move')) {
    unmapSlot(vm, old);
  }
  if (change !== 'none') {
    vm.slots.commit(planned.value);
    changeLogging(vm, planned.value);
  }
  return done(change);
}

function hasDevice(vm: Vm, { hva, size }: Slot): boolean {
  for (let at = hva; at < hva + size; ) {
    const area = vm.options.hostMemory.areaAt(at);
    if (area?.kind === 'device') {
      return true;
    }
    at = area?.end ?? at + vm.sizes.page;
  }
  return false;
}

/** kvm_arch_commit_memory_region. */
function changeLogging(vm: Vm, { old, slot }: PlannedChange): void {
  if (slot?.dirty === undefined || old?.dirty !== undefined) {
    if (old?.dirty !== undefined) {
      vm.splitCache = 0;
    }
    return;
  }
  if (vm.manualDirtyLog === 'initially-set') {
    slot.dirty.fill();
    return;
  }
  writeProtect(vm, slot.ipa, slot.ipa + slot.size);
  vm.flushRange(slot.ipa, slot.size);
  splitBlocks(vm, slot.ipa, slot.ipa + slot.size);
}

/** Takes write permission from a range, shadows included; the caller owes the invalidation (stage2_wp_range). */
function writeProtect(vm: Vm, start: InputAddress, end: InputAddress): void {
  vm.inChunks(start, end, (addr, size) => {
    vm.tell({ event: 's2_wrprotect', fields: { addr, size } });
    return vm.table.writeProtect(addr, size);
  });
  if (vm.kernel.nestedHooks) {
    vm.tell({ event: 'nested_s2_wp', fields: {} });
  }
  vm.nested?.writeProtectAll();
}

/** Table pages that one chunk may take: one for each block of the two largest sizes that it may hold (kvm_mmu_split_nr_page_tables). */
export function splitCacheCapacity(vm: Vm): number {
  const { pmd, largest } = vm.sizes;
  const gigantic = largest > pmd ? Math.ceil(vm.splitChunk / largest) : 0;
  return gigantic + Math.ceil(vm.splitChunk / pmd);
}

/** Splits the blocks of a range by chunks, as far as the cache goes (kvm_mmu_split_huge_pages). */
function splitBlocks(vm: Vm, start: InputAddress, end: InputAddress): void {
  const { splitChunk } = vm;
  if (splitChunk === 0) {
    return;
  }
  const capacity = splitCacheCapacity(vm);
  for (let addr = start; addr < end; ) {
    const next = Math.min(addr - (addr % splitChunk) + splitChunk, end);
    vm.splitCache = capacity;
    vm.tell({ event: 's2_split', fields: { addr, size: next - addr } });
    const { taken } = vm.table.memory;
    const outcome = vm.table.split(addr, next - addr, { mode: 'linux', budget: capacity });
    vm.splitCache -= vm.table.memory.taken - taken;
    if (outcome.kind !== 'done') {
      return;
    }
    addr = next;
  }
}

/**
 * KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE: 0, or a block size, before any slot is made. Refused: `split.chunk-size`, `split.chunk-late`.
 */
export function setSplitChunk(vm: Vm, bytes: number): Outcome<undefined> {
  const { pmd, page, largest } = vm.sizes;
  if (bytes !== 0 && ![page, pmd, largest].includes(bytes)) {
    return refuse('split.chunk-size', `A chunk of ${hex(bytes)} bytes is not a block size of this host.`, 'Linux kvm_vm_ioctl_enable_cap');
  }
  if (vm.slots.count > 0) {
    return refuse('split.chunk-late', 'The chunk size must be set before the first slot.', 'Linux kvm_vm_ioctl_enable_cap');
  }
  vm.splitChunk = bytes;
  return DONE;
}

function loggedSlot(vm: Vm, id: number) {
  const slot = vm.slots.byId(id);
  if (slot === undefined) {
    return refuse('dirty-log.no-slot', `There is no slot ${id}.`, 'Linux kvm_get_dirty_log_protect');
  }
  return slot.dirty === undefined
    ? refuse('dirty-log.off', `Dirty pages of slot ${id} are not logged.`, 'Linux kvm_get_dirty_log_protect')
    : { slot, dirty: slot.dirty };
}

/** Write-protects what one word of a mask spans, first to last bit set (kvm_arch_mmu_enable_log_dirty_pt_masked). */
function protectWord(vm: Vm, slot: Slot, word: number, lo: number, hi: number): void {
  const span = bounds(lo, hi);
  if (span === undefined) {
    return;
  }
  const { page } = vm.sizes;
  const base = slot.ipa + word * WORD_PAGES * page;
  const [start, end] = [base + span[0] * page, base + (span[1] + 1) * page];
  writeProtect(vm, start, end);
  if (vm.manualDirtyLog === 'initially-set') {
    splitBlocks(vm, start, end);
  }
}

/**
 * KVM_GET_DIRTY_LOG: the pages written since the last time. Without manual protection it clears the bitmap and write-protects them again, word by word, and
 * invalidates once. Refused: `dirty-log.no-slot`, `dirty-log.off`.
 */
export function getDirtyLog(vm: Vm, id: number): Outcome<DirtyBitmap> {
  const logged = loggedSlot(vm, id);
  if ('kind' in logged) {
    return logged;
  }
  const { slot, dirty } = logged;
  const copy = dirty.copy();
  if (vm.manualDirtyLog === 'off') {
    let any = false;
    for (let word = 0; word < dirty.words; word++) {
      const [lo, hi] = dirty.clear(word, 0xffff_ffff, 0xffff_ffff);
      protectWord(vm, slot, word, lo, hi);
      any ||= (lo | hi) !== 0;
    }
    if (any) {
      vm.flushRange(slot.ipa, slot.size);
    }
  }
  return done(copy);
}

/**
 * KVM_CLEAR_DIRTY_LOG: forgets and write-protects the pages of a mask that are dirty. `first` is a multiple of 64 pages, and so is `count` unless it ends with
 * the slot. Refused: `dirty-log.*`.
 */
export function clearDirtyLog(vm: Vm, id: number, first: number, count: number, mask: (page: number) => boolean): Outcome<undefined> {
  const logged = loggedSlot(vm, id);
  if ('kind' in logged) {
    return logged;
  }
  const { slot, dirty } = logged;
  if (vm.manualDirtyLog === 'off') {
    return refuse('dirty-log.not-manual', 'KVM_CLEAR_DIRTY_LOG needs KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.', 'Linux kvm_vm_ioctl_clear_dirty_log');
  }
  if (first % WORD_PAGES !== 0 || first + count > dirty.pages || (count % WORD_PAGES !== 0 && first + count !== dirty.pages)) {
    return refuse('dirty-log.range', `Pages ${first} to ${first + count} are not whole words of 64 pages inside slot ${id}.`, 'Linux kvm_clear_dirty_log_protect');
  }
  let any = false;
  for (let word = first / WORD_PAGES; word * WORD_PAGES < first + count; word++) {
    const half = (from: number): number => {
      let bits = 0;
      for (let i = 0; i < 32 && from + i < first + count; i++) {
        bits |= mask(from + i) ? 1 << i : 0;
      }
      return bits >>> 0;
    };
    const [lo, hi] = dirty.clear(word, half(word * WORD_PAGES), half(word * WORD_PAGES + 32));
    protectWord(vm, slot, word, lo, hi);
    any ||= (lo | hi) !== 0;
  }
  if (any) {
    vm.flushRange(slot.ipa, slot.size);
  }
  return DONE;
}
