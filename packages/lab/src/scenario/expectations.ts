import { z } from 'zod';
import { amount, fields, oneOf, text, whole, word, yes } from './values.js';

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
  .describe('Counts by name, as tlbi, tlbi.leaf, tlbi.IPAS2E1IS, cmo.dc-civac.lines, fault.translation, dsb-ish, writes: an exact number, or { min, max }.');

/** What the run as a whole is to come to. */
export const expectation = fields({
  verdict: z.union([text, z.array(text).min(1)], { error: 'is neither clean nor one or several rules' }).optional()
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
