import type { Mapping } from '@granule/lab';
import { formatSize, hex } from '@granule/geometry/bits';
import type { MemorySlot } from '@granule/snapshot';
import { colour } from './output.js';

const BACKING: Readonly<Record<string, string>> = {
  'anon-pages': 'small pages',
  'anon-thp': 'transparent huge pages',
  'anon-readonly': 'a read-only slot',
  'hugetlb-default': 'hugetlb pages',
  'hugetlb-1g': 'a 1G hugetlb page',
  'pfnmap-device': 'device memory',
  'pfnmap-wc': 'write-combining device memory',
};

/** Mappings of one slot that are shown one by one. */
const SHOWN = 6;

/** What the rows left out amount to: how many, up to where, and with which permissions. */
function restLine(rest: readonly Mapping[]): string {
  const kinds = new Map<string, number>();
  for (const { leaf, leaves } of rest) {
    const kind = `${leaf.permissions} ${leaf.type}`;
    kinds.set(kind, (kinds.get(kind) ?? 0) + leaves);
  }
  const what = [...kinds].map(([kind, leaves]) => `${leaves} ${kind}`).join(', ');
  return colour.dim(`  … ${rest.length} more mappings up to ${hex(rest.at(-1)!.end)}: ${what}`);
}

/** A map by memory slot: the slot as a heading, its first mappings, and one line for the rest (`full`: every row). */
export function slotMap(
  slots: readonly MemorySlot[],
  mappings: readonly Mapping[],
  row: (mapping: Mapping) => string,
  full: boolean,
): readonly string[] {
  const inside = (mapping: Mapping, { ipa, size }: MemorySlot): boolean => mapping.start >= ipa && mapping.start < ipa + size;
  const groups = [...slots]
    .sort((a, b) => a.ipa - b.ipa)
    .map((slot) => ({
      title: `slot ${slot.id}: ${formatSize(slot.size)} from ${hex(slot.ipa)}, ${BACKING[slot.kind] ?? slot.kind}`,
      rows: mappings.filter((mapping) => inside(mapping, slot)),
    }));
  const others = mappings.filter((mapping) => !slots.some((slot) => inside(mapping, slot)));
  return [...groups, { title: 'outside every slot', rows: others }]
    .filter(({ rows }) => rows.length > 0)
    .flatMap(({ title, rows }) => {
      const shown = full || rows.length <= SHOWN + 1 ? rows : rows.slice(0, SHOWN);
      const rest = rows.slice(shown.length);
      return [colour.cyan(title), ...shown.map((mapping) => row(mapping).trimEnd()), ...(rest.length === 0 ? [] : [restLine(rest)])];
    });
}
