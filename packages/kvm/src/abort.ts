import { type Outcome, done, notModelled, retry } from '@granule/contract';
import { alignDown, hex, type InputAddress } from '@granule/geometry/bits';
import { levelShift } from '@granule/geometry';
import { mappingSize, supportsBlock, withinGuestBlock } from './block-size.js';
import { refuse } from './errno.js';
import type { Protection } from './events.js';
import type { HostAddress, HostArea, HostPage } from './host-memory.js';
import { ptrsPerPmd } from './profile.js';
import type { Slot } from './slots.js';
import { type Abort, type AbortRegisters, decodeAbort } from './syndrome.js';
import type { FaultPlace } from './nested/place.js';
import type { MapBounds, Stage2 } from './stage2.js';
import type { Vcpu, Vm } from './vm.js';

/** An exception that KVM gives the guest instead of handling its abort. */
export type Injected = 'address-size' | 'external-data-abort' | 'external-instruction-abort';

/** What came of an abort. */
export type Handled =
  | { readonly did: 'mapped'; readonly address: InputAddress; readonly bytes: number }
  | { readonly did: 'relaxed'; readonly address: InputAddress }
  | { readonly did: 'made-young'; readonly address: InputAddress }
  /** To userspace, or to a device of the kernel; undefined bytes: the syndrome does not describe the access (kvm_mmio_nisv). */
  | { readonly did: 'mmio'; readonly address: InputAddress; readonly write: boolean; readonly bytes: number | undefined }
  | { readonly did: 'injected'; readonly exception: Injected }
  /** The guest hypervisor's own fault: it gets an exception at virtual EL2 with this syndrome. */
  | { readonly did: 'forwarded'; readonly esr: bigint }
  /** A cache maintenance operation on no memory: the guest goes on behind it. */
  | { readonly did: 'skipped' }
  /** The VMM gets a signal: the memory is faulty. */
  | { readonly did: 'signalled'; readonly address: InputAddress }
  /** An external abort, which is the host's business. */
  | { readonly did: 'host-external-abort' };

export interface AbortOptions {
  /** {@link Vm.invalidations} when the fault was taken; a notifier since then makes it be tried again. Default: as it is now. */
  readonly since?: number;
}

const SOURCE = 'Linux kvm_handle_guest_abort';

/**
 * What KVM does with a stage-2 abort. Order of the checks as in Linux: external abort; address beyond the host's limit or the VM's IPA space; kind of
 * fault; a nested guest's address through the guest hypervisor's stage 2, whose faults are forwarded; no slot, or a write to a read-only one (instruction
 * fetch, stage-1 walk and cache maintenance apart, that is MMIO); access flag; mapping.
 *
 * `retry`, the guest faults again: `abort.invalidated` (a notifier came between), `map.already-mapped`, `leaf.none` (another vCPU, or the host, was there
 * first); also the exclusive and atomic accesses that a change of type made fail come here as any fault. Refused: `abort.unsupported`, `abort.no-syndrome`,
 * `abort.read-permission`, `abort.no-pages`, `abort.host-fault`, `abort.uncacheable`, `abort.tags`, and what the page-table core refuses. Not modelled:
 * `abort.pkvm`.
 */
export function guestAbort(vm: Vm, vcpu: Vcpu, registers: AbortRegisters, options: AbortOptions = {}): Outcome<Handled> {
  const abort = decodeAbort(registers);
  if (abort.cause === 'external') {
    return done({ did: 'host-external-abort' });
  }
  const stage2 = vm.nested?.stage2Of(vcpu) ?? vm;
  if (abort.cause === 'translation' && abort.ipa >= stage2.ipaLimit) {
    return done({ did: 'injected', exception: abort.ipa >= 2 ** vm.hostIpaBits ? 'address-size' : externalAbort(abort) });
  }
  if (!['translation', 'permission', 'access-flag', 'exclusive'].includes(abort.cause)) {
    return refuse('abort.unsupported', `ESR ${hex(registers.esr, 8)} is no fault that KVM handles.`, SOURCE);
  }
  const placed = vm.nested?.place(vcpu, abort) ?? done({ stage2: vm, address: abort.ipa, ipa: abort.ipa });
  if (placed.kind !== 'done') {
    return placed;
  }
  return 'did' in placed.value ? done(placed.value) : placedAbort(vm, vcpu, abort, placed.value, options.since ?? vm.invalidations);
}

function placedAbort(vm: Vm, vcpu: Vcpu, abort: Abort, place: FaultPlace, since: number): Outcome<Handled> {
  const slot = vm.slots.at(place.ipa);
  if (slot === undefined || (abort.write && slot.readonly)) {
    return withoutMemory(vm, abort, place.ipa, slot);
  }
  if (abort.cause === 'access-flag') {
    const address = alignDown(place.address, 12);
    vm.tell({ event: 'kvm_access_fault', fields: { ipa: address } });
    place.stage2.tell({ event: 's2_mkyoung', fields: { addr: address, ...relaxFlags(vm) } });
    place.stage2.table.makeYoung(address);
    return done({ did: 'made-young', address });
  }
  return memoryAbort(vm, vcpu, abort, { ...place, slot }, since);
}

function externalAbort({ fetch }: Abort): Injected {
  return fetch ? 'external-instruction-abort' : 'external-data-abort';
}

function withoutMemory(vm: Vm, abort: Abort, ipa: InputAddress, slot: Slot | undefined): Outcome<Handled> {
  if (abort.fetch || abort.s1ptw) {
    return done({ did: 'injected', exception: externalAbort(abort) });
  }
  if (abort.cacheMaintenance && slot === undefined) {
    return done({ did: 'skipped' });
  }
  const { write, access, registers } = abort;
  if (access === undefined) {
    const { esr, far, pc = 0n } = registers;
    vm.tell({ event: 'kvm_mmio_nisv', fields: { ipa, esr, far, pc } });
    if (vm.options.nisvToUser !== true) {
      const sentence = `The access at ${hex(ipa)} has no memory behind it and no syndrome of the instruction (ISV = 0), and the VMM did not ask for such.`;
      return refuse('abort.no-syndrome', sentence, 'Linux io_mem_abort: -ENOSYS');
    }
  } else {
    vm.tell({ event: 'kvm_mmio', fields: { access: write ? 'write' : 'unsatisfied-read', length: access.bytes, gpa: ipa } });
  }
  return done({ did: 'mmio', address: ipa, write, bytes: access?.bytes });
}

interface MemoryPlace extends FaultPlace {
  readonly slot: Slot;
}

/** One fault on memory on its way to a mapping. */
interface Fault extends MemoryPlace {
  readonly vm: Vm;
  readonly abort: Abort;
  readonly area: HostArea;
  /** Block that the syndrome says was hit, bytes; permission faults. */
  readonly granule: number | undefined;
}

/** user_mem_abort. */
function memoryAbort(vm: Vm, vcpu: Vcpu, abort: Abort, place: MemoryPlace, since: number): Outcome<Handled> {
  const { slot, stage2, limits } = place;
  const permission = abort.cause === 'permission';
  if (permission && !abort.write && !abort.execute) {
    return refuse('abort.read-permission', `A read at ${hex(abort.ipa)} took a permission fault; KVM never takes read permission away.`, 'Linux user_mem_abort');
  }
  if (vm.options.protection !== undefined && vm.options.protection !== 'none') {
    const sentence = 'Under pKVM the stage 2 of a VM belongs to EL2, which maps what the host shares or donates by hypercall.';
    return notModelled('abort.pkvm', sentence, 'Linux pkvm_mem_abort, arch/arm64/kvm/pkvm.c');
  }
  if (!permission || (slot.dirty !== undefined && abort.write)) {
    const none = topUp(vm, vcpu, stage2);
    if (none !== undefined) {
      return none;
    }
  }
  const hva = slot.hva + (alignDown(place.ipa, vm.format.geometry.pageShift) - slot.ipa);
  const area = vm.options.hostMemory.areaAt(hva);
  if (area === undefined) {
    return refuse('abort.host-fault', `The VMM has nothing mapped at ${hex(hva)}, behind ${hex(place.ipa)}.`, 'Linux user_mem_abort: -EFAULT');
  }
  const granule = permission && abort.level !== undefined ? 2 ** levelShift(vm.host.granule, abort.level) : undefined;
  const size = withinGuestBlock(mappingSize(vm, slot, area, hva), limits?.maxBytes, vm.sizes);
  const shift = Math.log2(size.bytes);
  const fault = { ...place, vm, abort, area, granule };
  const page = vm.options.hostMemory.page(alignDown(hva, shift), abort.write);
  if (vm.invalidations !== since || vm.invalidating > 0) {
    return retry('abort.invalidated', `The host changed its mapping of ${hex(hva)} meanwhile; the guest faults again.`, 'Linux mmu_invalidate_retry: -EAGAIN');
  }
  if (page === undefined || (abort.write && !page.writable)) {
    return refuse('abort.host-fault', `The host has no page for ${abort.write ? 'a write' : 'a read'} at ${hex(hva)}.`, 'Linux user_mem_abort: -EFAULT');
  }
  if (page.poisoned === true) {
    return done({ did: 'signalled', address: alignDown(place.address, shift) });
  }
  const unfit = uncacheable(fault) ?? withoutTags(fault);
  if (unfit !== undefined) {
    return unfit;
  }
  // HPFAR_EL2 gives 4 KiB, whatever the page size.
  const unaligned = size.bytes === vm.sizes.page && vm.kernel.faultAddress === 'fault';
  const [address, ipa] = [alignDown(place.address, unaligned ? 12 : shift), alignDown(place.ipa, shift)];
  return commit(fault, vcpu, adjusted(fault, hva, { address, ipa, bytes: size.bytes, page, pagesOnly: size.pagesOnly }));
}

/**
 * kvm_mmu_topup_memory_cache: where fewer are left than one mapping may take, a table for each level but the first, filled to capacity, or as far as there are
 * pages; too few then: -ENOMEM, and what was taken stays for the next time.
 */
function topUp(vm: Vm, { cache }: Vcpu, { format }: Stage2): Outcome<Handled> | undefined {
  const minimum = format.geometry.levels - 1;
  if (cache.objects >= minimum) {
    return undefined;
  }
  cache.objects += Math.min(cache.capacity - cache.objects, vm.freePages);
  return cache.objects >= minimum
    ? undefined
    : refuse('abort.no-pages', `A fault needs ${minimum} table pages set aside, and there are ${cache.objects}.`, 'Linux __kvm_mmu_topup_memory_cache: -ENOMEM');
}

interface Target {
  readonly address: InputAddress;
  /** The VM's IPA behind it. */
  readonly ipa: InputAddress;
  readonly bytes: number;
  readonly page: HostPage;
  readonly pagesOnly: boolean;
}

/** How the memory of a fault is mapped: cacheable device memory as Device by kernels that do not know it. */
function memoryOf({ vm, area }: Pick<Fault, 'vm' | 'area'>): HostArea['memory'] {
  return area.kind === 'device' && area.memory === 'normal' && vm.kernel.cacheableDevice === 'as-device' ? 'device' : area.memory;
}

/** A VM with tags maps no memory that cannot have them; permission faults need not look. */
function withoutTags({ vm, abort, area }: Fault): Outcome<Handled> | undefined {
  return vm.options.mte === true && area.tags === false && abort.cause !== 'permission' && memoryOf({ vm, area }) === 'normal'
    ? refuse('abort.tags', `The memory behind ${hex(abort.ipa)} cannot have tags, and the VM has FEAT_MTE.`, 'Linux user_mem_abort: -EFAULT')
    : undefined;
}

/** Instruction fetch from memory that is not cacheable; cacheable device memory on a machine that needs maintenance for it. */
function uncacheable({ vm, abort, area }: Fault): Outcome<Handled> | undefined {
  if (memoryOf({ vm, area }) !== 'normal') {
    return abort.execute ? done({ did: 'injected', exception: 'external-instruction-abort' }) : undefined;
  }
  const { s2fwb, dic } = vm.host.features;
  return area.kind !== 'device' || (s2fwb && dic)
    ? undefined
    : refuse('abort.uncacheable', `Cacheable device memory behind ${hex(abort.ipa)} needs FEAT_S2FWB and DIC.`, 'Linux kvm_supports_cacheable_pfnmap: -EFAULT');
}

/**
 * A page may become the huge page that the host maps it by: the block that was hit by a permission fault, or a PMD (never more) where the slot supports it.
 * Source: Linux transparent_hugepage_adjust.
 */
function adjusted({ vm, area, slot, granule }: Fault, hva: HostAddress, target: Target): Target {
  const { page, pmd } = vm.sizes;
  const device = area.kind === 'device' && vm.kernel.deviceBlocks !== 'host-leaf';
  if (target.bytes !== page || target.pagesOnly || device) {
    return target;
  }
  if (granule !== undefined && granule > page) {
    return { ...target, bytes: granule };
  }
  if (target.page.leafBytes < pmd || !supportsBlock(slot, hva, pmd, page)) {
    return target;
  }
  const { thpMask } = vm.kernel;
  const frames = Math.log2(ptrsPerPmd(vm.host) * page);
  const [ofIpa, ofFrame] = { 'size': [pmd, pmd], 'ptrs-per-pmd': [2 ** frames, 2 ** frames], 'ipa-size-frame-ptrs': [pmd, 2 ** frames] }[thpMask].map(Math.log2);
  const physical = alignDown(target.page.physical, ofFrame);
  const [address, ipa] = [alignDown(target.address, ofIpa), alignDown(target.ipa, ofIpa)];
  return { ...target, address, ipa, bytes: pmd, page: { ...target.page, physical } };
}

function commit(fault: Fault, vcpu: Vcpu, { address, ipa, bytes, page }: Target): Outcome<Handled> {
  const { vm, stage2, slot, area, granule, limits } = fault;
  const prot = protectionOf(fault, page);
  let outcome: Outcome<undefined>;
  if (granule === bytes) {
    // A level tag stays as it is: relax_perms does not touch software bits.
    stage2.tell({ event: 's2_relax_perms', fields: { addr: address, prot, ...relaxFlags(vm) } });
    const { read, write, execute } = prot;
    const [px, ux] = [execute === true || execute === 'el1', execute === true || execute === 'el0'];
    outcome = stage2.table.relaxPermissions(address, { read, write, ...(execute === false ? {} : { px, ux }) });
  } else {
    const { taken } = stage2.table.memory;
    const tagged = limits?.level === undefined ? prot : { ...prot, software: limits.level % 4 };
    const less = cleansLess(vm, vcpu);
    if (less && prot.execute !== false) {
      vm.options.sink?.effect({ type: 'cmo', op: 'ic-ivau', to: 'pou', address: page.physical, bytes });
    }
    outcome = stage2.map(address, bytes, page.physical, tagged, { ...boundsOf(slot, area, page), at: ipa }, less ? WITHOUT_CMO : {});
    vcpu.cache.objects = Math.max(0, vcpu.cache.objects - Math.max(0, stage2.table.memory.taken - taken));
  }
  if (outcome.kind !== 'done') {
    return outcome;
  }
  if (prot.write) {
    slot.dirty?.mark((alignDown(fault.ipa, vm.format.geometry.pageShift) - slot.ipa) / vm.sizes.page);
  }
  return done(granule === bytes ? { did: 'relaxed', address } : { did: 'mapped', address, bytes });
}

const WITHOUT_CMO = { skip: { cmo: true } } as const;

/** 4.x: a guest whose caches are on sees what the host's caches hold, so that nothing is cleaned for it (coherent_cache_guest_page). */
function cleansLess({ kernel }: Vm, { cachesOn }: Vcpu): boolean {
  return kernel.cleansAtFault === 'caches-off' && cachesOn;
}

function relaxFlags({ kernel }: Vm): { readonly flags?: number } {
  return kernel.relaxFlags === undefined ? {} : { flags: kernel.relaxFlags };
}

/** kvm_s2_fault_compute_prot; in a shadow no more than the guest hypervisor's entry permits (adjust_nested_fault_perms, adjust_nested_exec_perms). */
function protectionOf({ vm, abort, slot, area, limits }: Fault, page: HostPage): Protection {
  const memory = memoryOf({ vm, area });
  const device = memory !== 'normal';
  const write = page.writable && !slot.readonly && (device || slot.dirty === undefined || abort.write);
  const execute = !device && (abort.execute || vm.host.features.dic || vm.kernel.alwaysExecutable);
  if (limits === undefined) {
    return { read: true, write, execute, memory };
  }
  const [el1, el0] = [execute && limits.executeEl1, execute && limits.executeEl0];
  return { read: limits.read, write: write && limits.write, execute: el1 === el0 ? el1 : el1 ? 'el1' : 'el0', memory };
}

/** The slot, and the host page (device memory: the VMA) that lies behind. */
function boundsOf({ ipa, size }: Slot, { kind, start, end, physical, pageBytes }: HostArea, page: HostPage): MapBounds {
  const slot = [ipa, ipa + size] as const;
  if (kind === 'device' && physical !== undefined) {
    return { ipa: slot, physical: [physical, physical + (end - start)] };
  }
  const bytes = kind === 'hugetlb' ? pageBytes : page.leafBytes;
  const first = alignDown(page.physical, Math.log2(bytes));
  return { ipa: slot, physical: [first, first + bytes] };
}
