export { lenientRange } from './lenient.js';
export { type MappingVisitor, lookup, mappings, newLookup, query } from './lookup.js';
export { GranulePageTable, createPageTable, pgtable } from './page-table.js';
export type { Unlinked } from './unlinked.js';
export { type Run, STOP, TABLE_BUDGET, type Tables, type Visitor, type WalkEnd, walk } from './walk.js';
