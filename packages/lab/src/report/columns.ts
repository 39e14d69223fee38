import { namedCounts, type Counts } from './counts.js';
import type { TablesReport } from './report.js';

/** What a row of counts is about: a variant or a phase. */
export interface Counted {
  readonly counts: Counts;
  readonly tables: TablesReport;
}

/** A column of counts, for the text and the page alike. */
export interface CountColumn {
  readonly head: string;
  /** The column's heading in a sentence or tooltip. */
  readonly meaning: string;
  readonly value: (named: Readonly<Record<string, number>>, tables: TablesReport) => number;
}

const named = (head: string, meaning: string, ...names: readonly string[]): CountColumn => ({
  head,
  meaning,
  value: (counts) => names.reduce((sum, name) => sum + (counts[name] ?? 0), 0),
});

/** Invalidations are in one column each: those by IPA by what they are owed for, others by scope. */
const COLUMNS: readonly CountColumn[] = [
  named('accesses', 'accesses that guests made', 'accesses'),
  named('faults', 'faults that guests took', 'fault'),
  named('MMIO', 'accesses that went to the VMM', 'answer.mmio.read', 'answer.mmio.write', 'answer.mmio'),
  named('traps', 'trapped register accesses and instructions', 'trap'),
  named('TLBI leaf', 'invalidations by IPA, owed for a leaf or for nothing that was written', 'tlbi.ipa.leaf', 'tlbi.ipa.none'),
  named('TLBI table', 'invalidations by IPA, owed for a table entry', 'tlbi.ipa.table'),
  named('TLBI range', 'invalidations by range', 'tlbi.ipa-range', 'tlbi.va-range'),
  named('TLBI VMID', 'invalidations of both stages of a VMID', 'tlbi.vmid'),
  named('TLBI all', 'invalidations of every VMID', 'tlbi.all'),
  named('TLBI VA', 'invalidations of stage 1 by VA or ASID', 'tlbi.va', 'tlbi.asid'),
  named('TLBI stage 1', 'invalidations of all of stage 1 of a VMID', 'tlbi.stage1'),
  named('DSB', 'data synchronization barriers', 'dsb'),
  named('DC lines', 'cache lines cleaned or invalidated by address', ...['civac', 'cvac', 'ivac', 'cvau', 'zva'].map((op) => `cmo.dc-${op}.lines`)),
  named('DC set/way', 'cache operations by set and way', 'cmo.dc-isw', 'cmo.dc-csw', 'cmo.dc-cisw'),
  named('IC lines', 'instruction cache lines invalidated', 'cmo.ic-ivau.lines'),
  named('IC all', 'invalidations of whole instruction caches', 'cmo.ic-iallu', 'cmo.ic-ialluis'),
  named('writes', 'descriptors written', 'writes'),
  { head: 'tables', meaning: 'table pages at the end, entry tables included', value: (_, { now }) => now.pages },
  { head: 'peak', meaning: 'the most table pages at any time', value: (_, { peak }) => peak.pages },
];

/** Table pages are there whether or not something happens. */
const EVENTS = COLUMNS.slice(0, -2);

/** Whether a row has any counts. */
export function happened({ counts, tables }: Counted): boolean {
  const flat = namedCounts(counts);
  return EVENTS.some(({ value }) => value(flat, tables) > 0);
}

/** The columns in which some row has something, and the values of each row. */
export function countColumns(rows: readonly Counted[]): { readonly columns: readonly CountColumn[]; readonly values: readonly (readonly number[])[] } {
  const all = rows.map(({ counts, tables }) => {
    const flat = namedCounts(counts);
    return COLUMNS.map(({ value }) => value(flat, tables));
  });
  const used = COLUMNS.map((_, i) => all.some((row) => row[i] !== 0));
  return { columns: COLUMNS.filter((_, i) => used[i]), values: all.map((row) => row.filter((_, i) => used[i])) };
}
