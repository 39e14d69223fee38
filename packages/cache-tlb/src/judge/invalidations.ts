import { levelIndex, type EntryEffect, type TlbiEffect } from '@granule/contract';
import { TLBI_OPERATIONS } from '../tlb/operations.js';
import type { Barriers } from './barriers.js';
import type { Bytes } from './bytes.js';
import type { Context } from './context.js';
import { domainOf, forEachNamed, hitsRegime, hitsVmid, isStage1OfVmid, reaches, removes, type Issue } from './coverage.js';
import type { Ledger } from './ledger.js';
import { PHASE, type Obligation } from './obligation.js';

/** Follows what is owed through TLBIs and DSBs. */
export class Invalidations {
  /** What is owed for retired tables, by tag. */
  readonly tags = new Map<string, Obligation>();

  constructor(
    private readonly ledger: Ledger,
    private readonly bytes: Bytes,
  ) {}

  /** @param offset, entries the entry's place in its run, in bytes of input address and in entries: how far addresses have moved */
  maintain(effect: EntryEffect, pe: number, offset: number, entries: number): void {
    this.ledger.tick++;
    switch (effect.type) {
      case 'dsb': {
        const barriers = this.ledger.barriers(pe);
        barriers.dsb(effect.domain, (obligation) => this.completed(obligation, barriers));
        this.ledger.diagnosis.waited(pe, this.ledger.tick);
        this.bytes.dsb(pe, effect.domain);
        break;
      }
      case 'isb':
        this.ledger.barriers(pe).isb();
        this.bytes.isb(pe);
        break;
      case 'tlbi':
        this.invalidate(effect, pe, offset);
        break;
      case 'cmo':
        this.bytes.maintain(effect, pe, effect.address + entries * effect.bytes);
        break;
    }
  }

  private invalidate(effect: TlbiEffect, pe: number, offset: number): void {
    const { contexts, diagnosis, event, tick, unjudged } = this.ledger;
    const operation = TLBI_OPERATIONS.get(effect.op);
    if (operation === undefined) {
      unjudged.push({ event, sentence: `TLBI ${effect.op} is not an invalidation of ARMv8 or ARMv7.` });
      return;
    }
    const issue: Issue = { effect, operation, address: (effect.address ?? 0) + offset, pe, event, tick, hits: 0, completed: false };
    const barriers = this.ledger.barriers(pe);
    diagnosis.add(issue);
    barriers.invalidated(issue);
    for (const context of contexts) {
      if (context.owed > 0 && hitsVmid(issue, context)) {
        this.invalidateIn(context, issue, barriers);
      }
    }
    for (const tag of this.tags.values()) {
      if (hitsRegime(issue, tag.context) && hitsVmid(issue, tag.context)) {
        advance(tag, issue, barriers);
      }
    }
  }

  private invalidateIn(context: Context, issue: Issue, barriers: Barriers): void {
    if (hitsRegime(issue, context)) {
      forEachNamed(context, issue, (each) => advance(each, issue, barriers));
    }
    if (context.stage1Owed.size > 0 && isStage1OfVmid(issue) && reaches(issue, context)) {
      for (const each of context.stage1Owed) {
        each.phase = PHASE.stage1Issued;
        each.tlbi = issue.event;
        issue.hits++;
        barriers.advanced(each, domainOf(issue));
      }
    }
  }

  /** A DSB completed the invalidation that brought the obligation to its phase. */
  private completed(obligation: Obligation, barriers: Barriers): void {
    const { context, kind, start, end, cause } = obligation;
    if (obligation.phase === PHASE.issued && context.format.stage === 2 && !obligation.combined) {
      obligation.phase = PHASE.stage1Owed;
      obligation.completed = this.ledger.tick;
      context.stage1Owed.add(obligation);
      return;
    }
    this.ledger.drop(obligation);
    const tag = kind === 'tag' ? context.tag : undefined;
    if (tag !== undefined && this.tags.get(tag) === obligation) {
      this.tags.delete(tag);
    }
    if (kind !== 'tag' && context.format.stage === 1) {
      barriers.changed(context, start, end, cause);
    }
  }
}

function advance(obligation: Obligation, issue: Issue, barriers: Barriers): void {
  const domain = domainOf(issue);
  const waits = obligation.phase === PHASE.owed || obligation.phase === PHASE.issued;
  if (!waits || obligation.ordered < Math.min(1, domain) || !removes(issue, obligation) || letsIn(issue, obligation)) {
    return;
  }
  obligation.phase = PHASE.issued;
  obligation.tlbi = issue.event;
  obligation.combined = issue.operation.stage1;
  issue.hits++;
  barriers.advanced(obligation, domain);
}

/** Leaves of a removed table: a walk cache that still has the table's own entry finds them again. */
export function letsIn(issue: Issue, { context, kind, start, level }: Obligation): boolean {
  const table = kind === 'leaves' ? context.owedFor(start, levelIndex(level)) : undefined;
  const isHeld = table !== undefined && (table.phase === PHASE.owed || table.phase === PHASE.issued);
  return isHeld && !removes(issue, table);
}
