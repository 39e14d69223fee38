import type { TlbEntry, TlbiScope, TlbModel, TlbQuery } from '@granule/contract';
import { shiftDown } from '@granule/geometry/bits';
import { answers, sameEntry } from './match.js';
import { inScope } from './scope.js';

type Pages = Map<number, TlbEntry[]>;

/**
 * A TLB that keeps every entry until an invalidation is sure to remove it: what the architecture allows at its worst. Nothing is ever
 * evicted, a new entry does not displace an older one for the same address, and an invalidation whose hints do not fit removes nothing.
 */
export class AdversarialTlb implements TlbModel {
  /** By log2 of the size, then by input / 2^shift; the longest held first. */
  readonly #sizes = new Map<number, Pages>();
  /** Sizes held, ascending: the deepest level first. */
  #shifts: readonly number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  insert(entry: TlbEntry): void {
    const held = this.#held(entry);
    if (held.some((each) => sameEntry(each, entry))) return;
    held.push(entry);
    this.#size += 1;
  }

  lookup(query: Readonly<TlbQuery>): TlbEntry | undefined {
    for (const shift of this.#shifts) {
      const held = this.#sizes.get(shift)!.get(shiftDown(query.address, shift));
      if (held === undefined) continue;
      for (const entry of held) if (answers(entry, query)) return entry;
    }
    return undefined;
  }

  matches(query: Readonly<TlbQuery>, into: TlbEntry[]): number {
    let count = 0;
    for (const shift of this.#shifts) {
      const held = this.#sizes.get(shift)!.get(shiftDown(query.address, shift));
      if (held === undefined) continue;
      for (const entry of held) {
        if (answers(entry, query)) into[count++] = entry;
      }
    }
    return count;
  }

  invalidate(scope: TlbiScope, removed?: (entry: TlbEntry) => void): number {
    let count = 0;
    for (const pages of this.#sizes.values()) {
      for (const [page, held] of pages) {
        const kept = held.filter((entry) => !inScope(scope, entry));
        if (kept.length === held.length) continue;
        count += held.length - kept.length;
        if (removed !== undefined) held.filter((entry) => inScope(scope, entry)).forEach(removed);
        if (kept.length === 0) pages.delete(page);
        else pages.set(page, kept);
      }
    }
    this.#size -= count;
    return count;
  }

  entries(): readonly TlbEntry[] {
    return [...this.#sizes.values()].flatMap((pages) => [...pages.values()].flat());
  }

  clear(): void {
    this.#sizes.clear();
    this.#shifts = [];
    this.#size = 0;
  }

  #held({ input, shift }: TlbEntry): TlbEntry[] {
    let pages = this.#sizes.get(shift);
    if (pages === undefined) {
      pages = new Map();
      this.#sizes.set(shift, pages);
      this.#shifts = [...this.#shifts, shift].sort((a, b) => a - b);
    }
    const page = shiftDown(input, shift);
    let held = pages.get(page);
    if (held === undefined) {
      held = [];
      pages.set(page, held);
    }
    return held;
  }
}
