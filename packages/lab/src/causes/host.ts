import type { HostAddress, HostArea, HostMemory, HostMemoryType, HostPage } from '@granule/kvm';
import { alignDown, hex } from '@granule/geometry/bits';

/** An argument that only the call itself tells. */
export type GivenName = 'physical address' | 'host page size' | 'host writability';

/** What is no argument of a call, and what nothing but the kernel's events tells: why that is so. */
const UNTOLD = {
  'device memory type': 'VM_ALLOW_ANY_UNCACHED and mappings that the kernel makes as cacheable do not show in the calls of the VMM',
  'host memory area': 'no step maps what is behind a slot; it is taken for what slots.json calls it, or for ordinary memory',
  'cache state': 'while no VM register traps the guest may switch its caches unseen, and the value of a trapped SCTLR is in no event',
  'race': 'whether the host looked before or after the notifier of another task, only what the fault leads to tells',
  'flush after ageing': 'clear_young and clear_flush_young have one tracepoint; whether a TLB flush follows tells them apart',
  'vCPU load': 'which vCPU ran there last while nothing was traced is not known',
  'hyp mapping of the kernel': 'what boot maps for EL2 has no cause in a run',
  'object of the kernel': 'where an object lies that the kernel shares with EL2, and its size, is not known',
} as const;

export type UntoldName = keyof typeof UNTOLD;

/** The call that a fault led to, as far as it tells what the host has. */
export interface TellingCall {
  /** User address behind the first byte that the call maps. */
  readonly hva: HostAddress;
  readonly size: number;
  /** Absent: s2_relax_perms. */
  readonly phys?: number;
  readonly write: boolean;
  readonly memory: HostMemoryType;
}

interface Fact {
  readonly start: HostAddress;
  readonly bytes: number;
  readonly physical: number;
  leafBytes: number | undefined;
  writable: boolean | undefined;
}

/** What cannot be: a given argument that does not fit. */
export interface Misfit {
  readonly sentence: string;
}

/** A VMA of the VMM, and whether anything of it can be accessed (not PROT_NONE). */
export interface TracedArea extends HostArea {
  readonly accessible: boolean;
  /** Somebody touched it: it may have huge pages, whatever a later madvise says. */
  readonly touched: boolean;
}

/**
 * The host's memory as a run tells it: areas from the VMM's own calls, and of their pages only what a call of the kernel says (given). What a call said holds
 * for the next call to the same address until a notifier takes it back, and is then predicted.
 */
export class TracedHost implements HostMemory {
  readonly given = new Map<GivenName, number>();
  readonly #untold = new Map<UntoldName, number>();
  /** The call that the fault under way led to; undefined: none. */
  telling: TellingCall | undefined;
  /** A page was asked for of which nothing is known. */
  asked = false;
  /** Whether the policy is free to take a huge page at this fault: a page then says that the host has no larger one. */
  sizeIsFree: (hva: HostAddress) => boolean = () => true;
  /** Read faults tell writability, but not while dirty pages are logged or from a read-only slot. */
  writeTells: (hva: HostAddress) => boolean = () => true;
  readonly misfits: Misfit[] = [];
  readonly #areas: TracedArea[] = [];
  /** By size of the fact, then by user address over that size. */
  readonly #facts = new Map<number, Map<number, Fact>>();
  readonly #page: number;
  readonly #pmd: number;

  constructor(page: number, pmd: number) {
    this.#page = page;
    this.#pmd = pmd;
  }

  /** An argument is given. */
  count(name: GivenName): void {
    this.given.set(name, (this.given.get(name) ?? 0) + 1);
  }

  /** A fact is taken from the kernel's events. */
  take(name: UntoldName): void {
    this.#untold.set(name, (this.#untold.get(name) ?? 0) + 1);
  }

  get untold(): readonly { readonly what: string; readonly count: number; readonly reason: string }[] {
    return [...this.#untold].map(([what, count]) => ({ what, count, reason: UNTOLD[what] }));
  }

  add(area: TracedArea): void {
    this.remove(area.start, area.end);
    this.#areas.push(area);
  }

  remove(start: HostAddress, end: HostAddress): void {
    this.change(start, end, () => undefined);
  }

  /** Splits areas at the ends of a range and replaces what lies inside. */
  change(start: HostAddress, end: HostAddress, inside: (area: TracedArea) => TracedArea | undefined): void {
    const parts = this.#areas.flatMap((area) => {
      if (area.end <= start || area.start >= end) {
        return [area];
      }
      const middle = inside(partOf(area, Math.max(start, area.start), Math.min(end, area.end)));
      return [
        ...(area.start < start ? [partOf(area, area.start, start)] : []),
        ...(middle === undefined ? [] : [middle]),
        ...(area.end > end ? [partOf(area, end, area.end)] : []),
      ];
    });
    this.#areas.splice(0, this.#areas.length, ...parts);
  }

  /** mremap: what lies in a range goes to another address; what is beyond the old size is like its end. */
  move(from: HostAddress, bytes: number, to: HostAddress, newBytes: number): void {
    const moved: TracedArea[] = [];
    this.change(from, from + bytes, (area) => {
      moved.push(area);
      return undefined;
    });
    this.remove(to, to + newBytes);
    for (const area of moved.filter(({ start }) => start - from < newBytes)) {
      const last = area.end === from + bytes;
      const end = last ? to + newBytes : Math.min(area.end - from + to, to + newBytes);
      this.#areas.push({ ...area, start: area.start - from + to, end });
    }
  }

  areasIn(start: HostAddress, end: HostAddress): readonly HostArea[] {
    return this.#areas.filter((area) => area.start < end && start < area.end).sort((a, b) => a.start - b.start);
  }

  areaAt(hva: HostAddress): HostArea | undefined {
    const area = this.#areas.find(({ start, end }) => start <= hva && hva < end);
    if (area?.accessible !== true) {
      return undefined;
    }
    const type = this.telling?.memory;
    if (area.kind !== 'device' || type === undefined || type === area.memory || this.telling?.phys === undefined) {
      return area;
    }
    // VM_ALLOW_ANY_UNCACHED (VFIO), or memory that the kernel maps as cacheable: the VMM's calls do not show it.
    this.take('device memory type');
    const told = { ...area, memory: type };
    this.change(area.start, area.end, () => told);
    return told;
  }

  /** A notifier: nothing of the range is known any more. */
  forget(start: HostAddress, end: HostAddress): void {
    for (const [bytes, facts] of this.#facts) {
      const first = Math.floor(start / bytes);
      const last = Math.ceil(end / bytes);
      if (last - first < facts.size) {
        for (let at = first; at < last; at++) {
          facts.delete(at);
        }
      } else {
        [...facts.keys()].filter((at) => first <= at && at < last).forEach((at) => facts.delete(at));
      }
    }
  }

  page(hva: HostAddress, write: boolean): HostPage | undefined {
    const area = this.areaAt(hva);
    const fact = this.#factAt(hva);
    const call = this.telling;
    if (area === undefined || (write && !area.writable)) {
      return undefined;
    }
    if (call === undefined && fact === undefined && area.physical === undefined) {
      this.asked = true;
      return undefined;
    }
    const physical = this.#physical(hva, area, fact, call);
    const leafBytes = this.#leafBytes(hva, area, fact, call);
    const writable = this.#writable(hva, area, fact, call, write);
    if (fact === undefined && physical !== undefined) {
      this.#learn(hva, physical, leafBytes, writable);
    }
    return physical === undefined ? undefined : { physical, leafBytes: leafBytes ?? this.#page, writable: writable ?? false };
  }

  #physical(hva: HostAddress, area: HostArea, fact: Fact | undefined, call: TellingCall | undefined): number | undefined {
    if (area.physical !== undefined) {
      return area.physical + (hva - area.start);
    }
    if (fact !== undefined) {
      return fact.physical + (hva - fact.start);
    }
    if (call?.phys === undefined) {
      return undefined;
    }
    this.count('physical address');
    return call.phys + (hva - call.hva);
  }

  #leafBytes(hva: HostAddress, area: HostArea, fact: Fact | undefined, call: TellingCall | undefined): number | undefined {
    if (area.kind === 'hugetlb' || (area.kind === 'anonymous' && area.pageBytes === this.#page)) {
      return area.pageBytes;
    }
    if (fact?.leafBytes !== undefined) {
      return fact.leafBytes;
    }
    if (call === undefined || !this.sizeIsFree(hva)) {
      return undefined;
    }
    this.count('host page size');
    const leafBytes = call.size >= this.#pmd ? this.#pmd : this.#page;
    if (fact !== undefined) {
      fact.leafBytes = leafBytes;
    }
    return leafBytes;
  }

  #writable(hva: HostAddress, area: HostArea, fact: Fact | undefined, call: TellingCall | undefined, write: boolean): boolean | undefined {
    if (!area.writable || area.kind === 'device') {
      return area.writable;
    }
    if (write || fact?.writable === true) {
      if (fact !== undefined) {
        fact.writable = true;
      }
      return true;
    }
    if (call === undefined || !this.writeTells(hva)) {
      return undefined;
    }
    this.count('host writability');
    if (fact !== undefined) {
      fact.writable = call.write;
    }
    return call.write;
  }

  #learn(hva: HostAddress, physical: number, leafBytes: number | undefined, writable: boolean | undefined): void {
    const bytes = leafBytes ?? this.#page;
    const start = alignDown(hva, Math.log2(bytes));
    const first = physical - (hva - start);
    if (first % bytes !== 0) {
      this.misfits.push({ sentence: `The host page at user address ${hex(hva)} has ${bytes} bytes, and its physical address ${hex(physical)} lies otherwise in such a page.` });
    }
    const facts = this.#facts.get(bytes) ?? new Map<number, Fact>();
    this.#facts.set(bytes, facts);
    facts.set(start / bytes, { start, bytes, physical: first, leafBytes, writable });
    this.touch(start, start + bytes);
  }

  /** A range may have pages from here on. */
  touch(start: HostAddress, end: HostAddress): void {
    if (this.#areas.some((area) => !area.touched && area.start < end && start < area.end)) {
      this.#areas.forEach((area, i) => {
        if (area.start < end && start < area.end) {
          this.#areas[i] = { ...area, touched: true };
        }
      });
    }
  }

  #factAt(hva: HostAddress): Fact | undefined {
    for (const [bytes, facts] of this.#facts) {
      const fact = facts.get(Math.floor(hva / bytes));
      if (fact !== undefined) {
        return fact;
      }
    }
    return undefined;
  }
}

function partOf(area: TracedArea, start: HostAddress, end: HostAddress): TracedArea {
  return { ...area, start, end, ...(area.physical === undefined ? {} : { physical: area.physical + (start - area.start) }) };
}
