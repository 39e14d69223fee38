import type { Rule } from '@granule/contract';
import { hex } from '@granule/geometry/bits';

/** A broken rule. Events are numbered from 1. */
export interface Violation {
  readonly rule: Rule;
  /** The first event that is to blame: the write, or the invalidation that was the wrong one. */
  readonly cause: number;
  /** The event at which it can no longer be made good: the new entry, the page given back, the access, the end of the log. */
  readonly exposed: number;
  /** The input address at stake; for pages and contexts the address of the table, for bytes the physical address. */
  readonly address: number;
  /** Addresses for which the same event broke the same rule. */
  readonly count: number;
}

export interface Verdict {
  readonly events: number;
  /** Tables that were installed. */
  readonly contexts: number;
  /** In the order in which they were exposed. */
  readonly violations: readonly Violation[];
  /** Events at which a table was installed that cannot be judged, and why. */
  readonly unjudged: readonly { readonly event: number; readonly sentence: string }[];
}

/** A violation on one line. */
export function violationText({ rule, cause, exposed, address, count }: Violation): string {
  const more = count === 1 ? '' : ` and ${count - 1} more`;
  return `${rule.id} at ${hex(address)}${more}: ${rule.sentence} Cause: event ${cause}; exposed by event ${exposed} (${rule.clause}).`;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** The verdict on one line: the first violation, or that there is none. */
export function verdictText({ events, contexts, violations }: Verdict): string {
  if (violations.length > 0) {
    const others = violations.length === 1 ? '' : ` ${plural(violations.length - 1, 'further violation')}.`;
    return `violation: ${violationText(violations[0])}${others}`;
  }
  const tables = contexts === 0 ? 'no table was installed, so that nothing could be judged' : plural(contexts, 'table');
  return `clean: ${plural(events, 'event')}, ${tables}`;
}
