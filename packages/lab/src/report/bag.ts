import type { AccessType, CmoEffect, DsbDomain, FaultType } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { CmoCount, Counts, FaultCount, TlbiCount, TlbiReason, TlbiScope } from './counts.js';

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
type Lists<T> = Map<string, Mutable<T>[]>;

/** Counts by name. */
export class Named {
  readonly #counts = new Map<string, number>();

  add(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  addAll(other: Named): void {
    other.#counts.forEach((by, name) => this.add(name, by));
  }

  record(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}

/**
 * Counters of one phase, or of a run. Adding to one that is there allocates nothing: this is what every effect of a long run goes through. The lists of
 * a name are short.
 */
export class Bag {
  readonly #tlbis: Lists<TlbiCount> = new Map();
  readonly #cmos: Lists<CmoCount> = new Map();
  readonly #faults: Lists<FaultCount> = new Map();
  readonly barriers = new Named();
  readonly answers = new Named();
  readonly traps = new Named();
  readonly calls = new Named();
  writes = 0;
  taken = 0;
  freed = 0;
  accesses = 0;

  /** @param peak the most table pages so far */
  constructor(public peak: number) {}

  tlbi(op: string, scope: TlbiScope, reason: TlbiReason, pe: number, count: number): void {
    const list = listOf(this.#tlbis, op);
    for (const entry of list) {
      if (entry.reason === reason && entry.pe === pe) {
        entry.count += count;
        return;
      }
    }
    list.push({ op, scope, reason, pe, count });
  }

  cmo(op: CmoEffect['op'], to: CmoEffect['to'], count: number, bytes: number, lines: number): void {
    const list = listOf(this.#cmos, op);
    for (const entry of list) {
      if (entry.to === to) {
        entry.count += count;
        entry.bytes += bytes;
        entry.lines += lines;
        return;
      }
    }
    list.push({ op, to, count, bytes, lines });
  }

  fault(type: FaultType, stage: 1 | 2, level: Level, access: AccessType, count: number): void {
    const list = listOf(this.#faults, type);
    for (const entry of list) {
      if (entry.stage === stage && entry.level === level && entry.access === access) {
        entry.count += count;
        return;
      }
    }
    list.push({ type, stage, level, access, count });
  }

  /** Everything of another bag that comes after this one. */
  addAll(other: Bag): void {
    flat(other.#tlbis).forEach(({ op, scope, reason, pe, count }) => this.tlbi(op, scope, reason, pe, count));
    flat(other.#cmos).forEach(({ op, to, count, bytes, lines }) => this.cmo(op, to, count, bytes, lines));
    flat(other.#faults).forEach(({ type, stage, level, access, count }) => this.fault(type, stage, level, access, count));
    (['barriers', 'answers', 'traps', 'calls'] as const).forEach((name) => this[name].addAll(other[name]));
    (['writes', 'taken', 'freed', 'accesses'] as const).forEach((name) => (this[name] += other[name]));
    this.peak = Math.max(this.peak, other.peak);
  }

  counts(): Counts {
    const { barriers, answers, traps, calls, writes, taken, freed, accesses } = this;
    return {
      tlbis: flat(this.#tlbis),
      cmos: flat(this.#cmos),
      barriers: barriers.record(),
      faults: flat(this.#faults),
      answers: answers.record(),
      traps: traps.record(),
      calls: calls.record(),
      writes,
      tablePages: { taken, freed },
      accesses,
    };
  }
}

function listOf<T>(lists: Lists<T>, name: string): Mutable<T>[] {
  let list = lists.get(name);
  if (list === undefined) {
    list = [];
    lists.set(name, list);
  }
  return list;
}

/** Copies of all entries. */
function flat<T>(lists: Lists<T>): readonly T[] {
  return [...lists.values()].flat().map((each) => ({ ...each }));
}

/** Names of barriers in {@link Counts.barriers}. */
export const DSB_NAMES: Readonly<Record<DsbDomain, `dsb.${DsbDomain}`>> = {
  ish: 'dsb.ish', ishst: 'dsb.ishst', nsh: 'dsb.nsh', nshst: 'dsb.nshst', osh: 'dsb.osh', oshst: 'dsb.oshst', sy: 'dsb.sy', st: 'dsb.st',
};
