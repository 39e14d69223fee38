import { hex } from '@granule/geometry/bits';
import type { TracedEvent } from '../replay/trace-pass.js';
import { differingFields } from './actual.js';
import type { Call } from './calls.js';
import type { CallCount, CallDifference } from './report.js';

/** Differences that a report lists; the rest is counted. */
const MAX_DIFFERENCES = 20;

/** A call that the policy made and the trace has not shown yet. */
export interface Expected {
  readonly call: Call;
  readonly cause: string;
  readonly at: Pick<TracedEvent, 'trace' | 'line'>;
  /** It depends on what was not traced: the kernel may have left it out. */
  readonly optional?: boolean;
}

/** What page-table calls do to TLBs and caches, before they return. */
const MAINTENANCE = /^(?:flush_vmid|clean_dcache_|dcache_|invalidate_icache_|icache_)/u;

/** Holds the calls of policy and kernel against each other, in order. */
export class CallComparison {
  readonly calls: Record<string, CallCount> = {};
  readonly differences: CallDifference[] = [];
  moreDifferences = 0;
  readonly answers: CallCount = { equal: 0, total: 0 };
  /** Calls that the policy makes and of whose function this run has no event at all. */
  readonly untraced: Record<string, number> = {};
  /** Calls that the run's filter of events keeps out of the trace. */
  filtered = 0;
  /** Calls that are expected now depend on what was not traced. */
  optional = false;
  readonly #traced: ReadonlySet<string>;
  readonly #isFiltered: (call: Call) => boolean;
  readonly #queues = new Map<number, Expected[]>();

  /** @param traced names of the calls that occur in the trace */
  constructor(traced: ReadonlySet<string>, isFiltered: (call: Call) => boolean = () => false) {
    this.#traced = traced;
    this.#isFiltered = isFiltered;
  }

  expect(pid: number, expected: Expected): void {
    const { event } = expected.call;
    if (this.#isFiltered(expected.call)) {
      this.filtered += 1;
      return;
    }
    if (!this.#traced.has(event)) {
      this.untraced[event] = (this.untraced[event] ?? 0) + 1;
      return;
    }
    this.queue(pid).push(this.optional ? { ...expected, optional: true } : expected);
  }

  /** Nothing that a task must call is left. */
  idle(pid: number): boolean {
    return this.queue(pid).every(({ optional }) => optional === true);
  }

  /** A call that was compared elsewhere, or that the run does not let us predict. */
  count(event: string, equal: boolean): void {
    this.#total(event).equal += equal ? 1 : 0;
  }

  queue(pid: number): Expected[] {
    const queue = this.#queues.get(pid) ?? [];
    this.#queues.set(pid, queue);
    return queue;
  }

  /** The kernel made a call. */
  actual(pid: number, event: TracedEvent, call: Call, cause: string): void {
    const queue = this.queue(pid);
    const place = queue.findIndex((each) => each.call.event === call.event);
    if (place === -1) {
      this.#total(call.event);
      this.note({ ...at(event), operation: call.event, cause, what: 'unexpected', sentence: `The kernel called it with ${text(call)}; the policy did not.` });
      return;
    }
    queue.splice(0, place).forEach((each) => this.missing(each));
    const { call: ours, cause: ourCause } = queue.shift()!;
    const differing = differingFields(ours, call);
    const count = this.#total(call.event);
    if (differing.length === 0) {
      count.equal += 1;
      return;
    }
    const sentence = `The policy has ${text(ours, differing)} and the kernel ${text(call, differing)}.`;
    this.note({ ...at(event), operation: call.event, cause: ourCause, what: 'arguments', sentence });
  }

  /** A mapping or a change of permissions returned in a task: what it was to do to TLBs and caches is done, or missing. */
  returned(pid: number): void {
    const queue = this.queue(pid);
    const next = queue.findIndex(({ call }) => !MAINTENANCE.test(call.event));
    queue.splice(0, next === -1 ? queue.length : next).forEach((each) => this.missing(each));
  }

  /** Nothing more can come for a task: what it was expected to call is missing. */
  close(pid: number): void {
    this.queue(pid).splice(0).forEach((each) => this.missing(each));
  }

  closeAll(): void {
    [...this.#queues.keys()].forEach((pid) => this.close(pid));
  }

  missing({ call, cause, at: place, optional }: Expected): void {
    if (optional === true) {
      return;
    }
    this.#total(call.event);
    this.note({ ...at(place), operation: call.event, cause, what: 'missing', sentence: `The policy calls it with ${text(call)}; the kernel did not.` });
  }

  note(difference: CallDifference): void {
    if (this.differences.length === MAX_DIFFERENCES) {
      this.moreDifferences += 1;
    } else {
      this.differences.push(difference);
    }
  }

  #total(name: string): CallCount {
    const count = (this.calls[name] ??= { equal: 0, total: 0 });
    count.total += 1;
    return count;
  }
}

function at({ trace, line }: Pick<TracedEvent, 'trace' | 'line'>): { readonly trace: string; readonly line: number } {
  return { trace, line };
}

function text({ fields }: Call, names: readonly string[] = Object.keys(fields)): string {
  const value = (each: number | bigint | string | boolean): string => (typeof each === 'number' || typeof each === 'bigint' ? hex(each, 1) : String(each));
  return names.map((name) => `${name} ${value(fields[name])}`).join(', ') || 'no arguments';
}
