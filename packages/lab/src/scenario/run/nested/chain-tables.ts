import { ENTRY } from '@granule/contract';
import { entrySpan } from '@granule/geometry';
import { alignDown } from '@granule/geometry/bits';
import type { NestedOptions, Stage2 } from '@granule/kvm';
import { type ChainLeaf, type ChainTables, GuestWalker, type ShadowHistory } from '@granule/nested';
import { newLookup } from '@granule/pgtable';

/** The tables of a chain; looking changes nothing. */
export function chainTables({ guest, memory }: NestedOptions, own: Stage2, shadow: Stage2, history: ShadowHistory): ChainTables {
  const walker = new GuestWalker(guest, { read: (ipa, into) => memory.read(ipa, into), exchange: () => 'done' });
  return { walker, host: (ipa) => leafAt(own, ipa), shadow: (ipa) => leafAt(shadow, ipa), history };
}

function leafAt({ table, format, ipaLimit }: Stage2, address: number): ChainLeaf | undefined {
  const found = newLookup();
  if (address >= ipaLimit || !table.lookup(address, found) || found.kind !== ENTRY.leaf) {
    return undefined;
  }
  const { lo, hi, level } = found;
  const bytes = entrySpan(format.geometry.granule, level);
  const { read, write, px, ux, software } = format.decodeLeaf(lo, hi, level);
  const start = alignDown(address, Math.log2(bytes));
  return { level, start, bytes, output: format.leafOutput(lo, hi, level), read, write, executeEl1: px, executeEl0: ux, tag: software % 4 };
}
