import { TLBI_OPERATIONS } from '@granule/cache-tlb';
import { type Effect, type EffectSink, ENTRY, type EntryEffect, type Format, type TlbiEffect, type WriteEffect } from '@granule/contract';
import type { PolicyEvent } from '@granule/kvm';
import { Counted, Named } from './counted.js';
import type { CmoCount, Counts, FaultCount, TlbiCount, TlbiReason, TlbiScope } from './counts.js';

/** Smallest cache lines, bytes (CTR_EL0). */
export interface CacheLines {
  readonly data: number;
  readonly instruction: number;
}

export interface TallyOptions {
  readonly lines: CacheLines;
  /** Tells leaf from table in what is written over; not asked before the first write. */
  readonly format: () => Pick<Format, 'kind'>;
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

type Count = { readonly count: number };

/** Counters of a run or a phase. */
class Bag {
  readonly tlbis = new Counted<Omit<TlbiCount, 'count'>, Count>();
  readonly cmos = new Counted<Pick<CmoCount, 'op' | 'to'>, Omit<CmoCount, 'op' | 'to'>>();
  readonly faults = new Counted<Omit<FaultCount, 'count'>, Count>();
  readonly barriers = new Named();
  readonly answers = new Named();
  readonly traps = new Named();
  readonly calls = new Named();
  /** `writes`, `taken`, `freed`, `accesses`. */
  readonly plain = new Named();
  peak: number;

  constructor(pages: number) {
    this.peak = pages;
  }

  counts(): Counts {
    const { tlbis, cmos, faults, barriers, answers, traps, calls, plain } = this;
    return {
      tlbis: tlbis.list(),
      cmos: cmos.list(),
      barriers: barriers.record(),
      faults: faults.list(),
      answers: answers.record(),
      traps: traps.record(),
      calls: calls.record(),
      writes: plain.get('writes'),
      tablePages: { taken: plain.get('taken'), freed: plain.get('freed') },
      accesses: plain.get('accesses'),
    };
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
  readonly #run = new Bag(0);
  #phase = new Bag(0);
  #pages = 0;
  readonly #sequences: Sequence[] = [];

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
        this.#tables('taken', effect.pages, effect.pages);
        break;
      case 'free':
        this.#tables('freed', effect.pages, -effect.pages);
        break;
      case 'access':
        this.#count((bag) => bag.plain.add('accesses'));
        break;
      case 'fault': {
        const { type, stage, level, access } = effect.fault;
        this.#count((bag) => bag.faults.add({ type, stage, level, access }, { count: 1 }));
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
    const calls = event.event === 's2_map' ? (event.calls ?? 1) : 1;
    this.#count((bag) => bag.calls.add(event.event, calls));
  };

  /** What the policy made of an abort, under the names of {@link Counts.answers}. */
  answer(name: string): void {
    this.#count((bag) => bag.answers.add(name));
  }

  /** A register access or an instruction trapped. */
  trap(name: string): void {
    this.#count((bag) => bag.traps.add(name));
  }

  /** Of the whole run. */
  total(): Counts {
    return this.#run.counts();
  }

  get pages(): PageCounts {
    return { now: this.#pages, peak: this.#run.peak };
  }

  /** Of the phase so far. */
  phase(): { readonly counts: Counts; readonly pages: PageCounts } {
    return { counts: this.#phase.counts(), pages: { now: this.#pages, peak: this.#phase.peak } };
  }

  /** A new phase begins. */
  nextPhase(): void {
    this.#phase = new Bag(this.#pages);
  }

  #count(add: (bag: Bag) => void): void {
    add(this.#run);
    add(this.#phase);
  }

  #tables(name: 'taken' | 'freed', pages: number, change: number): void {
    this.#pages += change;
    this.#count((bag) => {
      bag.plain.add(name, pages);
      bag.peak = Math.max(bag.peak, this.#pages);
    });
  }

  #sequence(pe = 0): Sequence {
    return (this.#sequences[pe] ??= { reason: 'none', start: 0, end: 0, stage2: false });
  }

  #write({ old, count, level, address, before, after, pe }: WriteEffect): void {
    const kind = this.options.format().kind(old[0], old[1], level);
    const reason = kind === ENTRY.leaf ? 'leaf' : kind === ENTRY.table ? 'table' : 'none';
    this.#count((bag) => bag.plain.add('writes', count));
    before?.forEach((effect) => this.#maintain(effect, count, reason));
    after?.forEach((effect) => this.#maintain(effect, count, reason));
    Object.assign(this.#sequence(pe), { reason, start: address, end: address + 1, stage2: false });
  }

  /** @param owed of an effect that a write run carries; of others the sequence tells */
  #maintain(effect: EntryEffect, count: number, owed?: TlbiReason): void {
    const sequence = this.#sequence(effect.pe);
    switch (effect.type) {
      case 'tlbi': {
        const { op, pe = 0 } = effect;
        const scope = tlbiScope(op);
        const reason = scope === 'stage1' && sequence.stage2 ? 'stage2' : (owed ?? reasonOf(effect, sequence));
        sequence.stage2 = scope === 'ipa' || scope === 'ipa-range';
        this.#count((bag) => bag.tlbis.add({ op, scope, reason, pe }, { count }));
        break;
      }
      case 'dsb':
        this.#count((bag) => bag.barriers.add(`dsb.${effect.domain}`, count));
        break;
      case 'isb':
        this.#count((bag) => bag.barriers.add('isb', count));
        Object.assign(sequence, { reason: 'none', stage2: false });
        break;
      case 'cmo': {
        const { op, to, bytes } = effect;
        const line = op.startsWith('ic') ? this.options.lines.instruction : this.options.lines.data;
        const lines = op.endsWith('sw') || bytes === 0 ? 1 : Math.ceil(bytes / line);
        this.#count((bag) => bag.cmos.add({ op, to }, { count, bytes: bytes * count, lines: lines * count }));
        break;
      }
    }
  }
}

/** An invalidation by address is owed for the entry that was written just before, where it names it; any other for whatever was. */
function reasonOf({ address, bytes = 1 }: TlbiEffect, { reason, start, end }: Sequence): TlbiReason {
  return address === undefined || (address < end && start < address + bytes) ? reason : 'none';
}
