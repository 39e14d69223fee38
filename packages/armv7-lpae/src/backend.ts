import { CONTRACT, type Backend } from '@granule/contract';
import { faults } from './faults.js';
import { format, REGIMES } from './format/format.js';
import { instructions } from './instructions/codec.js';
import { registers } from './registers/registers.js';

/** The ARMv7 long-descriptor format (LPAE): stage 1 of PL1&0 and PL2, and stage 2. */
export const armv7Lpae: Backend = { contract: CONTRACT, name: 'armv7-lpae', regimes: REGIMES, format, registers, instructions, faults };
