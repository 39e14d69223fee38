import { REPORTED_RULES, RULES } from '@granule/cache-tlb';
import { z } from 'zod';
import { isCountName } from '../report/count-names.js';
import { amount, fields, oneOf, shown, text, whole, word, yes } from './values.js';

/** What a guest access is to come to. */
export const accessExpectation = fields({
  value: word.optional().describe('What is read or fetched.'),
  reaches: amount.optional().describe('The physical address to which it goes.'),
  fault: oneOf(
    'none', 'translation', 'access-flag', 'permission', 'address-size', 'external-abort', 'external-abort-on-walk', 'alignment', 'tlb-conflict', 'unsupported-atomic-update',
  ).optional().describe('The exception that the guest sees; none: it sees none.'),
  mmio: yes.optional().describe('The access exits to the VMM.'),
  lost: yes.optional().describe('What is read is not what was written last, because maintenance did not reach it.'),
});

const range = fields({ min: z.number().optional(), max: z.number().optional() });
const limit = z.union([z.number(), range], { error: 'is neither a number nor { min, max }' });

/** Counts of a phase or of the whole run, by name. */
export const counts = z.record(text, limit)
  .superRefine((value, context) => {
    for (const name of Object.keys(value)) {
      if (!isCountName(name)) context.addIssue({ code: 'custom', path: [name], message: 'is no count of a run' });
    }
  })
  .describe('Counts by name, as tlbi, tlbi.leaf, tlbi.IPAS2E1IS, cmo.dc-civac.lines, fault.translation, dsb.ish, writes: an exact number, or { min, max }.');

function wrongVerdict(input: unknown): string {
  const wrong = [input].flat().find((each) => typeof each === 'string' && !VERDICTS.has(each));
  return wrong === undefined ? 'is neither clean nor one or several rules' : `${shown(wrong)} is no rule that a run can break, and not clean`;
}

const BREAKS = ['output-address', 'table-address', 'block-size', 'memory-type', 'shareability', 'contiguous', 'global', 'physical-space'].map((each) => `bbm.${each}`);
const VERDICTS = new Set(['clean', ...Object.keys(RULES), ...Object.keys(REPORTED_RULES), ...BREAKS, 'map.outside-slot', 'map.outside-backing', 'nested.other-table']);
const rule = text.refine((value) => VERDICTS.has(value), { error: ({ input }) => `${shown(input)} is no rule that a run can break, and not clean` });

/** What the run as a whole is to come to. */
export const expectation = fields({
  verdict: z.union([rule, z.array(rule).min(1)], { error: ({ input }) => wrongVerdict(input) }).optional()
    .describe('clean, or the rules that are broken, these and no other (tlbi.missing).'),
  counts: counts.optional(),
  leaves: fields({ 0: whole(0, 2 ** 40), 1: whole(0, 2 ** 40), 2: whole(0, 2 ** 40), 3: whole(0, 2 ** 40) }).partial().optional()
    .describe('Leaves of stage 2 by level at the end.'),
  source: text.optional().describe('What it rests on.'),
  tables: whole(0, 2 ** 40).optional().describe('Table pages at the end.'),
});

export type AccessExpectation = z.output<typeof accessExpectation>;
export type CountLimit = z.output<typeof limit>;
export type Expectation = z.output<typeof expectation>;
