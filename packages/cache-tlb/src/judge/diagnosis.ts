import { domainOf, endOf, isStage1OfVmid, reaches, shortcomings, hitsVmid, type Issue } from './coverage.js';
import { PHASE, type Obligation } from './obligation.js';
import type { RuleId } from './rules.js';

/** What went wrong with an owed invalidation, and the event that is to blame. */
export interface Finding {
  readonly rule: RuleId;
  readonly cause: number;
  /** The invalidation at fault was followed by its DSB: whoever issued it believes that the old entry is gone. */
  readonly believed: boolean;
}

/** How many invalidations are kept to tell a wrong one from none. */
const KEPT = 256;

/** The last invalidations, and the judgement of what they did not do. */
export class Diagnosis {
  private readonly issues: Issue[] = [];
  private next = 0;
  /** The last DSB of each PE, in single effects. */
  private readonly waits = new Map<number, number>();

  add(issue: Issue): void {
    this.issues[this.next] = issue;
    this.next = (this.next + 1) % KEPT;
  }

  waited(pe: number, tick: number): void {
    this.waits.set(pe, tick);
  }

  /** Why this obligation is not done. */
  of(obligation: Obligation): Finding {
    switch (obligation.phase) {
      case PHASE.owed:
        return this.neverInvalidated(obligation);
      case PHASE.stage1Owed:
        return this.stage1(obligation);
      case PHASE.issued:
      case PHASE.stage1Issued:
      case PHASE.done:
        return { rule: 'tlbi.not-completed', cause: obligation.tlbi, believed: false };
    }
  }

  /** Oldest first. */
  private since(tick: number): readonly Issue[] {
    return [...this.issues.slice(this.next), ...this.issues.slice(0, this.next)].filter((each) => each.tick > tick);
  }

  /** The invalidation since then that has one fault, if there is one; one that names an address nobody waits for comes last. */
  private neverInvalidated(obligation: Obligation): Finding {
    let elsewhere: Finding | undefined;
    for (const issue of this.since(obligation.tick)) {
      const rules = shortcomings(issue, obligation);
      const rule = rules[0];
      const finding = (id: RuleId): Finding => ({ rule: id, cause: issue.event, believed: issue.completed });
      if (rules.length === 0) {
        return finding(obligation.kind === 'leaves' && ordered(issue, obligation) ? 'tlbi.leaves-too-early' : 'tlbi.before-dsb');
      }
      if (rules.length > 1 || !ordered(issue, obligation) || isUnrelated(issue, obligation)) {
        continue;
      }
      if (rule !== 'tlbi.wrong-address') {
        return finding(rule);
      }
      if (issue.operation.target === 'range') {
        elsewhere ??= finding('tlbi.range-too-small');
      } else if (issue.hits === 0) {
        elsewhere ??= finding(rule);
      }
    }
    return elsewhere ?? { rule: 'tlbi.missing', cause: obligation.cause, believed: false };
  }

  private stage1(obligation: Obligation): Finding {
    let early: Finding | undefined;
    for (const issue of this.since(obligation.tick).filter(isStage1OfVmid)) {
      const finding = (rule: RuleId): Finding => ({ rule, cause: issue.event, believed: issue.completed });
      if (!hitsVmid(issue, obligation.context)) {
        return finding('tlbi.wrong-vmid');
      }
      if (!reaches(issue, obligation.context)) {
        return finding('tlbi.local');
      }
      early = issue.tick < obligation.completed ? finding('tlbi.stage1-too-early') : early;
    }
    // Until its PE has waited once more, stage 1 may be the next that it invalidates.
    const pe = this.issues.find(({ event }) => event === obligation.tlbi)?.pe ?? 0;
    const believed = (this.waits.get(pe) ?? -1) > obligation.completed;
    return early ?? { rule: 'tlbi.stage1-missing', cause: obligation.tlbi, believed };
  }
}

function ordered(issue: Issue, obligation: Obligation): boolean {
  return obligation.ordered >= Math.min(1, domainOf(issue));
}

/**
 * Stage 1 of the VMID after an invalidation by IPA that is not there; a range far from the entry, or another regime's operation elsewhere.
 */
function isUnrelated(issue: Issue, obligation: Obligation): boolean {
  if (isStage1OfVmid(issue) && issue.operation.stage2 === false && obligation.context.format.stage === 2) {
    return true;
  }
  const { target } = issue.operation;
  return target === 'range' && (issue.address > obligation.end || endOf(issue) < obligation.start) && issue.hits > 0;
}
