import {
  clearDirtyLog, createVm, type DirtyBitmap, getDirtyLog, resetVcpu, setManualDirtyLog, setMemoryRegion, setSplitChunk, type Vcpu, type Vm, VmidAllocator,
} from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import type { MemorySlot, Step } from '@granule/snapshot';
import type { TracedEvent } from '../replay/trace-pass.js';
import { writeProtected } from './ahead.js';
import { type NestedDriver, nestedOptions } from './nested.js';
import type { Session } from './session.js';
import { addressArg, areaOf, areaOfSlot, capabilityOf, failed, permits, type PlacedStep, regionOf } from './steps.js';
import type { Tasks } from './tasks.js';

/** A step on its way: where it stands, and what the trace shows after it. */
interface Under {
  readonly placed: PlacedStep;
  readonly step: Step;
  /** The event before which it happened. */
  readonly next: TracedEvent;
  /** The task that made it. */
  readonly pid: number;
  later(): Iterable<TracedEvent>;
}

type Handler = (under: Under) => void;

/** What the VMM did: each of its calls that memory management sees. Others are passed over. */
export class Vmm {
  /** By slot: the dirty log that the VMM got last. */
  readonly #dirty = new Map<number, DirtyBitmap>();
  readonly #session: Session;
  readonly #tasks: Tasks;
  readonly #slots: readonly MemorySlot[];
  readonly #handlers: Readonly<Record<string, Handler>> = {
    KVM_CREATE_VM: (under) => this.#create(under),
    KVM_CREATE_VCPU: ({ step }) => this.#addVcpu(addressArg(step, 'vcpu', 'id') ?? 0),
    KVM_ARM_VCPU_INIT: ({ step }) => this.#initVcpu(addressArg(step, 'vcpu', 'id') ?? 0, step.args['features']),
    KVM_ENABLE_CAP: (under) => this.#capability(under),
    KVM_SET_USER_MEMORY_REGION: (under) => this.#region(under),
    KVM_SET_USER_MEMORY_REGION2: (under) => this.#region(under),
    KVM_GET_DIRTY_LOG: (under) => this.#getLog(under),
    KVM_CLEAR_DIRTY_LOG: (under) => this.#clearLog(under),
    KVM_RUN: ({ step }) => this.#tasks.enter(addressArg(step, 'vcpu') ?? 0, addressArg(step, 'tid', 'thread', 'pid'), step.traced !== false),
    mmap: (under) => this.#map(under),
    munmap: ({ step }) => this.#range(step, (start, end) => this.#session.hostMemory.remove(start, end)),
    mprotect: ({ step }) => this.#range(step, (start, end) => this.#protect(step, start, end)),
    madvise: ({ step }) => this.#range(step, (start, end) => this.#advise(step.args['advice'], start, end)),
    mremap: (under) => this.#remap(under),
    populate: ({ step }) => this.#range(step, (start, end) => this.#session.hostMemory.touch(start, end)),
    hostWrite: ({ step }) => this.#range(step, (start, end) => this.#session.hostMemory.touch(start, end)),
  };

  constructor(session: Session, tasks: Tasks, slots: readonly MemorySlot[]) {
    [this.#session, this.#tasks, this.#slots] = [session, tasks, slots];
  }

  /** Whether a step is one of those that memory management sees. */
  handles(call: string): boolean {
    return Object.hasOwn(this.#handlers, call) || call.startsWith('KVM_CAP_');
  }

  step(placed: PlacedStep, next: TracedEvent, pid: number, later: () => Iterable<TracedEvent>): void {
    const { call, step, n } = placed;
    const handler = Object.hasOwn(this.#handlers, call) ? this.#handlers[call] : this.#handlers['KVM_ENABLE_CAP'];
    this.#session.run(pid, next, `step ${n}, ${call}`, () => handler({ placed, step, next, pid, later }));
    this.#session.count(call);
  }

  #create({ step }: Under): void {
    const session = this.#session;
    const { backend, kernel, host, placed, tableBytes, ipaBits, nested } = session.input;
    const { page } = session.sizes;
    const memory = createTableArena({ pageShift: Math.log2(page), maxPages: Math.max(1, Math.floor(tableBytes / page)) });
    const vm = createVm({
      backend, kernel, host, memory, type: addressArg(step, 'type', 'ipaBits') ?? ipaBits, hostMemory: session.hostMemory,
      vmids: new VmidAllocator(host.features.vmidBits), sink: session.recorder, trace: session.recorder.trace,
      ...(nested === undefined ? {} : { nested: nestedOptions(nested, session.nested) }),
    });
    if (vm.kind !== 'done') {
      session.problem = vm;
      return;
    }
    session.vm = vm.value;
    session.recorder.vm = vm.value;
    session.live[0] = { placed, table: vm.value.table, touches: [], destroyed: false };
  }

  #addVcpu(id: number): void {
    const { vm } = this.#session;
    if (vm !== undefined) {
      this.#tasks.add(id, vm.addVcpu());
    }
  }

  /** The first time a vCPU with an EL2 brings shadows, else nothing is owed; a vCPU that has run begins anew. */
  #initVcpu(id: number, features: unknown): void {
    const { vm, nested } = this.#session;
    const vcpu = this.#tasks.vcpu(id);
    if (vm === undefined || vcpu === undefined) {
      return;
    }
    if (nested !== undefined) {
      this.#initShadows(vm, vcpu, nested, features);
    }
    if (this.#tasks.hasRun(vcpu)) {
      resetVcpu(vm, vcpu);
    }
  }

  #initShadows(vm: Vm, vcpu: Vcpu, nested: NestedDriver, features: unknown): void {
    const { live, input } = this.#session;
    const outcome = nested.initVcpu(vm, vcpu, features);
    if (outcome.kind !== 'done') {
      this.#session.problem = outcome;
    }
    for (const { table, mmu } of vm.nested?.shadows ?? []) {
      const placed = input.nested?.shadows[mmu - 1];
      live[mmu] ??= placed && { placed, table, touches: [], destroyed: false };
    }
  }

  #range(step: Step, then: (start: number, end: number) => void): void {
    const [start, bytes] = [addressArg(step, 'addr', 'hva'), addressArg(step, 'len', 'length')];
    if (start !== undefined && bytes !== undefined && !failed(step)) {
      then(start, start + bytes);
    }
  }

  #map({ step }: Under): void {
    const area = areaOf(step, this.#session.sizes);
    if (area !== undefined) {
      this.#session.hostMemory.add(area);
    }
  }

  #protect(step: Step, start: number, end: number): void {
    const { prot } = step.args;
    const accessible = permits(prot, 'PROT_READ') || permits(prot, 'PROT_WRITE');
    this.#session.hostMemory.change(start, end, (area) => ({ ...area, writable: permits(prot, 'PROT_WRITE'), accessible }));
  }

  /** MADV_NOHUGEPAGE says the page size where there is nothing yet; huge pages that are there stay. The rest shows in notifiers. */
  #advise(advice: unknown, start: number, end: number): void {
    const { hostMemory, sizes } = this.#session;
    const pageBytes = advice === 'MADV_NOHUGEPAGE' ? sizes.page : advice === 'MADV_HUGEPAGE' || advice === 'MADV_COLLAPSE' ? sizes.pmd : undefined;
    if (pageBytes !== undefined) {
      hostMemory.change(start, end, (area) => (area.kind !== 'anonymous' || (area.touched && pageBytes === sizes.page) ? area : { ...area, pageBytes }));
    }
  }

  #remap({ step }: Under): void {
    const from = addressArg(step, 'old_address', 'oldAddr', 'addr');
    const bytes = addressArg(step, 'old_size', 'old_len', 'oldLen', 'len');
    const newBytes = addressArg(step, 'new_size', 'new_len', 'newLen') ?? bytes;
    const to = addressArg({ args: { ...step.args, result: step.result } }, 'result', 'new_address', 'newAddr') ?? from;
    if (from !== undefined && bytes !== undefined && newBytes !== undefined && to !== undefined && !failed(step)) {
      this.#session.hostMemory.move(from, bytes, to, newBytes);
    }
  }

  #region(under: Under): void {
    const { vm, hostMemory, sizes } = this.#session;
    const region = regionOf(under.step);
    if (vm === undefined || region === undefined) {
      return;
    }
    if (region.size > 0 && !failed(under.step) && hostMemory.areasIn(region.hva, region.hva + region.size).length === 0) {
      hostMemory.add(areaOfSlot(region, this.#slots, sizes));
      hostMemory.take('host memory area');
    }
    const outcome = setMemoryRegion(vm, region);
    if (outcome.kind === 'done' ? failed(under.step) : !failed(under.step)) {
      this.#note(under, outcome.kind === 'done' ? `The policy does it; the VMM was told ${String(under.step.result)}.` : outcome.sentence);
    }
  }

  #capability(under: Under): void {
    const { vm } = this.#session;
    const capability = capabilityOf(under.step);
    if (vm === undefined || capability === undefined || failed(under.step)) {
      return;
    }
    const { name, value } = capability;
    const set = name === 'KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2' ? setManualDirtyLog : name === 'KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE' ? setSplitChunk : undefined;
    const outcome = set?.(vm, value);
    if (outcome?.kind === 'refused') {
      this.#note(under, outcome.sentence);
    }
  }

  #getLog(under: Under): void {
    const { vm, dirtyPages, input } = this.#session;
    const id = addressArg(under.step, 'slot') ?? -1;
    const slot = vm?.slots.byId(id);
    const log = vm && getDirtyLog(vm, id);
    if (vm === undefined || slot === undefined || log?.kind !== 'done') {
      if (!failed(under.step)) {
        this.#note(under, log?.kind === 'refused' ? log.sentence : `There is no slot ${id}.`);
      }
      return;
    }
    this.#dirty.set(id, log.value);
    const theirs = input.dirtyLog(under.placed);
    if (theirs !== undefined) {
      const ours = new Set(log.value.list().map((page) => slot.ipa + page * vm.sizes.page));
      const equal = theirs.filter((page) => ours.has(page)).length;
      dirtyPages.equal += equal;
      dirtyPages.total += theirs.length + ours.size - equal;
    }
  }

  /**
   * No step has the mask. What follows tells the first and the last page of each word that was set and dirty, since those are write-protected; the pages
   * between are taken for those that the VMM got last. Where that is not traced, so are all.
   */
  #clearLog(under: Under): void {
    const { vm } = this.#session;
    const id = addressArg(under.step, 'slot') ?? -1;
    const slot = vm?.slots.byId(id);
    if (vm === undefined || slot?.dirty === undefined) {
      return;
    }
    const { page } = vm.sizes;
    const told = this.#session.input.traced.has('s2_wrprotect') ? writeProtected(under.later(), under.pid) : undefined;
    const got = this.#dirty.get(id);
    this.#session.undetermined('masks of KVM_CLEAR_DIRTY_LOG', 'steps.json does not tell them; pages between the first and the last of each word are taken for those of the last KVM_GET_DIRTY_LOG');
    const mask = (index: number): boolean => {
      const ipa = slot.ipa + index * page;
      const within = told?.find(({ start, end }) => start <= ipa && ipa < end);
      const edge = within !== undefined && (within.start === ipa || within.end === ipa + page);
      return told === undefined ? (got?.has(index) ?? true) : edge || (within !== undefined && (got?.has(index) ?? true));
    };
    const [first, count] = [addressArg(under.step, 'first_page') ?? 0, addressArg(under.step, 'num_pages') ?? slot.dirty.pages];
    const outcome = clearDirtyLog(vm, id, first, count, mask);
    if (outcome.kind === 'refused' && !failed(under.step)) {
      this.#note(under, outcome.sentence);
    }
  }

  #note({ next, placed: { n, call } }: Under, sentence: string): void {
    this.#session.note(next, { operation: call, cause: `step ${n} of the VMM`, what: 'answer', sentence });
  }
}
