import type { Outcome } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import {
  clearDirtyLog, createVm, type DirtyBitmap, errnoOf, getDirtyLog, guestAbort, linuxCaches, notifierAge, notifierUnmap, setMemoryRegion, setSplitChunk,
  type Slot, supportsBlock, type Vcpu, type Vm, VmidAllocator, type VmOptions,
} from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import type { DecodedEvent, TraceFields } from '@granule/snapshot';
import type { LiveTable } from '../replay/operations.js';
import type { PlacedTable } from '../replay/kernel-tables.js';
import type { TracedEvent } from '../replay/trace-pass.js';
import { callOf, LinearMap } from './actual.js';
import { CallRecorder, type Call } from './calls.js';
import { CallComparison } from './compare.js';
import { TracedHost } from './host.js';
import { isSctlr, isSetWay, isVmRegister } from './traps.js';
import { addressArg, areaOf, type PlacedStep, regionOf } from './steps.js';

export interface PolicyInput extends Pick<VmOptions, 'backend' | 'kernel' | 'host'> {
  readonly placed: PlacedTable;
  readonly layout: 'x' | 'px-ux';
  readonly icacheLimit: number;
  readonly tableBytes: number;
  readonly traced: ReadonlySet<string>;
  /** Pages of a dirty log as the VMM got it, IPAs; undefined: not recorded. */
  dirtyLog(step: PlacedStep): readonly number[] | undefined;
}

/** A fault whose handling waits for the first call that it leads to. */
interface PendingFault {
  readonly fields: TraceFields<'kvm_guest_fault'>;
  readonly since: number;
  readonly cause: string;
  readonly at: TracedEvent;
}

/** Drives the policy with the causes of a run, and hands what it does to the comparison. */
export class PolicyReplayer {
  readonly comparison: CallComparison;
  readonly hostMemory: TracedHost;
  readonly causes: Record<string, number> = {};
  readonly dirtyPages = { equal: 0, total: 0 };
  /** Faults that led to nothing, and of whose host memory nothing is known. */
  readonly silentFaults: TracedEvent[] = [];
  /** Masks of KVM_CLEAR_DIRTY_LOG, which no step tells. */
  unknownMasks = 0;
  vm: Vm | undefined;
  live: LiveTable | undefined;
  problem: Outcome<never> | undefined;
  readonly #input: PolicyInput;
  readonly #recorder: CallRecorder;
  readonly #linear = new LinearMap();
  readonly #pending = new Map<number, PendingFault>();
  /** By task: the answer of the last page-table call, as its return is traced. */
  readonly #answers = new Map<number, { readonly name: string; readonly ret: number }>();
  readonly #vcpus = new Map<number, Vcpu>();
  /** The vCPU that a task last ran. */
  /** By slot: the dirty log that the VMM got last. */
  readonly #dirty = new Map<number, DirtyBitmap>();
  readonly #running = new Map<number, Vcpu>();
  /** vCPUs that may have switched their caches unseen: VM-register writes did not trap. */
  readonly #cachesUnknown = new Set<Vcpu>();
  #pid = 0;
  #cause = '';
  #at: Pick<TracedEvent, 'trace' | 'line'> = { trace: '', line: 0 };

  constructor(input: PolicyInput) {
    this.#input = input;
    this.comparison = new CallComparison(input.traced);
    this.#recorder = new CallRecorder((call) => this.#made(call), input.layout, { icacheLimit: input.icacheLimit });
    const { page, pmd } = { page: 2 ** input.placed.like.format.geometry.pageShift, pmd: pmdBytes(input.placed) };
    this.hostMemory = new TracedHost(page, pmd);
    this.hostMemory.sizeIsFree = (hva) => this.#slotAt(hva, (slot) => slot.dirty === undefined && supportsBlock(slot, hva, pmd, page));
    this.hostMemory.writeTells = (hva) => this.#slotAt(hva, (slot) => slot.dirty === undefined && !slot.readonly);
  }

  #slotAt(hva: number, holds: (slot: Slot) => boolean): boolean {
    return this.vm?.slots.inHostRange(hva, hva + 1).some(holds) ?? false;
  }

  #made(call: Call): void {
    const { addr, size = 1 } = call.fields;
    if (typeof addr === 'number' && typeof size === 'number') {
      const { trace, line } = this.#at;
      this.live?.touches.push({ operation: call.event, trace, line, start: addr, end: addr + size });
    }
    this.comparison.expect(this.#pid, { call, cause: this.#cause, at: this.#at });
  }

  /** Runs a part of the policy; its calls belong to a task and a cause. */
  #run<T>(pid: number, at: Pick<TracedEvent, 'trace' | 'line'>, cause: string, part: () => T): T {
    [this.#pid, this.#cause, this.#at] = [pid, cause, at];
    return part();
  }

  #count(cause: string): void {
    this.causes[cause] = (this.causes[cause] ?? 0) + 1;
  }

  /** What the VMM did before an event. */
  step(placed: PlacedStep, next: TracedEvent): void {
    const { call, step, n } = placed;
    const pid = next.source.pid;
    if (call === 'tracing' || call === 'mark' || call === 'checkpoint') {
      return;
    }
    this.#finish(pid);
    this.#run(pid, next, `step ${n}, ${call}`, () => this.#step(call, step, placed, next));
  }

  #step(call: string, step: PlacedStep['step'], placed: PlacedStep, next: TracedEvent): void {
    const [start, bytes] = [addressArg(step, 'addr'), addressArg(step, 'len')];
    if (call === 'KVM_CREATE_VM') {
      this.#create(addressArg(step, 'type') ?? 0);
    } else if (call === 'KVM_CREATE_VCPU' && this.vm !== undefined) {
      this.#vcpus.set(addressArg(step, 'vcpu') ?? 0, this.vm.addVcpu());
    } else if (call === 'KVM_ENABLE_CAP') {
      this.#capability(step, placed, next);
    } else if (call === 'mmap') {
      const area = areaOf(step, { page: 2 ** this.#input.placed.like.format.geometry.pageShift, pmd: pmdBytes(this.#input.placed) });
      if (area !== undefined) {
        this.hostMemory.add(area);
      }
    } else if (start !== undefined && bytes !== undefined && (call === 'mprotect' || call === 'munmap' || call === 'madvise')) {
      this.#hostCall(call, step, start, start + bytes);
    } else if (call === 'KVM_RUN') {
      this.#enter(next, addressArg(step, 'vcpu') ?? 0);
    } else if (call === 'KVM_SET_USER_MEMORY_REGION') {
      this.#region(step, placed, next);
    } else if (call === 'KVM_GET_DIRTY_LOG') {
      this.#dirtyLog(addressArg(step, 'slot') ?? -1, placed, next);
    } else if (call === 'KVM_CLEAR_DIRTY_LOG') {
      this.#clearDirtyLog(step, placed, next);
    } else {
      return;
    }
    this.#count(call);
  }

  #create(type: number): void {
    const { backend, kernel, host, placed, tableBytes } = this.#input;
    const { pageShift } = placed.like.format.geometry;
    const memory = createTableArena({ pageShift, maxPages: Math.max(1, Math.floor(tableBytes / 2 ** pageShift)) });
    const vm = createVm({
      backend, kernel, host, memory, type, hostMemory: this.hostMemory, vmids: new VmidAllocator(host.features.vmidBits), sink: this.#recorder,
      trace: this.#recorder.trace,
    });
    if (vm.kind !== 'done') {
      this.problem = vm;
      return;
    }
    this.vm = vm.value;
    this.#recorder.vm = vm.value;
    this.live = { placed, table: vm.value.table, touches: [], destroyed: false };
  }

  #hostCall(call: string, step: PlacedStep['step'], start: number, end: number): void {
    if (call === 'mprotect') {
      this.hostMemory.protect(start, end, String(step.args['prot']).includes('PROT_WRITE'));
    } else if (call === 'munmap') {
      this.hostMemory.remove(start, end);
    } else if (step.args['advice'] === 'MADV_NOHUGEPAGE') {
      const area = this.hostMemory.areaAt(start);
      if (area?.kind === 'anonymous') {
        this.hostMemory.add({ ...area, start, end, pageBytes: 2 ** this.#input.placed.like.format.geometry.pageShift });
      }
    }
  }

  #region(step: PlacedStep['step'], placed: PlacedStep, next: TracedEvent): void {
    const region = regionOf(step);
    const outcome = this.vm && region && setMemoryRegion(this.vm, region);
    if (outcome !== undefined && outcome.kind !== 'done' && step.result === undefined) {
      this.#note(next, placed, outcome.sentence);
    }
  }

  #dirtyLog(id: number, placed: PlacedStep, next: TracedEvent): void {
    const slot = this.vm?.slots.byId(id);
    const log = this.vm && getDirtyLog(this.vm, id);
    if (slot === undefined || log?.kind !== 'done') {
      this.#note(next, placed, log?.kind === 'refused' ? log.sentence : `There is no slot ${id}.`);
      return;
    }
    this.#dirty.set(id, log.value);
    const theirs = this.#input.dirtyLog(placed);
    const ours = new Set(log.value.list().map((page) => slot.ipa + page * this.vm!.sizes.page));
    if (theirs !== undefined) {
      const equal = theirs.filter((page) => ours.has(page)).length;
      this.dirtyPages.equal += equal;
      this.dirtyPages.total += theirs.length + ours.size - equal;
    }
  }

  /** A step does not tell the mask: it is taken for the pages that the VMM got last, and reported as undetermined. */
  #clearDirtyLog(step: PlacedStep['step'], placed: PlacedStep, next: TracedEvent): void {
    const id = addressArg(step, 'slot') ?? -1;
    const dirty = this.#dirty.get(id);
    if (this.vm === undefined || dirty === undefined) {
      return;
    }
    this.unknownMasks += 1;
    const [first, count] = [addressArg(step, 'first_page') ?? 0, addressArg(step, 'num_pages') ?? dirty.pages];
    const outcome = clearDirtyLog(this.vm, id, first, count, (page) => dirty.has(page));
    if (outcome.kind !== 'done') {
      this.#note(next, placed, outcome.kind === 'refused' ? outcome.sentence : outcome.kind);
    }
  }

  #capability(step: PlacedStep['step'], placed: PlacedStep, next: TracedEvent): void {
    const { cap } = step.args;
    const value = addressArg(step, 'value') ?? addressArg(step, 'args0') ?? 0;
    if (this.vm === undefined) {
      return;
    }
    if (cap === 'KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2') {
      this.vm.manualDirtyLog = value === 0 ? 'off' : value % 4 === 3 ? 'initially-set' : 'manual';
    } else if (cap === 'KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE') {
      const outcome = setSplitChunk(this.vm, value);
      if (outcome.kind === 'refused') {
        this.#note(next, placed, outcome.sentence);
      }
    }
  }

  #note(next: TracedEvent, { n, call }: PlacedStep, sentence: string): void {
    this.comparison.note({ trace: next.trace, line: next.line, operation: call, cause: `step ${n}`, what: 'answer', sentence });
  }

  #enter({ source }: TracedEvent, id: number): void {
    const vcpu = this.#vcpus.get(id);
    if (vcpu !== undefined) {
      this.#running.set(source.pid, vcpu);
      this.vm?.load(vcpu, source.cpu);
    }
  }

  #load(pid: number, pe: number): void {
    const vcpu = this.#running.get(pid);
    if (vcpu !== undefined) {
      this.vm?.load(vcpu, pe);
    }
  }

  /** One event of the trace; `later` are those that follow. */
  event(event: TracedEvent, later: Iterable<TracedEvent>): void {
    const { decoded, source } = event;
    const { pid } = source;
    if (decoded === undefined) {
      return;
    }
    const call = callOf(decoded, this.#linear);
    if (call !== undefined) {
      this.#call(event, decoded, call);
    } else if (decoded.event.endsWith('_ret') && 'ret' in decoded.fields) {
      this.#return(event, decoded.event.slice(0, -'_ret'.length), decoded.fields.ret);
    } else if (decoded.event === 'kvm_unmap_hva_range') {
      this.#notifier(event, decoded.fields.start, decoded.fields.end);
    } else if (decoded.event === 'kvm_age_hva') {
      this.#age(event, decoded.fields.start, decoded.fields.end, true);
    } else if (decoded.event === 'kvm_test_age_hva') {
      this.#age(event, decoded.fields.hva, decoded.fields.hva + 1, false);
    } else if (decoded.event === 'kvm_guest_fault') {
      this.#finish(pid);
      this.#count('guest faults');
      const cause = `fault at IPA ${hex(decoded.fields.ipa)}, ESR ${hex(decoded.fields.hsr, 8)}`;
      this.#pending.set(pid, { fields: decoded.fields, since: this.vm?.invalidations ?? 0, cause, at: event });
    } else if (decoded.event === 'kvm_sys_access') {
      this.#finish(pid);
      this.#sysAccess(event, decoded.fields, later);
    } else if (decoded.event === 'kvm_exit' || decoded.event === 'kvm_entry' || decoded.event === 'tracing_mark_write') {
      this.#finish(pid);
    }
  }

  #call(event: TracedEvent, decoded: DecodedEvent, early: Call): void {
    const { pid, cpu } = event.source;
    this.#learnLinear(pid, decoded);
    const call = callOf(decoded, this.#linear) ?? early;
    const pending = this.#pending.get(pid);
    if (pending !== undefined && this.comparison.queue(pid).length === 0) {
      this.#resolve(pid, call);
    }
    if (decoded.event === 'flush_cpu_context' && this.comparison.queue(pid).length === 0) {
      this.#run(pid, event, `vCPU loaded on CPU ${cpu}`, () => this.#load(pid, cpu));
    }
    this.comparison.actual(pid, event, call, pending?.cause ?? this.#cause);
  }

  /** The first cache maintenance by address that the policy expects too tells where the kernel sees memory. */
  #learnLinear(pid: number, decoded: DecodedEvent): void {
    const expected = this.comparison.queue(pid).at(0)?.call;
    if (expected?.event === decoded.event && typeof expected.fields['phys'] === 'number') {
      const va = 'va' in decoded.fields ? decoded.fields.va : 'start' in decoded.fields ? decoded.fields.start : undefined;
      if (typeof va === 'bigint') {
        this.#linear.learn(va, expected.fields['phys']);
      }
    }
  }

  #return(event: TracedEvent, name: string, ret: number): void {
    const { pid } = event.source;
    const answer = this.#answers.get(pid);
    if (answer?.name !== name) {
      return;
    }
    this.#answers.delete(pid);
    const { answers } = this.comparison;
    // Where hardware sets access flags, a page may be younger than the policy can know.
    const equal = answer.ret === ret || (name === 's2_test_clear_young' && ret === 1 && this.#input.host.hardwareAccessFlag);
    answers.total += 1;
    answers.equal += equal ? 1 : 0;
    if (!equal) {
      const sentence = `The policy's call answers ${answer.ret} and the kernel's ${ret}.`;
      this.comparison.note({ trace: event.trace, line: event.line, operation: name, cause: this.#cause, what: 'answer', sentence });
    }
  }

  #notifier(event: TracedEvent, start: number, end: number): void {
    const { pid } = event.source;
    this.comparison.close(pid);
    this.hostMemory.forget(start, end);
    this.#count('notifier ranges');
    this.#run(pid, event, `notifier, user addresses ${hex(start)}-${hex(end)}`, () => this.vm && notifierUnmap(this.vm, start, end));
  }

  #age(event: TracedEvent, start: number, end: number, clear: boolean): void {
    const { pid } = event.source;
    this.comparison.close(pid);
    this.#count('ageing ranges');
    const young = this.#run(pid, event, `ageing of user addresses ${hex(start)}-${hex(end)}`, () => this.vm && notifierAge(this.vm, start, end, clear));
    this.#answers.set(pid, { name: 's2_test_clear_young', ret: young === true ? 1 : 0 });
  }

  /** The fault under way comes to its end: with the call that it leads to, or with none. */
  #resolve(pid: number, call: Call | undefined): void {
    const pending = this.#pending.get(pid);
    const { vm } = this;
    this.#pending.delete(pid);
    const vcpu = this.#running.get(pid);
    if (pending === undefined || vm === undefined || vcpu === undefined) {
      return;
    }
    const { fields, since, cause, at } = pending;
    this.hostMemory.telling = this.#telling(vm, call);
    this.hostMemory.asked = false;
    const registers = { esr: BigInt(fields.hsr), far: fields.hxfar, ipa: fields.ipa, pc: fields.pc };
    const outcome = this.#run(pid, at, cause, () => guestAbort(vm, vcpu, registers, { since }));
    this.hostMemory.telling = undefined;
    for (const { sentence } of this.hostMemory.misfits.splice(0)) {
      this.comparison.note({ trace: at.trace, line: at.line, operation: call?.event ?? 'kvm_guest_fault', cause, what: 'given', sentence });
    }
    if (outcome.kind === 'refused' && outcome.id === 'abort.host-fault' && this.hostMemory.asked) {
      this.silentFaults.push(at);
    }
    const mapped = outcome.kind === 'done' ? outcome.value.did : outcome.id;
    const name = mapped === 'relaxed' || mapped === 'leaf.none' ? 's2_relax_perms' : 's2_map';
    this.#answers.set(pid, { name, ret: outcome.kind === 'done' ? 0 : (errnoOf(outcome) ?? 0) });
  }

  /** What a call that maps or relaxes tells of the host. */
  #telling(vm: Vm, call: Call | undefined) {
    const { addr, size, phys, prot } = call?.fields ?? {};
    if (typeof addr !== 'number' || typeof prot !== 'bigint') {
      return undefined;
    }
    const slot = vm.slots.at(addr);
    const write = (prot & (this.#input.layout === 'x' ? 2n : 4n)) !== 0n;
    return slot && { hva: slot.hva + (addr - slot.ipa), size: typeof size === 'number' ? size : 0, write, ...(typeof phys === 'number' ? { phys } : {}) };
  }

  #finish(pid: number): void {
    this.#resolve(pid, undefined);
    this.comparison.close(pid);
  }

  #sysAccess(event: TracedEvent, fields: TraceFields<'kvm_sys_access'>, later: Iterable<TracedEvent>): void {
    const { vm } = this;
    const { pid } = event.source;
    const vcpu = this.#running.get(pid);
    if (vm === undefined || vcpu === undefined) {
      return;
    }
    if (isSetWay(fields)) {
      this.#count('set/way operations');
      const traced = vcpu.tvm ? undefined : lookAhead(later, pid, 'kvm_set_way_flush');
      this.#caches(vcpu, traced?.fields.cache);
      this.#run(pid, event, `trapped ${fields.name}`, () => linuxCaches.setWay(vm, vcpu, fields.pc));
    } else if (isVmRegister(fields) && vcpu.tvm) {
      this.#count('VM-register writes');
      const traced = lookAhead(later, pid, 'kvm_toggle_cache');
      this.#caches(vcpu, traced?.fields.was);
      const now = isSctlr(fields) && traced !== undefined ? traced.fields.now : vcpu.cachesOn;
      if (isSctlr(fields)) {
        this.hostMemory.count('cache state');
      }
      this.#run(pid, event, `trapped write of ${fields.name}`, () => linuxCaches.vmRegister(vm, vcpu, fields.pc, now));
      if (!vcpu.tvm) {
        this.#cachesUnknown.add(vcpu);
      }
    }
  }

  /** SCTLR as it stands: known while its writes trap, else given. */
  #caches(vcpu: Vcpu, given: boolean | undefined): void {
    if (given !== undefined && this.#cachesUnknown.delete(vcpu)) {
      this.hostMemory.count('cache state');
      vcpu.cachesOn = given;
    }
  }

  finish(): void {
    [...this.#pending.keys()].forEach((pid) => this.#resolve(pid, undefined));
    this.comparison.closeAll();
  }
}

/** The first event of this name that a task has before it enters or leaves the guest again. */
function lookAhead<N extends DecodedEvent['event']>(later: Iterable<TracedEvent>, pid: number, name: N): Extract<DecodedEvent, { event: N }> | undefined {
  for (const { source, decoded } of later) {
    if (source.pid !== pid) {
      continue;
    }
    if (decoded?.event === name) {
      return decoded as Extract<DecodedEvent, { event: N }>;
    }
    if (source.event === 'kvm_exit' || source.event === 'kvm_entry' || source.event === 'kvm_sys_access') {
      return undefined;
    }
  }
  return undefined;
}

function pmdBytes({ like }: PlacedTable): number {
  const { pageShift, stride } = like.format.geometry;
  return 2 ** (pageShift + stride);
}
