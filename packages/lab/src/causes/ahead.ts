import type { DecodedEvent } from '@granule/snapshot';
import { isGuestEvent } from './tasks.js';
import type { TracedEvent } from '../replay/trace-pass.js';

/** The first event of this name that a task has before it enters or leaves the guest again. */
export function lookAhead<N extends DecodedEvent['event']>(later: Iterable<TracedEvent>, pid: number, name: N): Extract<DecodedEvent, { event: N }> | undefined {
  for (const event of ofTask(later, pid)) {
    if (event.decoded?.event === name) {
      return event.decoded as Extract<DecodedEvent, { event: N }>;
    }
    if (isGuestEvent(event)) {
      return undefined;
    }
  }
  return undefined;
}

function* ofTask(later: Iterable<TracedEvent>, pid: number): Generator<TracedEvent> {
  for (const event of later) {
    if (event.source.pid === pid) {
      yield event;
    }
  }
}

/** Calls that belong to one write-protection of dirty pages, besides what they flush and free. */
const PROTECTING: ReadonlySet<string> = new Set([
  's2_wrprotect', 's2_wrprotect_ret', 'nested_s2_wp', 's2_split', 's2_split_ret', 'flush_vmid', 'flush_vmid_range', 'flush_vmid_ipa', 's2_free_unlinked',
]);

/** Ranges that a task write-protects next, in one go. */
export function writeProtected(later: Iterable<TracedEvent>, pid: number): readonly { readonly start: number; readonly end: number }[] {
  const ranges: { start: number; end: number }[] = [];
  for (const { decoded, source } of ofTask(later, pid)) {
    if (decoded?.event === 's2_wrprotect') {
      ranges.push({ start: decoded.fields.addr, end: decoded.fields.addr + decoded.fields.size });
    } else if (!PROTECTING.has(source.event) || source.event.startsWith('flush_vmid_range') || source.event === 'flush_vmid') {
      break;
    }
  }
  return ranges;
}

/** Whether a task invalidates its VM's TLB entries right after an ageing: clear_flush_young, which has the same tracepoint as clear_young. */
export function flushesNext(later: Iterable<TracedEvent>, pid: number): boolean {
  for (const { source } of ofTask(later, pid)) {
    if (source.event !== 's2_test_clear_young' && source.event !== 's2_test_clear_young_ret') {
      return source.event === 'flush_vmid';
    }
  }
  return false;
}
