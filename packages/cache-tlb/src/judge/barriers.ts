import type { DsbDomain } from '@granule/contract';
import type { Context } from './context.js';
import { domainOf, type Issue } from './coverage.js';
import { PHASE, type Obligation, type Phase } from './obligation.js';

/** How far a DSB reaches (this PE, inner, outer, everything), and whether it waits for loads too: only then it completes invalidations. */
const DOMAINS: Readonly<Record<DsbDomain, { readonly reach: number; readonly full: boolean }>> = {
  nsh: { reach: 0, full: true },
  nshst: { reach: 0, full: false },
  ish: { reach: 1, full: true },
  ishst: { reach: 1, full: false },
  osh: { reach: 2, full: true },
  oshst: { reach: 2, full: false },
  sy: { reach: 3, full: true },
  st: { reach: 3, full: false },
};

/** Addresses of a table that a PE changed and has not synchronised with. */
export interface Change {
  readonly context: Context;
  readonly start: number;
  end: number;
  readonly event: number;
}

/** What the judge remembers of changes that no barrier followed; older ones are forgotten. */
const MAX_CHANGES = 1024;

/** What waits for the barriers of one PE. */
export class Barriers {
  /** Entries written and made valid, until a DSB. */
  readonly beforeDsb: Change[] = [];
  /** Entries changed, until an ISB. */
  readonly beforeIsb: Change[] = [];
  private unordered: Obligation[] = [];
  private issues: Issue[] = [];
  private issued: { readonly obligation: Obligation; readonly phase: Phase; readonly reach: number }[] = [];

  /** The write that made this obligation waits for a DSB. */
  wrote(obligation: Obligation): void {
    this.unordered.push(obligation);
  }

  /** An invalidation waits for a DSB. */
  invalidated(issue: Issue): void {
    this.issues.push(issue);
  }

  /** It has brought this obligation to its phase. */
  advanced(obligation: Obligation, reach: number): void {
    this.issued.push({ obligation, phase: obligation.phase, reach });
  }

  /** The run [start, end) of a table has been written. */
  made(context: Context, start: number, end: number, event: number): void {
    remember(this.beforeDsb, context, start, end, event);
  }

  /** What an invalidation took away. */
  changed(context: Context, start: number, end: number, event: number): void {
    remember(this.beforeIsb, context, start, end, event);
  }

  /** @param completed told of what waited for this barrier alone */
  dsb(domain: DsbDomain, completed: (obligation: Obligation) => void): void {
    const { reach, full } = DOMAINS[domain];
    this.orderWrites(reach);
    if (full && this.issues.length > 0) {
      this.completeIssues(reach, completed);
    }
    for (const each of this.beforeDsb.splice(0)) {
      if (each.context.format.stage === 1) {
        remember(this.beforeIsb, each.context, each.start, each.end, each.event);
      }
    }
  }

  isb(): void {
    this.beforeIsb.length = 0;
  }

  private orderWrites(reach: number): void {
    if (this.unordered.length === 0) {
      return;
    }
    for (const each of this.unordered) {
      each.ordered = Math.max(each.ordered, reach);
    }
    this.unordered = reach >= 1 ? [] : this.unordered.filter((each) => each.phase !== PHASE.done);
  }

  private completeIssues(reach: number, completed: (obligation: Obligation) => void): void {
    for (const each of this.issues) {
      each.completed ||= domainOf(each) <= reach;
    }
    this.issues = this.issues.filter((each) => !each.completed);
    const waiting = this.issued;
    this.issued = [];
    for (const each of waiting) {
      if (each.reach > reach) {
        this.issued.push(each);
      } else if (each.obligation.phase === each.phase) {
        completed(each.obligation);
      }
    }
  }
}

/** Neighbours are one change, of the first one's event. */
function remember(changes: Change[], context: Context, start: number, end: number, event: number): void {
  const last = changes.at(-1);
  if (last?.context === context && last.end === start) {
    last.end = end;
    return;
  }
  if (changes.length === MAX_CHANGES) {
    changes.shift();
  }
  changes.push({ context, start, end, event });
}

/** The change that touched this address. */
export function changeAt(changes: readonly Change[], context: Context, address: number): Change | undefined {
  return changes.find((each) => each.context === context && each.start <= address && address < each.end);
}
