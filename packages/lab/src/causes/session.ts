import type { Outcome } from '@granule/contract';
import type { Vm, VmOptions } from '@granule/kvm';
import type { LiveTable } from '../replay/operations.js';
import type { PlacedTable } from '../replay/kernel-tables.js';
import type { ProtLayout } from '../replay/prot.js';
import type { TracedEvent } from '../replay/trace-pass.js';
import { TableNumbers } from './actual.js';
import { CallRecorder, type Call } from './calls.js';
import { CallComparison } from './compare.js';
import { EntryHistories } from './history.js';
import { TracedHost } from './host.js';
import { isLargeStep, NestedDriver, type NestedInput } from './nested.js';
import type { CallDifference } from './report.js';
import type { PlacedStep } from './steps.js';

/** What is known of a run before its first event. */
export interface PolicyInput extends Pick<VmOptions, 'backend' | 'kernel' | 'host'> {
  readonly placed: PlacedTable;
  /** EL2's own table, where the trace makes it. */
  readonly hyp: PlacedTable | undefined;
  /** The host is in nVHE mode, and the trace shows what it maps for EL2. */
  readonly hypTraced: boolean;
  /** A VM whose guest has an EL2. */
  readonly nested?: NestedInput;
  /** What the trace says of the kernel, other than its version does. */
  readonly kernelGiven: readonly string[];
  readonly layout: ProtLayout;
  /** Bytes above which the whole instruction cache is invalidated. */
  readonly icacheLimit: number;
  /** Size of the VM's IPA space as the run says it, for a KVM_CREATE_VM whose type was not recorded. */
  readonly ipaBits: number;
  readonly tableBytes: number;
  /** Names of the calls that occur in the trace. */
  readonly traced: ReadonlySet<string>;
  /** Tasks that enter a guest. */
  readonly guestTasks: ReadonlySet<number>;
  /** Takes every call that the policy makes, in order. */
  readonly onCall?: (call: Call) => void;
  /** IPAs of a nested guest whose history is to be kept. */
  readonly explain?: readonly number[];
  /** Pages of a dirty log as the VMM got it, IPAs; undefined: not recorded. */
  dirtyLog(step: PlacedStep): readonly number[] | undefined;
}

export type Where = Pick<TracedEvent, 'trace' | 'line'>;

/** The thread that takes the memory of a process that is being killed: its notifiers may not sleep (Linux __oom_reap_task_mm). */
const OOM_REAPER = 'oom_reaper';

/** What a replay by causes has at one point of a run: the VM, the host's memory, and what was found so far. */
export class Session {
  readonly comparison: CallComparison;
  readonly hostMemory: TracedHost;
  readonly recorder: CallRecorder;
  readonly sizes: { readonly page: number; readonly pmd: number };
  /** Causes by name. */
  readonly causes: Record<string, number> = {};
  readonly dirtyPages = { equal: 0, total: 0 };
  /** What the run does not tell, by sentence: what and why. */
  readonly unknown = new Map<string, { readonly what: string; readonly reason: string; count: number }>();
  vm: Vm | undefined;
  /** The stage 2s by their numbers: the VM's own, and the shadows of which a checkpoint tells. */
  readonly live: (LiveTable | undefined)[] = [];
  /** The guest hypervisor, where there is one, and the numbers of the stage 2s then. */
  readonly nested: NestedDriver | undefined;
  readonly tables = new TableNumbers();
  readonly histories: EntryHistories | undefined;
  /** What the policy does now shows in no trace. */
  muted = false;
  /** The machine refuses the VM: nothing more can be replayed. */
  problem: Outcome<never> | undefined;
  #pid = 0;
  #task = '';
  #cause = '';
  #at: Where = { trace: '', line: 0 };

  constructor(readonly input: PolicyInput) {
    const { pageShift, stride } = input.placed.like.format.geometry;
    this.sizes = { page: 2 ** pageShift, pmd: 2 ** (pageShift + stride) };
    const { nested } = input;
    this.comparison = new CallComparison(input.traced, (call) => nested?.largeStepsTraced === false && isLargeStep(call));
    this.recorder = new CallRecorder((call) => this.#made(call), input.layout, { icacheLimit: input.icacheLimit });
    const histories = input.explain && new EntryHistories(input.explain);
    this.histories = histories;
    this.nested = nested && new NestedDriver(nested, (shadow, ipa, sentence) => histories?.forwarded(shadow, ipa, sentence, this.#at));
    this.hostMemory = new TracedHost(this.sizes.page, this.sizes.pmd);
  }

  /** Where the cause under way stands. */
  get where(): Where {
    return this.#at;
  }

  /** The cause under way. */
  get cause(): string {
    return this.#cause;
  }

  #made(call: Call): void {
    if (this.muted) {
      return;
    }
    const { addr, size = 1, table = 0 } = call.fields;
    if (typeof addr === 'number' && typeof size === 'number') {
      this.live[Number(table)]?.touches.push({ operation: call.event, trace: this.#at.trace, line: this.#at.line, start: addr, end: addr + size });
    }
    this.input.onCall?.(call);
    this.histories?.call(call, this.vm, this.#cause, this.#at);
    this.comparison.expect(this.#pid, { call: this.#asProbed(call), cause: this.#cause, at: this.#at });
  }

  /** A call with what else its probe may print: the root of its table, and whether it may sleep. */
  #asProbed({ event, fields }: Call): Call {
    const { placed, nested } = this.input;
    const { table } = fields;
    const root = table === 0 ? placed.root : typeof table === 'number' ? nested?.shadows[table - 1]?.root : undefined;
    const sleeps = event === 'unmap_stage2_range' || event === 'nested_s2_unmap';
    return { event, fields: { ...fields, ...(root === undefined ? {} : { root }), ...(sleeps ? { block: this.#task !== OOM_REAPER } : {}) } };
  }

  /** Runs a part of the policy; its calls belong to a task and a cause. */
  run<T>(pid: number, at: Where & Partial<Pick<TracedEvent, 'source'>>, cause: string, part: () => T): T {
    [this.#pid, this.#cause, this.#at, this.#task] = [pid, cause, at, at.source?.task ?? ''];
    return part();
  }

  count(cause: string): void {
    this.causes[cause] = (this.causes[cause] ?? 0) + 1;
  }

  undetermined(what: string, reason: string): void {
    const entry = this.unknown.get(what) ?? { what, reason, count: 0 };
    this.unknown.set(what, entry);
    entry.count += 1;
  }

  note({ trace, line }: Where, difference: Omit<CallDifference, 'trace' | 'line'>): void {
    this.comparison.note({ trace, line, ...difference });
  }
}
