import type { Mismatch, Rule } from '@granule/contract';

const BARRIERS = 'DDI 0487 B2, Data Synchronization Barrier';
const MAINTENANCE = 'DDI 0487 D8.17';
const BREAK = 'DDI 0487 D8.17.1';
const OPERATIONS = 'DDI 0487 C5.5';

/**
 * The rules that the judge decides from effects alone. A change of a live entry that needs break-before-make is named by the format's own
 * rule (`bbm.…`, see `Format.mustBreak`) and is not repeated here.
 */
export const RULES = {
  'tlbi.missing': {
    clause: BREAK,
    sentence: 'An entry that was valid was removed or replaced, and nothing invalidated what TLBs may hold of it.',
  },
  'tlbi.before-dsb': {
    clause: `${MAINTENANCE}; ${BARRIERS}`,
    sentence: 'The invalidation was issued before a DSB completed the write that removed the entry: a walk may read the old entry again.',
  },
  'tlbi.not-completed': {
    clause: `${MAINTENANCE}; ${BARRIERS}`,
    sentence:
      'No DSB of loads and stores, of the domain of the invalidation, followed it on the PE that issued it: it need not be complete.',
  },
  'tlbi.wrong-address': {
    clause: OPERATIONS,
    sentence: 'The invalidation names an address outside what the removed entry translated.',
  },
  'tlbi.range-too-small': {
    clause: `${MAINTENANCE} R_TVTYQ, R_LGSCG; ${OPERATIONS}`,
    sentence: 'The invalidation touches only a part of the leaves that were removed, or is a range that misses the entry altogether.',
  },
  'tlbi.wrong-level': {
    clause: `${OPERATIONS}; FEAT_TTL`,
    sentence: 'The level hint is not the level of the removed leaf, so the operation need not invalidate anything.',
  },
  'tlbi.last-level-only': {
    clause: OPERATIONS,
    sentence: 'A table entry was removed, and the operation invalidates last-level entries alone: a walk cache may keep the table.',
  },
  'tlbi.leaves-too-early': {
    clause: MAINTENANCE,
    sentence:
      'The leaves below a removed table were invalidated before the invalidation of its own entry was complete: a walk cache that has it lets them in again.',
  },
  'tlbi.wrong-vmid': {
    clause: `${MAINTENANCE}; ${OPERATIONS}`,
    sentence: 'The invalidation was issued under another VMID than that of the table.',
  },
  'tlbi.wrong-asid': {
    clause: `${MAINTENANCE}; ${OPERATIONS}`,
    sentence: 'The invalidation names another ASID than that of the table, or an ASID where the entry is global.',
  },
  'tlbi.wrong-regime': {
    clause: OPERATIONS,
    sentence: 'The invalidation acts on another translation regime or stage than that of the table.',
  },
  'tlbi.local': {
    clause: `${MAINTENANCE}; ${OPERATIONS}`,
    sentence: 'The invalidation acts on one PE alone, and other PEs may walk the table.',
  },
  'tlbi.stage1-missing': {
    clause: MAINTENANCE,
    sentence: 'After an invalidation by IPA nothing invalidated stage 1 of the VMID: entries that combine both stages stay.',
  },
  'tlbi.stage1-too-early': {
    clause: MAINTENANCE,
    sentence:
      'Stage 1 was invalidated before a DSB completed the invalidation by IPA: a combined entry may be made again from the stale one.',
  },
  'permission.not-invalidated': {
    clause: MAINTENANCE,
    sentence: 'A permission was taken away from a valid entry, and nothing invalidated it before the log ended or somebody used it.',
  },
  'table.freed-while-linked': {
    clause: MAINTENANCE,
    sentence: 'A table page was given back while a descriptor of an installed table still points to it.',
  },
  'table.freed-in-use': {
    clause: MAINTENANCE,
    sentence: 'A table page was given back before the invalidation of the entry that pointed to it: a walk may still use it.',
  },
  'table.reused-in-use': {
    clause: MAINTENANCE,
    sentence: 'A table page was used anew before the invalidation of the entry that pointed to it: a walk may still use it.',
  },
  'context.vmid-reuse': {
    clause: MAINTENANCE,
    sentence: 'A VMID was given to a table while TLBs may hold entries of an earlier table with this VMID.',
  },
  'context.asid-reuse': {
    clause: MAINTENANCE,
    sentence: 'An ASID was given to a table while TLBs may hold entries of an earlier table with this ASID.',
  },
  'context.two-roots': {
    clause: MAINTENANCE,
    sentence: 'Two tables are installed under one tag (VMID, or VMID and ASID): TLB entries of one translate for the other.',
  },
  'use.before-dsb': {
    clause: `${MAINTENANCE}; ${BARRIERS}`,
    sentence: 'The PE that wrote the entry used it before a DSB: its own walk need not see the write.',
  },
  'use.before-isb': {
    clause: `${MAINTENANCE}; ${BARRIERS}`,
    sentence: 'The PE that changed the entry used it before a context synchronisation event: it may use what it fetched before.',
  },
} as const satisfies Record<string, Omit<Rule, 'id'>>;

export type RuleId = keyof typeof RULES;

/**
 * Rules about what an access got. A model of the hardware reports them, as a fault of type `tlb-conflict` or as the `mismatch` of an access; those about
 * bytes the judge also looks for itself, in accesses without one.
 */
export const REPORTED_RULES = {
  'tlb.conflict': {
    clause: 'DDI 0487 D8.17.1; TLB conflict aborts',
    sentence: 'More than one TLB entry translated one address.',
  },
  'data.stale-read': {
    clause: 'DDI 0487 B2, coherency and caching',
    sentence: 'A read got bytes older than the last write to them.',
  },
  'data.lost-dirty-line': {
    clause: 'DDI 0487 B2, coherency and caching',
    sentence: 'A line was invalidated or overwritten in memory before its dirty bytes were cleaned.',
  },
  'code.stale-instructions': {
    clause: 'DDI 0487 B2, instruction caches',
    sentence: 'Instructions were executed that are older than the last write to them.',
  },
  'cache.set-way-not-enough': {
    clause: 'DDI 0487 C5.3, DC operations by set/way',
    sentence: 'A set/way operation acts on the caches of one PE, and the line was elsewhere.',
  },
} as const satisfies Record<Mismatch['rule'] | 'tlb.conflict', Omit<Rule, 'id'>>;

export type ReportedRuleId = keyof typeof REPORTED_RULES;

/** Every rule of this package, by id, as a value. */
export function ruleOf(id: RuleId | ReportedRuleId): Rule {
  const rule = id in RULES ? RULES[id as RuleId] : REPORTED_RULES[id as ReportedRuleId];
  return { id, ...rule };
}
