import type { CmoCount, Counts, TlbiCount, TlbiReason, TlbiScope } from '../report/counts.js';

/**
 * What a cost can be stated for. TLBIs by what they name: `tlbi-leaf` and `tlbi-table` are invalidations by IPA, owed for a leaf (or for nothing that was
 * written) and for a table entry. A `fault` is an exit of the guest, its handling and the entry; a `trap` the same for a register access.
 */
export const COST_ITEMS = {
  'tlbi-leaf': 'TLBI by IPA for a leaf',
  'tlbi-table': 'TLBI by IPA for a table',
  'tlbi-range': 'TLBI by range',
  'tlbi-stage1': 'TLBI of all of stage 1',
  'tlbi-vmid': 'TLBI of the VMID',
  'tlbi-all': 'TLBI of every VMID',
  'tlbi-va': 'TLBI by VA or ASID',
  dsb: 'DSB',
  isb: 'ISB',
  'dc-line': 'DC by line',
  'ic-line': 'IC by line',
  'ic-all': 'IC of a whole cache',
  'set-way': 'DC by set and way',
  'descriptor-write': 'descriptor writes',
  'table-page': 'table pages taken',
  fault: 'faults',
  trap: 'traps',
} as const;
export type CostItem = keyof typeof COST_ITEMS;

function tlbiItem(scope: TlbiScope, reason: TlbiReason): CostItem {
  switch (scope) {
    case 'ipa':
      return reason === 'table' ? 'tlbi-table' : 'tlbi-leaf';
    case 'ipa-range':
    case 'va-range':
      return 'tlbi-range';
    case 'stage1':
      return 'tlbi-stage1';
    case 'vmid':
      return 'tlbi-vmid';
    case 'all':
      return 'tlbi-all';
    case 'va':
    case 'asid':
      return 'tlbi-va';
  }
}

function cmoItem(op: CmoCount['op']): CostItem {
  switch (op) {
    case 'dc-civac':
    case 'dc-cvac':
    case 'dc-ivac':
    case 'dc-cvau':
    case 'dc-zva':
      return 'dc-line';
    case 'ic-ivau':
      return 'ic-line';
    case 'ic-iallu':
    case 'ic-ialluis':
      return 'ic-all';
    case 'dc-isw':
    case 'dc-csw':
    case 'dc-cisw':
      return 'set-way';
  }
}

/** Counts by what they are paid for; items that do not occur are 0. */
export type ItemCounts = Readonly<Record<CostItem, number>>;

export function itemCounts(counts: Counts): ItemCounts {
  const items = Object.fromEntries(Object.keys(COST_ITEMS).map((item) => [item, 0])) as Record<CostItem, number>;
  for (const { scope, reason, count } of counts.tlbis satisfies readonly TlbiCount[]) {
    items[tlbiItem(scope, reason)] += count;
  }
  for (const { op, lines } of counts.cmos) {
    items[cmoItem(op)] += lines;
  }
  for (const [name, count] of Object.entries(counts.barriers)) {
    items[name === 'isb' ? 'isb' : 'dsb'] += count;
  }
  items['descriptor-write'] += counts.writes;
  items['table-page'] += counts.tablePages.taken;
  items.fault += counts.faults.reduce((sum, { count }) => sum + count, 0);
  items.trap += Object.values(counts.traps).reduce((sum, count) => sum + count, 0);
  return items;
}
