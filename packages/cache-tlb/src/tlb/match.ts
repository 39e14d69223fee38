import type { TlbEntry, TlbQuery } from '@granule/contract';
import { pow2 } from '@granule/geometry/bits';

/** Whether an entry answers a query, addresses aside. */
export function answers(entry: TlbEntry, query: Readonly<TlbQuery>): boolean {
  return (
    entry.stage === query.stage &&
    entry.kind === query.kind &&
    entry.regime === query.regime &&
    (entry.vmid === query.vmid || entry.regime !== 'el10') &&
    (entry.asid === -1 || entry.asid === query.asid)
  );
}

/** Whether both would be the same entry of a TLB: equal in every field that a lookup compares. */
export function sameTags(a: TlbEntry, b: TlbEntry): boolean {
  return (
    a.input === b.input &&
    a.shift === b.shift &&
    a.stage === b.stage &&
    a.kind === b.kind &&
    a.regime === b.regime &&
    a.vmid === b.vmid &&
    a.asid === b.asid
  );
}

/** Whether both say the same of every address that they share: nothing but tags, level and size may differ. */
function sameTranslation(a: TlbEntry, b: TlbEntry): boolean {
  return a.output - a.input === b.output - b.input && a.attributes === b.attributes && a.shareability === b.shareability;
}

/** Whether both hold the same descriptor to the same effect. */
export function sameEntry(a: TlbEntry, b: TlbEntry): boolean {
  return (
    sameTags(a, b) &&
    sameTranslation(a, b) &&
    a.level === b.level &&
    a.pageShift === b.pageShift &&
    a.permissions === b.permissions &&
    a.contiguous === b.contiguous &&
    a.ipa - a.input === b.ipa - b.input
  );
}

/** How entries for one address differ. */
export type Conflict = 'none' | 'permissions' | 'size' | 'translation';

/**
 * What `count` leaves that answer one query make of each other: the worst of all pairs. `translation` (output address, memory type or
 * shareability) and `size` are what break-before-make prevents: a TLB conflict abort or any mixture may follow, with FEAT_BBM for
 * `translation` alone. `permissions` alone is allowed until invalidated (DDI 0487 D8.17.1).
 */
export function conflictOf(entries: readonly TlbEntry[], count: number): Conflict {
  let found: Conflict = 'none';
  for (let i = 1; i < count; i += 1) {
    const [a, b] = [entries[0], entries[i]];
    if (!sameTranslation(a, b)) return 'translation';
    if (a.shift !== b.shift) found = 'size';
    else if (a.permissions !== b.permissions && found === 'none') found = 'permissions';
  }
  return found;
}

/** Whether an address lies in what an entry translates. */
export function covers({ input, shift }: TlbEntry, address: number): boolean {
  return address >= input && address < input + pow2(shift);
}

/** Where an address of the entry goes: of a leaf alone. */
export function outputOf({ input, output }: TlbEntry, address: number): number {
  return output + (address - input);
}
