import type { Rule } from '@granule/contract';

function rule(id: string, sentence: string): Rule {
  return Object.freeze({ id: `bbm.${id}`, clause: 'DDI 0406C B3.10.1', sentence });
}

/** The break-before-make rules: a change of a live entry in one of these ways needs break, invalidate, make. */
export const BREAK_RULES = {
  outputAddress: rule(
    'output-address',
    'The output address of a valid leaf changes: old and new translation may differ in memory contents or be writable.',
  ),
  tableAddress: rule(
    'table-address',
    'A valid table entry changes to point to another table: the walk may use old and new tables at once.',
  ),
  blockSize: rule('block-size', 'The translation changes between a table and a block.'),
  memoryType: rule('memory-type', 'The memory type or cacheability of a valid leaf changes.'),
  shareability: rule('shareability', 'The shareability of a valid leaf changes.'),
  contiguous: rule('contiguous', 'The Contiguous bit of a valid leaf changes: the size of what a TLB may hold changes with it.'),
  global: rule('global', 'A valid leaf becomes global while TLBs may hold non-global entries for it.'),
  physicalSpace: rule('physical-space', 'NS or NSTable of a valid entry changes: the output moves to the other physical address space.'),
} as const;
