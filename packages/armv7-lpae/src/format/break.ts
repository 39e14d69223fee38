import { breakRules } from '@granule/contract/codec';

const CLAUSE = 'DDI 0406C B3.10.1';

/** The break-before-make rules of the ARMv7 long-descriptor format: no change of size may be live. */
export const BREAK_RULES = breakRules(CLAUSE, {
  clause: CLAUSE,
  blockSize: 'The translation changes between a table and a block.',
  contiguous: 'The Contiguous bit of a valid leaf changes: the size of what a TLB may hold changes with it.',
});
