import { CONTRACT, type Backend } from '@granule/contract';
import { faults } from './faults.js';
import { format, REGIMES } from './format/format.js';
import { instructions } from './instructions/codec.js';
import { registers } from './registers/registers.js';

/** VMSAv8-64: EL1&0, EL2&0 and EL2 stage 1, and stage 2. */
export const armv8: Backend = { contract: CONTRACT, name: 'armv8', regimes: REGIMES, format, registers, instructions, faults };
