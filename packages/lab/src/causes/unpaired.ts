import type { TracedEvent } from '../replay/trace-pass.js';
import type { Undetermined } from './report.js';

/** ESR_ELx.EC of an instruction or data abort from a lower EL (DDI 0487). */
const ABORTS: ReadonlySet<number> = new Set([0x20, 0x24]);

/** Events that a task has only when what it called before has returned. */
const RETURNED: ReadonlySet<string> = new Set(['kvm_exit', 'kvm_entry', 'kvm_guest_fault', 'kvm_userspace_exit']);

/**
 * Calls without a return and returns without a call, and aborts without what tells of them: each by its name.
 *
 * @param returns names of functions whose return is traced
 */
export function unpairedOf(events: readonly TracedEvent[], returns: ReadonlySet<string>): readonly Undetermined[] {
  const open = new Map<string, Set<number>>();
  const lost = new Map<string, number>();
  const lose = (what: string, by = 1): void => {
    if (by > 0) {
      lost.set(what, (lost.get(what) ?? 0) + by);
    }
  };
  const aborted = new Set<number>();
  const tasksIn = (name: string): Set<number> => open.get(name) ?? open.set(name, new Set()).get(name)!;
  for (const { source: { event, pid }, decoded } of events) {
    if (RETURNED.has(event)) {
      lose('kvm_guest_fault', aborted.delete(pid) && event !== 'kvm_guest_fault' ? 1 : 0);
      open.forEach((tasks, name) => lose(`${name}_ret`, tasks.delete(pid) ? 1 : 0));
    }
    if (decoded?.event === 'kvm_exit' && ABORTS.has(decoded.fields.ec)) {
      aborted.add(pid);
    } else if (returns.has(event)) {
      lose(`${event}_ret`, tasksIn(event).has(pid) ? 1 : 0);
      tasksIn(event).add(pid);
    } else if (event.endsWith('_ret') && !tasksIn(event.slice(0, -'_ret'.length)).delete(pid)) {
      lose(event.slice(0, -'_ret'.length));
    }
  }
  open.forEach((tasks, name) => lose(`${name}_ret`, tasks.size));
  return [...lost].map(([name, count]) => ({ what: `events of ${name}`, count, reason: 'what must go before them or come after them is in the trace, and they are not' }));
}
