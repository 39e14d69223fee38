import type { Rule } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { Barriers } from './barriers.js';
import type { Context } from './context.js';
import { Diagnosis } from './diagnosis.js';
import { PHASE, type Obligation, type ObligationKind } from './obligation.js';
import { ruleOf, type RuleId } from './rules.js';
import type { Violation } from './verdict.js';

const MAX_EXPOSED = 256;

/** An entry as an effect names it. */
export interface EntryAt {
  readonly context: Context;
  readonly level: Level;
  readonly address: number;
}

/** What is owed, what was broken, and the barriers of each PE: what all parts of the judge share. */
export class Ledger {
  /** Number of the event at hand, from 1, and of the single effect. */
  event = 0;
  tick = 0;
  /** Installed tables. */
  readonly contexts: Context[] = [];
  readonly violations: Violation[] = [];
  readonly unjudged: { readonly event: number; readonly sentence: string }[] = [];
  readonly diagnosis = new Diagnosis();
  /** The last obligations that were exposed, to tell later consequences of one. */
  private readonly exposed: Obligation[] = [];
  private readonly byCause = new Map<string, number>();
  private readonly pes = new Map<number, Barriers>();

  barriers(pe: number): Barriers {
    let barriers = this.pes.get(pe);
    if (barriers === undefined) {
      barriers = new Barriers();
      this.pes.set(pe, barriers);
    }
    return barriers;
  }

  violate(rule: Rule, cause: number, exposed: number, address: number): void {
    const key = `${rule.id} ${cause}`;
    const known = this.byCause.get(key);
    if (known === undefined) {
      this.byCause.set(key, this.violations.length);
      this.violations.push({ rule, cause, exposed, address, count: 1 });
    } else {
      const first = this.violations[known];
      this.violations[known] = { ...first, count: first.count + 1 };
    }
  }

  /** Something relied on this obligation. It is told once. */
  expose(obligation: Obligation, exposed: number, otherwise: RuleId = 'tlbi.missing'): void {
    const { rule, cause } = this.diagnosis.of(obligation);
    const missing = obligation.kind === 'permission' ? 'permission.not-invalidated' : otherwise;
    this.violate(ruleOf(rule === 'tlbi.missing' ? missing : rule), cause, exposed, obligation.start);
    if (this.exposed.push(obligation) > MAX_EXPOSED) {
      this.exposed.shift();
    }
    this.drop(obligation);
  }

  /** The event that made stale what a TLB may hold for the address. */
  causeAt(context: Context, address: number): number | undefined {
    const owed = context.owedAt(address);
    const told = this.exposed.filter((each) => each.context === context && each.start <= address && address < each.end);
    return (owed ?? told.sort((a, b) => a.end - a.start - (b.end - b.start))[0])?.cause;
  }

  drop(obligation: Obligation): void {
    obligation.phase = PHASE.done;
    obligation.context.settle(obligation);
  }

  /** From now on an invalidation is owed for this entry, written by this PE. */
  owe(
    kind: ObligationKind,
    at: EntryAt,
    pe: number,
    lo: number,
    hi: number,
    more: { readonly removed?: number; readonly guardOnly?: boolean } = {},
  ): Obligation {
    const { context, level, address } = at;
    const end = address + context.span[levelIndex(level)];
    const { removed = 0, guardOnly = false } = more;
    const obligation = newObligation(context, kind, level, address, end, end, address, lo, hi, removed, guardOnly, this.event, this.tick);
    return this.took(obligation, pe);
  }

  /** From now on invalidations are owed for the leaves of a table whose entry went: from the one that ends at `firstEnd` to that at `lastStart`. */
  oweLeaves({ context, level, address }: EntryAt, pe: number, firstEnd: number, lastStart: number): void {
    const end = address + context.span[levelIndex(level)];
    this.took(newObligation(context, 'leaves', level, address, end, firstEnd, lastStart, 0, 0, 0, false, this.event, this.tick), pe);
  }

  private took(obligation: Obligation, pe: number): Obligation {
    obligation.context.owe(obligation);
    this.barriers(pe).wrote(obligation);
    return obligation;
  }

  /** Everything under the tag of a table that is out of use. */
  oweTag(context: Context): Obligation {
    const { root, format } = context;
    const obligation = newObligation(context, 'tag', format.geometry.startLevel, root, root, root, root, 0, 0, 0, false, this.event, this.tick);
    obligation.ordered = 3;
    return obligation;
  }
}

function newObligation(
  context: Context,
  kind: ObligationKind,
  level: Level,
  start: number,
  end: number,
  firstEnd: number,
  lastStart: number,
  oldLo: number,
  oldHi: number,
  removed: number,
  guardOnly: boolean,
  cause: number,
  tick: number,
): Obligation {
  return {
    context,
    kind,
    level,
    start,
    end,
    firstEnd,
    lastStart,
    oldLo,
    oldHi,
    removed,
    guardOnly,
    cause,
    tick,
    ordered: -1,
    phase: PHASE.owed,
    tlbi: 0,
    completed: 0,
    combined: false,
    usedBy: undefined,
  };
}
