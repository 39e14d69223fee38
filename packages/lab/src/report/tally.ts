import { TLBI_OPERATIONS } from '@granule/cache-tlb';
import { type Effect, type EffectSink, ENTRY, type EntryEffect, type Format, type TlbiEffect, type WriteEffect } from '@granule/contract';
import type { PolicyEvent } from '@granule/kvm';
import { Bag, DSB_NAMES } from './bag.js';
import type { Counts, TlbiReason, TlbiScope } from './counts.js';

/** Smallest cache lines, bytes (CTR_EL0). */
export interface CacheLines {
  readonly data: number;
  readonly instruction: number;
}

export interface TallyOptions {
  readonly lines: CacheLines;
  /** Of the tables that are written; not asked before the first write or invalidation. */
  readonly format: () => Pick<Format, 'kind' | 'tlbi'>;
}

/** Table pages: in use, and the most that were. */
export interface PageCounts {
  readonly now: number;
  readonly peak: number;
}

/** What a name says of an invalidation. Names that are not known (a backend of one's own) count as `all`. */
export function tlbiScope(op: string): TlbiScope {
  const operation = TLBI_OPERATIONS.get(op);
  if (operation === undefined) {
    return 'all';
  }
  const { target, stage1, stage2, usesVmid } = operation;
  switch (target) {
    case 'all':
      return !usesVmid ? 'all' : stage2 === false ? 'stage1' : 'vmid';
    case 'address':
      return stage1 ? 'va' : 'ipa';
    case 'range':
      return stage1 ? 'va-range' : 'ipa-range';
    case 'asid':
      return 'asid';
  }
}

/** How far a maintenance sequence on one PE has come; its ISB ends it. */
interface Sequence {
  /** What was written over last, and where. */
  reason: TlbiReason;
  start: number;
  end: number;
  /** Stage 2 was invalidated. */
  stage2: boolean;
}

/**
 * Counts effects by kind. A write run is counted as the entries that it stands for, in one step. Policy events, answers and traps, which are no effects, come
 * in beside them.
 */
export class Tally implements EffectSink {
  /** Of the phases that are over. */
  readonly #before = new Bag(0);
  #phase = new Bag(0);
  #pages = 0;
  readonly #sequences: Sequence[] = [];
  readonly #scopes = new Map<string, TlbiScope>();
  #entryOps: ReadonlySet<string> | undefined;

  constructor(private readonly options: TallyOptions) {}

  effect(effect: Effect): void {
    switch (effect.type) {
      case 'write':
        this.#write(effect);
        break;
      case 'tlbi':
      case 'dsb':
      case 'isb':
      case 'cmo':
        this.#maintain(effect, 1);
        break;
      case 'take':
        this.#phase.taken += effect.pages;
        this.#pages += effect.pages;
        this.#phase.peak = Math.max(this.#phase.peak, this.#pages);
        break;
      case 'free':
        this.#phase.freed += effect.pages;
        this.#pages -= effect.pages;
        break;
      case 'access':
        this.#phase.accesses += 1;
        break;
      case 'fault': {
        const { type, stage, level, access } = effect.fault;
        this.#phase.fault(type, stage, level, access, 1);
        break;
      }
      case 'register':
      case 'context-installed':
      case 'context-retired':
        break;
    }
  }

  /** A call of the policy, or an event around it; a `PolicyTrace`. */
  readonly policy = (event: PolicyEvent): void => {
    this.#phase.calls.add(event.event, event.event === 's2_map' ? (event.calls ?? 1) : 1);
  };

  /** What the policy made of an abort, under the names of {@link Counts.answers}. */
  answer(name: string): void {
    this.#phase.answers.add(name);
  }

  /** A register access or an instruction trapped. */
  trap(name: string): void {
    this.#phase.traps.add(name);
  }

  /** Accesses that are known to come to nothing else. */
  accessed(count: number): void {
    this.#phase.accesses += count;
  }

  /** Of the phase so far. */
  phase(): { readonly counts: Counts; readonly pages: PageCounts } {
    return { counts: this.#phase.counts(), pages: { now: this.#pages, peak: this.#phase.peak } };
  }

  /** A new phase begins. */
  nextPhase(): void {
    this.#before.addAll(this.#phase);
    this.#phase = new Bag(this.#pages);
  }

  /** Of the whole run. */
  total(): Counts {
    return this.#all().counts();
  }

  get pages(): PageCounts {
    return { now: this.#pages, peak: this.#all().peak };
  }

  #all(): Bag {
    const all = new Bag(0);
    all.addAll(this.#before);
    all.addAll(this.#phase);
    return all;
  }

  #sequence(pe = 0): Sequence {
    return (this.#sequences[pe] ??= { reason: 'none', start: 0, end: 0, stage2: false });
  }

  #write({ old, count, level, address, before, after, pe }: WriteEffect): void {
    const kind = this.options.format().kind(old[0], old[1], level);
    const reason = kind === ENTRY.leaf ? 'leaf' : kind === ENTRY.table ? 'table' : 'none';
    this.#phase.writes += count;
    before?.forEach((effect) => this.#maintain(effect, count, reason));
    after?.forEach((effect) => this.#maintain(effect, count, reason));
    const sequence = this.#sequence(pe);
    sequence.reason = reason;
    sequence.start = address;
    sequence.end = address + 1;
    sequence.stage2 = false;
  }

  /** @param owed of an effect that a write run carries; of others the sequence tells */
  #maintain(effect: EntryEffect, count: number, owed?: TlbiReason): void {
    const sequence = this.#sequence(effect.pe);
    switch (effect.type) {
      case 'tlbi': {
        const scope = this.#scopeOf(effect.op);
        const reason = scope === 'stage1' && sequence.stage2 ? 'stage2' : (owed ?? this.#reasonOf(effect, sequence));
        sequence.stage2 = scope === 'ipa' || scope === 'ipa-range';
        this.#phase.tlbi(effect.op, scope, reason, effect.pe ?? 0, count);
        break;
      }
      case 'dsb':
        this.#phase.barriers.add(DSB_NAMES[effect.domain], count);
        break;
      case 'isb':
        this.#phase.barriers.add('isb', count);
        sequence.reason = 'none';
        sequence.stage2 = false;
        break;
      case 'cmo': {
        const { op, to, bytes } = effect;
        const line = op.startsWith('ic') ? this.options.lines.instruction : this.options.lines.data;
        const lines = op.endsWith('sw') || bytes === 0 ? 1 : Math.ceil(bytes / line);
        this.#phase.cmo(op, to, count, bytes * count, lines * count);
        break;
      }
    }
  }

  /**
   * An invalidation outside a write run is owed for the entry that was written just before, where it is the one that this takes in the tables' format (which
   * in ARMv7 names no address) and names that entry. Any other is a flush of its own.
   */
  #reasonOf({ op, address }: TlbiEffect, { reason, start, end }: Sequence): TlbiReason {
    this.#entryOps ??= entryOps(this.options.format());
    // Tables of EL2 are maintained by VA.
    const ofEntry = this.#entryOps.has(op) || this.#scopeOf(op) === 'va';
    return ofEntry && (address === undefined || (start <= address && address < end)) ? reason : 'none';
  }

  #scopeOf(op: string): TlbiScope {
    let scope = this.#scopes.get(op);
    if (scope === undefined) {
      scope = tlbiScope(op);
      this.#scopes.set(op, scope);
    }
    return scope;
  }
}

/** Invalidations that one entry takes. */
function entryOps({ tlbi: { leaf, leafLocal, table } }: Pick<Format, 'tlbi'>): ReadonlySet<string> {
  return new Set([...leaf, ...leafLocal, ...table].flatMap((step) => (step.type === 'tlbi' ? [step.op] : [])));
}
