import { hex } from '@granule/geometry/bits';
import { linuxCaches, notifierAge, notifierUnmap, type Vcpu } from '@granule/kvm';
import type { DecodedEvent, MemorySlot, TraceFields } from '@granule/snapshot';
import type { LiveTable } from '../replay/operations.js';
import type { TracedEvent } from '../replay/trace-pass.js';
import { callOf, LinearMap } from './actual.js';
import { flushesNext, lookAhead } from './ahead.js';
import { Answers } from './answers.js';
import type { Call } from './calls.js';
import { Faults } from './faults.js';
import { FollowingCalls } from './following.js';
import { HypMappingCalls } from './hyp.js';
import { type PolicyInput, Session } from './session.js';
import type { PlacedStep } from './steps.js';
import { Tasks } from './tasks.js';
import { isSctlr, isSetWay, isVmRegister } from './traps.js';
import { Vmm } from './vmm.js';

/** What a task can only come to when the fault before it is dealt with. */
const FINISHING: ReadonlySet<string> = new Set(['kvm_exit', 'kvm_entry', 'kvm_userspace_exit', 'tracing_mark_write']);

/** Drives the policy with the causes of a run, and hands what it does to the comparison. */
export class PolicyReplayer {
  readonly session: Session;
  readonly #hyp: HypMappingCalls;
  readonly #tasks: Tasks;
  readonly #vmm: Vmm;
  readonly #faults: Faults;
  readonly #answers: Answers;
  readonly #linear = new LinearMap();
  /** vCPUs that may have switched their caches unseen: VM-register writes did not trap. */
  readonly #cachesUnknown = new Set<Vcpu>();
  /** Tasks at a fault of which too little is known. */
  readonly #adopting = new Set<number>();
  /** The task that makes the steps. */
  readonly #vmmTask: number | undefined;

  /** @param vmmTask the task that made the VM; undefined: taken from the event that follows a step */
  constructor(input: PolicyInput, slots: readonly MemorySlot[], vmmTask: number | undefined) {
    this.session = new Session(input);
    this.#hyp = new HypMappingCalls(this.session, input.hyp);
    this.#tasks = new Tasks(this.session);
    this.#answers = new Answers(this.session);
    this.#faults = new Faults(this.session, this.#tasks, this.#answers);
    this.#vmm = new Vmm(this.session, this.#tasks, slots);
    this.#vmmTask = vmmTask;
  }

  /** Tables under replay: the VM's stage 2 and its shadows, and EL2's own. */
  get live(): readonly LiveTable[] {
    return [...this.session.live, this.#hyp.live].filter((table) => table !== undefined);
  }

  /** What the VMM did before an event; `later` are the events from there on. */
  step(placed: PlacedStep, next: TracedEvent, later: () => Iterable<TracedEvent>): void {
    this.#hyp.step(placed.call, `step ${placed.n}, ${placed.call}`, next);
    if (!this.#vmm.handles(placed.call)) {
      return;
    }
    const pid = this.#vmmTask ?? next.source.pid;
    this.#finish(pid);
    this.#tasks.leave(pid);
    this.#vmm.step(placed, next, pid, later);
  }

  /** One event of the trace; `later` are those that follow. */
  event(event: TracedEvent, later: Iterable<TracedEvent>): void {
    this.#tasks.arrive(event);
    const { decoded, source } = event;
    if (decoded === undefined) {
      return;
    }
    const { nested, tables } = this.session;
    if (decoded.event === 's2_init') {
      tables.made(decoded.fields);
    }
    const call = callOf(decoded, this.#linear, tables);
    if (nested?.isCause(decoded, this.#faults.causeOf(source.pid) !== undefined) === true) {
      this.#finish(source.pid);
      this.#nestedCause(event, decoded, later);
    } else if (call !== undefined && this.#adopting.has(source.pid)) {
      this.#adopt(decoded);
    } else if (call !== undefined) {
      this.#call(event, decoded, call);
    } else if (decoded.event.endsWith('_ret') && 'ret' in decoded.fields) {
      this.#answers.actual(event, decoded.event.slice(0, -'_ret'.length), decoded.fields.ret);
    } else {
      this.#cause(event, decoded, source.pid, later);
    }
  }

  #cause(event: TracedEvent, decoded: DecodedEvent, pid: number, later: Iterable<TracedEvent>): void {
    if (decoded.event === 'kvm_unmap_hva_range') {
      this.#notifier(event, decoded.fields.start, decoded.fields.end);
    } else if (decoded.event === 'kvm_unmap_hva') {
      this.#notifier(event, decoded.fields.hva, decoded.fields.hva + this.session.sizes.page);
    } else if (decoded.event === 'kvm_age_hva') {
      this.#age(event, decoded.fields.start, decoded.fields.end, true, later);
    } else if (decoded.event === 'kvm_test_age_hva') {
      this.#age(event, decoded.fields.hva, decoded.fields.hva + 1, false, later);
    } else if (decoded.event === 'kvm_guest_fault') {
      this.#finish(pid);
      this.session.count('guest faults');
      this.#entered(event);
      if (this.#isUnknown(pid)) {
        this.#adopting.add(pid);
        this.#answers.forget(pid);
      } else {
        this.#faults.taken(event, decoded.fields);
      }
    } else if (decoded.event === 'kvm_sys_access') {
      this.#finish(pid);
      this.#sysAccess(event, decoded.fields, later);
    } else if (FINISHING.has(decoded.event)) {
      this.#finish(pid);
    } else if (decoded.event === 'hyp_map') {
      this.#hyp.mapped(event, decoded.fields);
    } else if (decoded.event === 'hyp_init') {
      this.#hyp.made();
    } else if (decoded.event === 'kvm_set_spte_hva') {
      this.session.undetermined('pages changed under a mapping (kvm_set_spte_hva)', 'kernels up to 6.9 map the new page at once; that is not modelled');
    }
  }

  #call(event: TracedEvent, decoded: DecodedEvent, early: Call): void {
    const { pid } = event.source;
    const { comparison } = this.session;
    if (decoded.event === 'flush_cpu_context') {
      this.#load(event, early);
      return;
    }
    if (decoded.event === 's2_init') {
      this.#hyp.close();
    }
    if (comparison.idle(pid) && this.#faults.isEarly(pid, event, early)) {
      return;
    }
    this.#nestedCall(event, decoded);
    if (comparison.idle(pid)) {
      const cause = this.#faults.causeOf(pid);
      this.#faults.resolve(pid, early);
      this.#learnLinear(pid, decoded);
      comparison.actual(pid, event, callOf(decoded, this.#linear, this.session.tables) ?? early, cause ?? this.session.cause);
    } else {
      this.#learnLinear(pid, decoded);
      comparison.actual(pid, event, callOf(decoded, this.#linear, this.session.tables) ?? early, this.session.cause);
    }
  }

  /** What a guest hypervisor does: it enters its guest, gets an exception, invalidates. */
  #nestedCause(event: TracedEvent, decoded: DecodedEvent, later: Iterable<TracedEvent>): void {
    const { pid, cpu } = event.source;
    const { nested, tables } = this.session;
    const vcpu = this.#tasks.of(pid);
    this.#entered(event);
    const cause = vcpu && nested?.cause(vcpu, cpu, decoded, new FollowingCalls(later, pid, tables));
    if (cause !== undefined) {
      this.session.count(cause.name);
      this.session.run(pid, event, cause.sentence, cause.run);
    }
  }

  /** A call of a nested run that has its cause in none of its events: the vCPU slept and is loaded again, or its context was another one's. */
  #nestedCall(event: TracedEvent, { event: name }: DecodedEvent): void {
    const { nested, comparison } = this.session;
    const { pid, cpu } = event.source;
    const vcpu = this.#tasks.of(pid);
    const expected = comparison.queue(pid).some(({ call }) => call.event === name);
    if (nested === undefined || vcpu === undefined || expected) {
      return;
    }
    if (name === 'lookup_s2_mmu') {
      nested.put(vcpu);
      this.session.run(pid, event, 'vCPU loaded again', () => nested.load(vcpu, cpu));
    } else if (name === 'unmap_stage2_range') {
      this.#entered(event);
    }
  }

  /** The guest has run, or is about to: what its entry owed is done. */
  #entered(event: TracedEvent): void {
    const { nested } = this.session;
    const vcpu = this.#tasks.of(event.source.pid);
    if (vcpu !== undefined && nested?.owesEntry(vcpu) === true) {
      this.session.run(event.source.pid, event, "the context had been another guest's", () => nested.beforeEntry(vcpu));
    }
  }

  #isUnknown(pid: number): boolean {
    const vcpu = this.#tasks.of(pid);
    return vcpu !== undefined && this.session.nested?.isUnknown(vcpu) === true;
  }

  /** Takes over what the kernel did at a fault. */
  #adopt(decoded: DecodedEvent): void {
    const { nested, tables, input } = this.session;
    this.session.muted = true;
    nested?.adopt(decoded, input.layout, tables);
    const call = callOf(decoded, this.#linear, tables);
    if (call !== undefined) {
      this.session.histories?.call(call, this.session.vm, "a fault through tables that nothing tells, taken over from the kernel", this.session.where);
    }
    this.session.muted = false;
  }

  /** A vCPU was loaded where another one of its VM ran last; who ran where while nothing was traced is not known. */
  #load(event: TracedEvent, call: Call): void {
    const { comparison, hostMemory } = this.session;
    const { pid } = event.source;
    const unseen = this.#tasks.loads(Number(call.fields['table']), event.source.cpu);
    if (unseen && !comparison.queue(pid).some((each) => each.call.event === call.event)) {
      hostMemory.take('vCPU load');
      comparison.count(call.event, true);
    } else {
      comparison.actual(pid, event, call, this.session.cause);
    }
  }

  /** The first cache maintenance by address that the policy expects too tells where the kernel sees memory. */
  #learnLinear(pid: number, decoded: DecodedEvent): void {
    const expected = this.session.comparison.queue(pid).find(({ optional }) => optional !== true)?.call;
    if (expected?.event === decoded.event && typeof expected.fields['phys'] === 'number') {
      const va = 'va' in decoded.fields ? decoded.fields.va : 'start' in decoded.fields ? decoded.fields.start : undefined;
      if (typeof va === 'bigint') {
        this.#linear.learn(va, expected.fields['phys']);
      }
    }
  }

  #notifier(event: TracedEvent, start: number, end: number): void {
    const { comparison, hostMemory, vm } = this.session;
    const { pid } = event.source;
    this.#adopting.delete(pid);
    comparison.close(pid);
    hostMemory.forget(start, end);
    this.session.count('notifier ranges');
    const before = vm?.invalidations;
    this.session.run(pid, event, `notifier, user addresses ${hex(start)}-${hex(end)}`, () => vm && notifierUnmap(vm, start, end));
    if (vm?.invalidations !== before) {
      this.#faults.notified(pid);
    }
  }

  #age(event: TracedEvent, start: number, end: number, clear: boolean, later: Iterable<TracedEvent>): void {
    const { comparison, vm, hostMemory } = this.session;
    const { pid } = event.source;
    comparison.close(pid);
    this.session.count('ageing ranges');
    this.session.run(pid, event, `ageing of user addresses ${hex(start)}-${hex(end)}`, () => {
      const flush = clear && flushesNext(later, pid);
      const young = vm !== undefined && notifierAge(vm, start, end, clear, flush);
      // Of a range over several slots the answers are one in the policy and one a slot in the trace.
      if (comparison.queue(pid).filter(({ call }) => call.event === 's2_test_clear_young').length === 1) {
        this.#answers.expect(pid, 's2_test_clear_young', young ? 1 : 0);
      }
      if (young && flush) {
        hostMemory.take('flush after ageing');
      }
    });
  }

  #finish(pid: number): void {
    if (this.#adopting.delete(pid)) {
      this.session.undetermined('faults of a nested guest', "no checkpoint shows the guest hypervisor's tables as they were then; what the kernel mapped is taken over");
    }
    this.#faults.resolve(pid, undefined);
    this.session.comparison.close(pid);
  }

  #sysAccess(event: TracedEvent, fields: TraceFields<'kvm_sys_access'>, later: Iterable<TracedEvent>): void {
    const { vm, hostMemory } = this.session;
    const { pid } = event.source;
    const vcpu = this.#tasks.of(pid);
    if (vm === undefined || vcpu === undefined) {
      return;
    }
    if (isSetWay(fields)) {
      this.session.count('set/way operations');
      const traced = vcpu.tvm ? undefined : lookAhead(later, pid, 'kvm_set_way_flush');
      this.#caches(vcpu, traced?.fields.cache);
      this.session.run(pid, event, `trapped ${fields.name}`, () => linuxCaches.setWay(vm, vcpu, fields.pc));
    } else if (isVmRegister(fields) && vcpu.tvm) {
      this.session.count('VM-register writes');
      const traced = lookAhead(later, pid, 'kvm_toggle_cache');
      this.#caches(vcpu, traced?.fields.was);
      const now = isSctlr(fields) && traced !== undefined ? traced.fields.now : vcpu.cachesOn;
      if (isSctlr(fields)) {
        hostMemory.take('cache state');
      }
      this.session.run(pid, event, `trapped write of ${fields.name}`, () => linuxCaches.vmRegister(vm, vcpu, fields.pc, now));
      if (!vcpu.tvm) {
        this.#cachesUnknown.add(vcpu);
      }
    }
  }

  /** SCTLR as it stands: known while its writes trap, else given. */
  #caches(vcpu: Vcpu, given: boolean | undefined): void {
    if (given !== undefined && this.#cachesUnknown.delete(vcpu)) {
      this.session.hostMemory.take('cache state');
      vcpu.cachesOn = given;
    }
  }

  finish(): void {
    this.#hyp.close();
    [...this.#adopting].forEach((pid) => this.#finish(pid));
    this.#faults.finish();
    this.session.comparison.closeAll();
  }
}
