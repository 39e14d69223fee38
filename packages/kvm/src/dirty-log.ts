import { type Outcome, done, DONE } from '@granule/contract';
import { hex, type InputAddress } from '@granule/geometry/bits';
import { bounds, type DirtyBitmap, WORD_PAGES } from './dirty-bitmap.js';
import { refuse } from './errno.js';
import type { Slot } from './slots.js';
import type { Vm } from './vm.js';

/** Takes write permission from a range, shadows included; the caller owes the invalidation (kvm_mmu_wp_memory_region). */
export function writeProtectRange(vm: Vm, start: InputAddress, end: InputAddress): void {
  writeProtectOwn(vm, start, end);
  writeProtectShadows(vm);
}

/** kvm_stage2_wp_range. */
function writeProtectOwn(vm: Vm, start: InputAddress, end: InputAddress): void {
  vm.inChunks(start, end, (addr, size) => {
    vm.tell({ event: 's2_wrprotect', fields: { addr, size } });
    return vm.table.writeProtect(addr, size);
  });
}

function writeProtectShadows(vm: Vm): void {
  if (vm.nested !== undefined) {
    vm.nested.layer.writeProtectAll();
  } else if (vm.kernel.nestedHooks) {
    vm.tell({ event: 'nested_s2_wp', fields: {} });
  }
}

/** Table pages that one chunk may take: one for each block of the two largest sizes that it may hold (kvm_mmu_split_nr_page_tables). */
export function splitCacheCapacity(vm: Vm): number {
  const { pmd, largest } = vm.sizes;
  const gigantic = largest > pmd ? Math.ceil(vm.splitChunk / largest) : 0;
  return gigantic + Math.ceil(vm.splitChunk / pmd);
}

/**
 * Splits the blocks of a range by chunks: before each the cache is filled to its capacity, as far as there are table pages. Best effort: it stops where pages run
 * out, and what was split stays so (kvm_mmu_split_huge_pages). Refused: `split.no-pages`, which Linux does not pass on to the VMM.
 */
export function splitHugePages(vm: Vm, start: InputAddress, end: InputAddress): Outcome<undefined> {
  const { splitChunk } = vm;
  if (splitChunk === 0) {
    return DONE;
  }
  const capacity = splitCacheCapacity(vm);
  for (let addr = start; addr < end; ) {
    const next = Math.min(addr - (addr % splitChunk) + splitChunk, end);
    vm.splitCache = Math.min(capacity, vm.splitCache + vm.freePages);
    if (vm.splitCache < capacity) {
      return refuse('split.no-pages', `${vm.splitCache} of the ${capacity} pages of the split cache can be had at ${hex(addr)}.`, 'Linux kvm_mmu_split_huge_pages');
    }
    vm.tell({ event: 's2_split', fields: { addr, size: next - addr } });
    const { taken } = vm.table.memory;
    const outcome = vm.table.split(addr, next - addr, { mode: 'linux', budget: capacity });
    vm.splitCache -= vm.table.memory.taken - taken;
    if (outcome.kind !== 'done') {
      return outcome;
    }
    addr = next;
  }
  return DONE;
}

/**
 * KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE: 0, or a block size, before any slot is made. Refused: `split.protected`, `split.chunk-size`, `split.chunk-late`.
 */
export function setSplitChunk(vm: Vm, bytes: number): Outcome<undefined> {
  const { pmd, page, largest } = vm.sizes;
  if (vm.options.protection !== undefined && vm.options.protection !== 'none') {
    return refuse('split.protected', 'Under pKVM blocks are not split eagerly.', 'Linux kvm_vm_ioctl_enable_cap');
  }
  if (bytes !== 0 && ![page, pmd, largest].includes(bytes)) {
    return refuse('split.chunk-size', `A chunk of ${hex(bytes)} bytes is not a block size of this host.`, 'Linux kvm_vm_ioctl_enable_cap');
  }
  if (vm.slots.count > 0) {
    return refuse('split.chunk-late', 'The chunk size must be set before the first slot.', 'Linux kvm_vm_ioctl_enable_cap');
  }
  vm.splitChunk = bytes;
  return DONE;
}

/** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 by its bits: 1 enable, 2 slots begin all dirty. Refused: `dirty-log.not-manual`, `dirty-log.initially-set`. */
export function setManualDirtyLog(vm: Vm, bits: number): Outcome<undefined> {
  if (!vm.kernel.clearDirtyLog) {
    return refuse('dirty-log.not-manual', `Linux ${vm.kernel.version} has no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.`, 'Linux kvm_vm_ioctl');
  }
  if (bits !== 0 && bits !== 1 && bits !== 3) {
    const sentence = `Bits ${hex(bits, 1)} are not 0, 1 (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) or 3 (with KVM_DIRTY_LOG_INITIALLY_SET).`;
    return refuse('dirty-log.initially-set', sentence, 'Linux kvm_vm_ioctl_enable_cap_generic');
  }
  vm.manualDirtyLog = bits === 0 ? 'off' : bits === 1 ? 'manual' : 'initially-set';
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

/** Write-protects what one word of a mask spans, first to last bit set; shadows come last (kvm_arch_mmu_enable_log_dirty_pt_masked). */
function protectWord(vm: Vm, slot: Slot, word: number, lo: number, hi: number): void {
  const span = bounds(lo, hi);
  if (span === undefined) {
    return;
  }
  const { page } = vm.sizes;
  const base = slot.ipa + word * WORD_PAGES * page;
  const [start, end] = [base + span[0] * page, base + (span[1] + 1) * page];
  writeProtectOwn(vm, start, end);
  if (vm.manualDirtyLog === 'initially-set') {
    splitHugePages(vm, start, end);
  }
  writeProtectShadows(vm);
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
 * the slot. It works whether or not KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is enabled. Refused: `dirty-log.*`.
 */
export function clearDirtyLog(vm: Vm, id: number, first: number, count: number, mask: (page: number) => boolean): Outcome<undefined> {
  if (!vm.kernel.clearDirtyLog) {
    return refuse('dirty-log.not-manual', `Linux ${vm.kernel.version} has no KVM_CLEAR_DIRTY_LOG.`, 'Linux kvm_vm_ioctl');
  }
  const logged = loggedSlot(vm, id);
  if ('kind' in logged) {
    return logged;
  }
  const { slot, dirty } = logged;
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
