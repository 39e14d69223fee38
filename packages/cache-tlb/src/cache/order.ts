import type { DsbDomain } from '@granule/contract';

/** Maintenance that has been issued and has not taken effect. */
interface Pending {
  readonly id: number;
  readonly pe: number;
  /** The line that a DC by address names; −1: another operation. */
  readonly line: number;
  /** It acts on the PE that issued it alone. */
  readonly local: boolean;
  readonly act: () => void;
}

/** DSBs of stores alone complete no maintenance; one of this PE alone completes what acts on it alone (DDI 0487 B2, Data Synchronization Barrier). */
const COMPLETES: Readonly<Record<DsbDomain, 'nothing' | 'local' | 'all'>> = {
  ish: 'all',
  osh: 'all',
  sy: 'all',
  nsh: 'local',
  ishst: 'nothing',
  oshst: 'nothing',
  nshst: 'nothing',
  st: 'nothing',
};

/**
 * DC and IC operations under way: each takes effect at some time between its issue and a DSB of its PE that completes it. Operations of one PE by address on
 * one line keep their order, and come before the PE's later cacheable accesses to it (DDI 0487 D7.5.9, ordering and completion of cache maintenance).
 * Nothing happens by itself: whoever explores takes one of {@link choices}. Nothing taken, everything happens as late as barriers allow.
 */
export class CacheOrder {
  #pending: Pending[] = [];
  #issued = 0;

  issue(pe: number, line: number, local: boolean, act: () => void): void {
    this.#issued += 1;
    this.#pending.push({ id: this.#issued, pe, line, local, act });
  }

  /** Numbers of the operations that may take effect now. */
  choices(): readonly number[] {
    return this.#pending.filter((each, at) => !this.#pending.some((other, before) => before < at && sameLine(each, other))).map(({ id }) => id);
  }

  /** @throws RangeError for what {@link choices} does not list */
  take(id: number): void {
    if (!this.choices().includes(id)) throw new RangeError(`Cache maintenance ${id} cannot take effect now.`);
    this.#do((each) => each.id === id);
  }

  /** PE `pe` executes a DSB. */
  dsb(pe: number, domain: DsbDomain): void {
    const completes = COMPLETES[domain];
    if (completes !== 'nothing') this.#do((each) => each.pe === pe && (completes === 'all' || each.local));
  }

  /** PE `pe` is about to make a cacheable access to a line. */
  access(pe: number, line: number): void {
    if (this.#pending.length > 0) this.#do((each) => each.pe === pe && each.line === line);
  }

  #do(which: (each: Pending) => boolean): void {
    const now = this.#pending.filter(which);
    this.#pending = this.#pending.filter((each) => !which(each));
    for (const each of now) each.act();
  }
}

function sameLine(one: Pending, other: Pending): boolean {
  return one.line !== -1 && one.line === other.line && one.pe === other.pe;
}
