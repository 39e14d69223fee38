export { format, REGIMES } from './format/format.js';
export { mairMemory } from './format/memory-type.js';
export { BREAK_RULES } from './format/break.js';
export type { Regime } from './format/shape.js';
export { faults } from './faults.js';
export { registers } from './registers/registers.js';
