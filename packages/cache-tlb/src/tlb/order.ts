import type { DsbDomain, TlbEntry, TlbiScope, TlbModel, TlbQuery, Words } from '@granule/contract';
import type { TlbiReach } from './operations.js';
import { answers, covers } from './match.js';

/** A PE as maintenance sees it. */
export interface OrderedPe {
  readonly tlb: TlbModel;
  /** Numbers of its Inner and Outer Shareable domains; default 0. PEs of one inner domain are of one outer domain. */
  readonly inner?: number;
  readonly outer?: number;
}

/** Something that may happen now, or later, or not before a barrier asks for it: an invalidation takes effect on one PE. */
export interface OrderChoice {
  readonly invalidation: number;
  readonly pe: number;
}

interface PendingInvalidation {
  readonly id: number;
  readonly issuer: number;
  readonly scope: TlbiScope;
  /** PEs on which it has not taken effect. */
  readonly waiting: Set<number>;
}

interface LateWrite {
  readonly writer: number;
  readonly old: Readonly<Words>;
  /** PEs whose walkers may still read `old`. */
  readonly late: Set<number>;
}

type BarrierDomain = 'non' | 'inner' | 'outer' | 'system';

const DSB: Readonly<Record<DsbDomain, { readonly domain: BarrierDomain; readonly storesAlone: boolean }>> = {
  ish: { domain: 'inner', storesAlone: false },
  ishst: { domain: 'inner', storesAlone: true },
  nsh: { domain: 'non', storesAlone: false },
  nshst: { domain: 'non', storesAlone: true },
  osh: { domain: 'outer', storesAlone: false },
  oshst: { domain: 'outer', storesAlone: true },
  sy: { domain: 'system', storesAlone: false },
  st: { domain: 'system', storesAlone: true },
};

/**
 * What is under way between PEs: invalidations issued and not complete, descriptor writes that walkers may not see yet, and what a PE may
 * go on using until it synchronises its context (DDI 0487 B2.6.9 DSB, D8.17, and the requirements on translation table updates). Nothing
 * happens by itself: what may happen is listed by {@link choices}, {@link descriptors}, {@link early}, {@link unsynchronised} and
 * {@link registers}, and whoever explores decides. Nothing decided, everything happens as late as barriers allow.
 *
 * Accesses are taken as atomic, and a write counts as complete by barriers of the PE that made it alone.
 */
export class TlbOrder {
  readonly #pes: readonly OrderedPe[];
  #invalidations: PendingInvalidation[] = [];
  #issued = 0;
  /** By descriptor address, oldest first. */
  readonly #writes = new Map<number, LateWrite[]>();
  /** Of each PE: entries that its own invalidations removed and that accesses already begun may still use. */
  readonly #held: TlbEntry[][];
  /**
   * Of each PE: by address, values that its DSBs took from its walker and that accesses already begun may still be translated with; newest
   * first.
   */
  readonly #early: Map<number, Readonly<Words>[]>[];
  /** Of each PE: earlier values, newest first, of registers written since the last context synchronisation event. */
  readonly #registers: Map<string, bigint[]>[];

  constructor(pes: readonly OrderedPe[]) {
    this.#pes = pes;
    this.#held = pes.map(() => []);
    this.#early = pes.map(() => new Map<number, Readonly<Words>[]>());
    this.#registers = pes.map(() => new Map<string, bigint[]>());
  }

  /** PE `pe` issues an invalidation. Returns its number. */
  invalidate(pe: number, scope: TlbiScope, reach: TlbiReach): number {
    const domain: BarrierDomain = reach === 'local' ? 'non' : reach;
    const waiting = new Set([...this.#pes.keys()].filter((each) => this.#inDomain(pe, each, domain)));
    this.#issued += 1;
    this.#invalidations.push({ id: this.#issued, issuer: pe, scope, waiting });
    return this.#issued;
  }

  /** PE `pe` wrote a descriptor at `address`; memory holds the new value from here on. */
  write(pe: number, address: number, old: Readonly<Words>): void {
    const record: LateWrite = { writer: pe, old: { ...old }, late: new Set(this.#pes.keys()) };
    const records = this.#writes.get(address);
    if (records === undefined) this.#writes.set(address, [record]);
    else records.push(record);
  }

  /** PE `pe` wrote a register that translation reads: until a context synchronisation event either value may be in use. */
  writeRegister(pe: number, name: string, old: bigint): void {
    this.#registers[pe].set(name, [old, ...(this.#registers[pe].get(name) ?? [])]);
  }

  /**
   * PE `pe` executes a DSB. Every walk of the domain from here on sees its descriptor writes; a DSB of loads and stores also completes its
   * invalidations on the PEs of the domain.
   */
  dsb(pe: number, name: DsbDomain): void {
    const { domain, storesAlone } = DSB[name];
    for (const [address, records] of this.#writes) {
      for (const { late, old } of records.filter(({ writer }) => writer === pe)) {
        if (late.has(pe)) this.#early[pe].set(address, [old, ...(this.#early[pe].get(address) ?? [])]);
        for (const each of [...late]) if (this.#inDomain(pe, each, domain)) late.delete(each);
      }
      this.#forget(address, records);
    }
    if (storesAlone) return;
    for (const pending of this.#invalidations.filter(({ issuer }) => issuer === pe)) {
      for (const target of [...pending.waiting]) if (this.#inDomain(pe, target, domain)) this.#apply(pending, target);
    }
  }

  /** A context synchronisation event on PE `pe`: ISB, exception entry or return. */
  isb(pe: number): void {
    this.#held[pe] = [];
    this.#early[pe].clear();
    this.#registers[pe].clear();
  }

  /** Invalidations that may take effect now. */
  choices(): readonly OrderChoice[] {
    return this.#invalidations.flatMap(({ id, waiting }) => [...waiting].map((pe) => ({ invalidation: id, pe })));
  }

  /** @throws RangeError for what {@link choices} does not list */
  take({ invalidation, pe }: OrderChoice): void {
    const pending = this.#invalidations.find(({ id }) => id === invalidation);
    if (pending?.waiting.has(pe) !== true) throw new RangeError(`Invalidation ${invalidation} is not pending on PE ${pe}.`);
    this.#apply(pending, pe);
  }

  /**
   * Earlier values of the descriptor at `address` that a walk of PE `pe` may read instead of memory's, newest first; TLBs may keep the
   * result.
   */
  descriptors(pe: number, address: number): readonly Readonly<Words>[] {
    const values: Readonly<Words>[] = [];
    for (const record of (this.#writes.get(address) ?? []).toReversed()) {
      if (!record.late.has(pe)) break;
      values.push(record.old);
    }
    return values;
  }

  /**
   * Values of the descriptor at `address` from before a DSB of PE `pe` that an access of its own may still be translated with, since it has
   * not synchronised its context: that walk began before the DSB. What it finds is not to be kept in a TLB.
   */
  early(pe: number, address: number): readonly Readonly<Words>[] {
    return this.#early[pe].get(address) ?? [];
  }

  /**
   * Entries that this PE's own invalidations removed and that an access of its own may still use, since it has not synchronised its
   * context.
   */
  unsynchronised(pe: number, query: Readonly<TlbQuery>): readonly TlbEntry[] {
    return this.#held[pe].filter((entry) => answers(entry, query) && covers(entry, query.address));
  }

  /** Earlier values of a register that translation on PE `pe` may still use, newest first. */
  registers(pe: number, name: string): readonly bigint[] {
    return this.#registers[pe].get(name) ?? [];
  }

  #apply(pending: PendingInvalidation, pe: number): void {
    const own = pending.issuer === pe ? this.#held[pe] : undefined;
    this.#pes[pe].tlb.invalidate(pending.scope, own === undefined ? undefined : (entry) => own.push(entry));
    pending.waiting.delete(pe);
    if (pending.waiting.size === 0) this.#invalidations = this.#invalidations.filter((each) => each !== pending);
  }

  /** Drops what no walker can read any more: behind a write that a walker must see, older values are out of its reach. */
  #forget(address: number, records: readonly LateWrite[]): void {
    const seen = new Set<number>();
    for (const record of records.toReversed()) {
      for (const pe of seen) record.late.delete(pe);
      for (const pe of this.#pes.keys()) if (!record.late.has(pe)) seen.add(pe);
    }
    const kept = records.filter(({ late }) => late.size > 0);
    if (kept.length === 0) this.#writes.delete(address);
    else this.#writes.set(address, kept);
  }

  #inDomain(from: number, to: number, domain: BarrierDomain): boolean {
    const [a, b] = [this.#pes[from], this.#pes[to]];
    switch (domain) {
      case 'non':
        return from === to;
      case 'inner':
        return (a.inner ?? 0) === (b.inner ?? 0);
      case 'outer':
        return (a.outer ?? 0) === (b.outer ?? 0);
      case 'system':
        return true;
    }
  }
}
