import { hex } from '@granule/geometry/bits';
import { errnoOf, guestAbort, type Slot, supportsBlock, type Vm } from '@granule/kvm';
import type { TraceFields } from '@granule/snapshot';
import type { TracedEvent } from '../replay/trace-pass.js';
import { protectionOf } from '../replay/prot.js';
import type { Answers } from './answers.js';
import type { Call } from './calls.js';
import type { TellingCall } from './host.js';
import type { Session } from './session.js';
import type { Tasks } from './tasks.js';

/** A fault whose handling waits for the first call that it leads to. */
interface PendingFault {
  readonly fields: TraceFields<'kvm_guest_fault'>;
  /** Notifiers of the VM before it. */
  readonly since: number;
  /** Another task's notifier came since: before or after the kernel looked, only what the fault leads to tells. */
  raced: boolean;
  readonly cause: string;
  readonly at: TracedEvent;
  /** What came before a call that tells what the host had: the walk of a guest hypervisor's tables. */
  readonly early: { readonly event: TracedEvent; readonly call: Call }[];
}

/** Guest faults: each is handled when the task that took it makes its first call, or goes on without one. */
export class Faults {
  readonly #pending = new Map<number, PendingFault>();
  readonly #session: Session;
  readonly #tasks: Tasks;
  readonly #answers: Answers;

  constructor(session: Session, tasks: Tasks, answers: Answers) {
    [this.#session, this.#tasks, this.#answers] = [session, tasks, answers];
    const { hostMemory, sizes } = session;
    const holds = (hva: number, rule: (slot: Slot) => boolean): boolean => session.vm?.slots.inHostRange(hva, hva + 1).some(rule) ?? false;
    hostMemory.sizeIsFree = (hva) => (session.nested?.limits?.maxBytes ?? Infinity) >= sizes.pmd && holds(hva, (slot) => slot.dirty === undefined && supportsBlock(slot, hva, sizes.pmd, sizes.page));
    hostMemory.writeTells = (hva) => session.nested?.limits?.write !== false && holds(hva, (slot) => slot.dirty === undefined && !slot.readonly);
  }

  taken(event: TracedEvent, fields: TraceFields<'kvm_guest_fault'>): void {
    const cause = `fault at IPA ${hex(fields.ipa)}, ESR ${hex(fields.hsr, 8)}`;
    this.#pending.set(event.source.pid, { fields, since: this.#session.vm?.invalidations ?? 0, raced: false, cause, at: event, early: [] });
  }

  causeOf(pid: number): string | undefined {
    return this.#pending.get(pid)?.cause;
  }

  /** A call of the fault under way that does not tell what it leads to; false: there is no fault. */
  isEarly(pid: number, event: TracedEvent, call: Call): boolean {
    const pending = this.#pending.get(pid);
    if (pending === undefined || call.event !== 'walk_nested_s2') {
      return false;
    }
    pending.early.push({ event, call });
    return true;
  }

  /** A notifier came in a task. */
  notified(by: number): void {
    for (const [pid, pending] of this.#pending) {
      pending.raced ||= pid !== by;
    }
  }

  /** The fault under way comes to its end: with the call that it leads to, or with none. */
  resolve(pid: number, call: Call | undefined): void {
    const pending = this.#pending.get(pid);
    const vcpu = this.#tasks.of(pid);
    const { vm, hostMemory } = this.#session;
    this.#pending.delete(pid);
    if (pending === undefined || vm === undefined || vcpu === undefined) {
      return;
    }
    const { fields, cause, at, early } = pending;
    this.#session.nested?.faultAt(vcpu, fields.ipa);
    hostMemory.telling = this.#telling(vm, call);
    hostMemory.asked = false;
    const registers = { esr: BigInt(fields.hsr), far: fields.hxfar, ipa: fields.ipa, pc: fields.pc };
    const outcome = this.#session.run(pid, at, cause, () => guestAbort(vm, vcpu, registers, { since: this.#since(pending, vm, call) }));
    hostMemory.telling = undefined;
    early.forEach((each) => this.#session.comparison.actual(pid, each.event, each.call, cause));
    for (const { sentence } of hostMemory.misfits.splice(0)) {
      this.#session.note(at, { operation: call?.event ?? 'kvm_guest_fault', cause, what: 'given', sentence });
    }
    if (outcome.kind === 'refused' && outcome.id === 'abort.host-fault' && hostMemory.asked) {
      this.#session.undetermined('faults without a call', 'what the host had there, only a call would have told');
      return;
    }
    const did = outcome.kind === 'done' ? outcome.value.did : outcome.id;
    const name = did === 'relaxed' || did === 'leaf.none' ? 's2_relax_perms' : 's2_map';
    this.#answers.expect(pid, name, outcome.kind === 'done' ? 0 : (errnoOf(outcome) ?? 0));
  }

  /** A mapping that came all the same says that the other task's notifier was over when the kernel looked. */
  #since({ since, raced }: PendingFault, vm: Vm, call: Call | undefined): number {
    const mapped = call?.event === 's2_map' || call?.event === 's2_relax_perms';
    if (!raced || !mapped) {
      return since;
    }
    this.#session.hostMemory.take('race');
    return vm.invalidations;
  }

  /** What a call that maps or relaxes tells of the host. */
  #telling(vm: Vm, call: Call | undefined): TellingCall | undefined {
    const { addr, size, phys, prot } = call?.fields ?? {};
    if (typeof addr !== 'number' || typeof prot !== 'bigint') {
      return undefined;
    }
    const ipa = this.#session.nested?.ipaBehind(addr) ?? addr;
    const first = ipa - (ipa % this.#session.sizes.page);
    const slot = vm.slots.at(first);
    const { write, memory } = protectionOf(prot, this.#session.input.layout);
    return slot && {
      hva: slot.hva + (first - slot.ipa), size: typeof size === 'number' ? size : 0, write, memory, ...(typeof phys === 'number' ? { phys } : {}),
    };
  }

  finish(): void {
    [...this.#pending.keys()].forEach((pid) => this.resolve(pid, undefined));
  }
}
