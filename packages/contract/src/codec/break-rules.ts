import { takeSlot, type Slot } from '@granule/geometry/bits';
import type { Rule } from '../format.js';
import type { Field } from '../words.js';
import { optionalSlot, slotOf } from './field-codec.js';

/** The break-before-make rules: a change of a live entry in one of these ways needs break, invalidate, make. */
export interface BreakRules {
  readonly outputAddress: Rule;
  readonly tableAddress: Rule;
  readonly blockSize: Rule;
  readonly memoryType: Rule;
  readonly shareability: Rule;
  readonly contiguous: Rule;
  readonly global: Rule;
  readonly physicalSpace: Rule;
}

function rule(id: string, clause: string, sentence: string): Rule {
  return Object.freeze({ id: `bbm.${id}`, clause, sentence });
}

/** Where and how an architecture states the two rules on sizes. */
export interface SizeRules {
  readonly clause: string;
  readonly blockSize: string;
  readonly contiguous: string;
}

/** @param clause of the rules that are not on sizes */
export function breakRules(clause: string, size: SizeRules): BreakRules {
  return {
    outputAddress: rule(
      'output-address',
      clause,
      'The output address of a valid leaf changes: old and new translation may differ in memory contents or be writable.',
    ),
    tableAddress: rule(
      'table-address',
      clause,
      'A valid table entry changes to point to another table: the walk may use old and new tables at once.',
    ),
    blockSize: rule('block-size', size.clause, size.blockSize),
    memoryType: rule('memory-type', clause, 'The memory type or cacheability of a valid leaf changes.'),
    shareability: rule('shareability', clause, 'The shareability of a valid leaf changes.'),
    contiguous: rule('contiguous', size.clause, size.contiguous),
    global: rule('global', clause, 'A valid leaf becomes global while TLBs may hold non-global entries for it.'),
    physicalSpace: rule(
      'physical-space',
      clause,
      'NS or NSTable of a valid entry changes: the output moves to the other physical address space.',
    ),
  };
}

/** Fields that decide whether a leaf may change live, by their names in the layouts. */
export interface BreakFields {
  readonly contiguous: Slot;
  readonly sh: Slot | undefined;
  readonly nG: Slot | undefined;
  readonly ns: Slot | undefined;
  readonly nT: Slot | undefined;
}

/** @param page layout of a page @param block layout of a block, which alone may have nT */
export function breakFields(page: readonly Field[], block: readonly Field[]): BreakFields {
  return {
    contiguous: slotOf(page, 'Contiguous'),
    sh: optionalSlot(page, 'SH'),
    nG: optionalSlot(page, 'nG'),
    ns: optionalSlot(page, 'NS'),
    nT: optionalSlot(block, 'nT'),
  };
}

/** Whether two leaves differ in a slot; false where the layout has none. */
export function slotChanges(slot: Slot | undefined, oldLo: number, oldHi: number, newLo: number, newHi: number): boolean {
  return slot !== undefined && takeSlot(slot, oldLo, oldHi) !== takeSlot(slot, newLo, newHi);
}
