import type { TlbiEffect } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import type { TlbiOperation, TlbiRegime } from '../tlb/operations.js';
import type { Context } from './context.js';
import type { Obligation } from './obligation.js';
import type { RuleId } from './rules.js';

/** An invalidation as it was issued. */
export interface Issue {
  readonly effect: TlbiEffect;
  readonly operation: TlbiOperation;
  /** The address that it names; in a run that of the entry at hand. */
  readonly address: number;
  readonly pe: number;
  readonly event: number;
  readonly tick: number;
  /** How many owed invalidations it brought further. */
  hits: number;
  /** A DSB has completed it. */
  completed: boolean;
}

export function endOf({ effect, address }: Issue): number {
  return address + (effect.bytes ?? 0);
}

/** Regimes of tables that an operation can act on, by how the operation says it. */
const REGIMES: Readonly<Record<TlbiRegime, readonly string[]>> = {
  el1: ['el10', 'el20', 'pl10'],
  el10: ['el10', 'pl10'],
  el2: ['el2', 'el20', 'pl2'],
  hyp: ['el2', 'pl2'],
};

/**
 * Where it depends on the state of the PE (the regime in force, the exception level) and that is not told, the operation is assumed to fit.
 */
export function hitsRegime({ effect, operation }: Issue, context: Context): boolean {
  if (context.format.stage === 2) {
    return operation.stage2 !== false;
  }
  const wanted = effect.regime === undefined || effect.regime === context.regime;
  return wanted && operation.stage1 && REGIMES[operation.regime].includes(context.regime);
}

export function hitsVmid({ effect, operation }: Issue, context: Context): boolean {
  return !operation.usesVmid || effect.vmid === undefined || context.vmid === undefined || effect.vmid === context.vmid;
}

export function reaches({ operation, pe }: Issue, context: Context): boolean {
  return operation.reach !== 'local' || context.isPrivateTo(pe);
}

/** The domain that a DSB must have to go with the invalidation: 0 this PE, 1 inner, 2 outer. */
export function domainOf({ operation }: Issue): number {
  return operation.reach === 'local' ? 0 : operation.reach === 'inner' ? 1 : 2;
}

/** Stage 1 of a VMID, whole: what must follow an invalidation by IPA. */
export function isStage1OfVmid({ operation }: Issue): boolean {
  return operation.target === 'all' && operation.stage1 && REGIMES[operation.regime].includes('el10');
}

function hitsAsid({ effect, operation }: Issue, { context, kind, oldLo, oldHi, level }: Obligation): boolean {
  if (!operation.usesAsid || kind === 'tag') {
    return !operation.usesAsid || effect.asid === undefined || context.asid === undefined || effect.asid === context.asid;
  }
  const global = kind !== 'table' && kind !== 'leaves' && !context.format.decodeLeaf(oldLo, oldHi, level).nG;
  if (global) {
    return operation.target !== 'asid';
  }
  return effect.asid === undefined || context.asid === undefined || effect.asid === context.asid;
}

/**
 * An operation by address or range reaches every entry that translates one of its addresses, and with it all that was cached of the same block, in however small
 * pieces (DDI 0487 D8.17, R_LGSCG of stage 1 and R_TVTYQ of stage 2).
 */
function addressRule(issue: Issue, { kind, start, end, firstEnd, lastStart }: Obligation): RuleId | undefined {
  const { operation, address } = issue;
  if (operation.target === 'all' || operation.target === 'asid') {
    return undefined;
  }
  if (kind === 'tag') {
    return 'tlbi.range-too-small';
  }
  const stop = operation.target === 'address' ? address + 1 : endOf(issue);
  if (address < firstEnd && stop > lastStart) {
    return undefined;
  }
  return stop <= start || address >= end ? 'tlbi.wrong-address' : 'tlbi.range-too-small';
}

/** A hint names the level of the leaf; the leaves of a removed table were below it. */
function hitsLevel({ effect }: Issue, { kind, level }: Obligation): boolean {
  return effect.level === undefined || (kind === 'table' || kind === 'leaves' ? effect.level > level : effect.level === level);
}

/** Why this invalidation does not remove what the obligation is about, apart from order; empty: it does. */
export function shortcomings(issue: Issue, obligation: Obligation): readonly RuleId[] {
  const { context } = obligation;
  const rules: RuleId[] = [];
  if (!hitsRegime(issue, context)) {
    rules.push('tlbi.wrong-regime');
  }
  if (!hitsVmid(issue, context)) {
    rules.push('tlbi.wrong-vmid');
  }
  if (!hitsAsid(issue, obligation)) {
    rules.push('tlbi.wrong-asid');
  }
  const address = addressRule(issue, obligation);
  if (address !== undefined) {
    rules.push(address);
  }
  if (!hitsLevel(issue, obligation)) {
    rules.push('tlbi.wrong-level');
  }
  if (obligation.kind === 'table' && issue.operation.lastLevel) {
    rules.push('tlbi.last-level-only');
  }
  if (!reaches(issue, context)) {
    rules.push('tlbi.local');
  }
  return rules;
}

/** {@link shortcomings} is empty. The address is known to be right. */
export function removes(issue: Issue, obligation: Obligation): boolean {
  return (
    hitsAsid(issue, obligation) &&
    hitsLevel(issue, obligation) &&
    !(obligation.kind === 'table' && issue.operation.lastLevel) &&
    addressRule(issue, obligation) === undefined &&
    reaches(issue, obligation.context)
  );
}

/** Visits the obligations of a context that an invalidation of its regime and VMID names. */
export function forEachNamed(context: Context, issue: Issue, visit: (obligation: Obligation) => void): void {
  for (let li = 0; li < context.span.length; li++) {
    namedIn(context.pending[li], context.span[li], issue, visit);
    namedIn(context.pendingLeaves[li], context.span[li], issue, visit);
  }
}

function namedIn(level: ReadonlyMap<number, Obligation>, span: number, issue: Issue, visit: (obligation: Obligation) => void): void {
  const { target } = issue.operation;
  if (target === 'all' || target === 'asid') {
    level.forEach(visit);
  } else {
    within(level, span, issue.address, target === 'address' ? issue.address + 1 : endOf(issue), visit);
  }
}

/** Visits what is owed for the entries of one level that meet [start, end). */
function within(
  level: ReadonlyMap<number, Obligation>,
  span: number,
  start: number,
  end: number,
  visit: (obligation: Obligation) => void,
): void {
  const first = Math.floor(start / span) * span;
  if (end - first < level.size * span) {
    for (let address = first; address < end; address += span) {
      const found = level.get(address);
      if (found !== undefined) {
        visit(found);
      }
    }
  } else if (level.size > 0) {
    level.forEach((each) => {
      if (each.start >= first && each.start < end) {
        visit(each);
      }
    });
  }
}

/** Visits what is owed within [start, end) below an entry of `level`. */
export function forEachBelow(context: Context, level: number, start: number, end: number, visit: (obligation: Obligation) => void): void {
  for (let li = levelIndex(level); li < context.span.length; li++) {
    within(context.pendingLeaves[li], context.span[li], start, end, visit);
    if (li > levelIndex(level)) {
      within(context.pending[li], context.span[li], start, end, visit);
    }
  }
}
