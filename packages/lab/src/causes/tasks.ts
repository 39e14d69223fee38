import type { Vcpu } from '@granule/kvm';
import type { TracedEvent } from '../replay/trace-pass.js';
import type { Session } from './session.js';

/** Events that a task has only while it runs a guest (or is on its way back from one). */
const GUEST_EVENTS: ReadonlySet<string> = new Set(['kvm_entry', 'kvm_exit', 'kvm_guest_fault', 'kvm_sys_access', 'lookup_s2_mmu']);

export function isGuestEvent({ source }: TracedEvent): boolean {
  return GUEST_EVENTS.has(source.event);
}

interface Task {
  readonly vcpu: Vcpu;
  /** The CPU on which the vCPU is loaded; undefined: it is not, or is about to be. */
  cpu: number | undefined;
  /** Between KVM_RUN and its return. */
  running: boolean;
}

const ORDER = 'the steps do not say which thread runs which vCPU; threads were taken in the order in which they first entered the guest';

/** Which vCPU a task runs, and where it is loaded. */
export class Tasks {
  /** vCPUs by the number that the VMM gave them. */
  readonly #vcpus = new Map<number, Vcpu>();
  readonly #tasks = new Map<number, Task>();
  readonly #ran = new Set<Vcpu>();
  /** Numbers of vCPUs that run, in a task that has not shown itself yet. */
  readonly #waiting: number[] = [];
  readonly #session: Session;
  /** Stretches of running while nothing was traced: where a guest ran in them is not known. */
  #unseen = 0;
  /** Of each stage 2 on each CPU: how many of those stretches there were when a vCPU was last loaded there. */
  readonly #loaded = new Map<string, number>();

  constructor(session: Session) {
    this.#session = session;
  }

  add(id: number, vcpu: Vcpu): void {
    this.#vcpus.set(id, vcpu);
  }

  vcpu(id: number): Vcpu | undefined {
    return this.#vcpus.get(id);
  }

  /** Whether a vCPU was ever run. */
  hasRun(vcpu: Vcpu): boolean {
    return this.#ran.has(vcpu);
  }

  of(pid: number): Vcpu | undefined {
    return this.#tasks.get(pid)?.vcpu;
  }

  /** KVM_RUN: by a thread that the step names, by the only one that ever runs a guest, or by one that is still to show itself. */
  enter(id: number, thread: number | undefined, traced: boolean): void {
    const { guestTasks } = this.#session.input;
    const pid = thread ?? (guestTasks.size === 1 ? [...guestTasks][0] : undefined);
    const vcpu = this.#vcpus.get(id);
    this.#unseen += traced ? 0 : 1;
    if (vcpu !== undefined) {
      this.#ran.add(vcpu);
    }
    if (pid !== undefined && vcpu !== undefined) {
      this.#tasks.set(pid, { vcpu, cpu: undefined, running: true });
    } else if (![...this.#tasks.values()].some((task) => task.vcpu === vcpu) && !this.#waiting.includes(id)) {
      this.#waiting.push(id);
    }
  }

  /** The task does something else: no vCPU is loaded any more. */
  leave(pid: number): void {
    const task = this.#tasks.get(pid);
    if (task !== undefined) {
      [task.running, task.cpu] = [false, undefined];
      this.#session.nested?.put(task.vcpu);
    }
  }

  /** Before an event of a task: its vCPU is loaded where the event says that it runs (kvm_arch_vcpu_load). */
  arrive(event: TracedEvent): void {
    const { pid, cpu } = event.source;
    const guest = isGuestEvent(event);
    const task = this.#tasks.get(pid) ?? (guest ? this.#adopt(pid) : undefined);
    if (task === undefined) {
      return;
    }
    if (event.source.event === 'kvm_userspace_exit') {
      this.leave(pid);
      return;
    }
    task.running ||= guest;
    if (task.running && task.cpu !== cpu) {
      task.cpu = cpu;
      const { comparison, vm, nested } = this.#session;
      comparison.optional = this.#unseen > 0;
      this.#session.run(pid, event, `vCPU loaded on CPU ${cpu}`, () => (nested === undefined ? vm?.load(task.vcpu, cpu) : nested.load(task.vcpu, cpu)));
      comparison.optional = false;
    }
  }

  /** A vCPU is loaded with a stage 2 on a CPU. Whether another one may have run there unseen since that happened last. */
  loads(table: number, cpu: number): boolean {
    const place = `${table} ${cpu}`;
    const unseen = (this.#loaded.get(place) ?? 0) < this.#unseen;
    this.#loaded.set(place, this.#unseen);
    return unseen;
  }

  #adopt(pid: number): Task | undefined {
    const taken = new Set([...this.#tasks.values()].map(({ vcpu }) => vcpu));
    const free = [...this.#vcpus].find(([, vcpu]) => !taken.has(vcpu))?.[0];
    const id = this.#waiting.shift() ?? free;
    const vcpu = id === undefined ? undefined : this.#vcpus.get(id);
    if (vcpu === undefined) {
      return undefined;
    }
    if (this.#vcpus.size > 1) {
      this.#session.undetermined('threads of vCPUs', ORDER);
    }
    const task = { vcpu, cpu: undefined, running: true };
    this.#tasks.set(pid, task);
    return task;
  }
}
