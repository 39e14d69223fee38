import { registerFields } from '@granule/contract/codec';
import { CONTROL_TABLES } from './control-tables.js';
import { IDENTIFICATION_TABLES } from './identification-tables.js';
import { STATUS_TABLES } from './status-tables.js';

/**
 * Of TTBCR, DFSR and IFSR the layout is that of the long-descriptor format, of PAR that with F = 0, of HSR that with an undivided ISS. What
 * is encoded has the layout of the long-descriptor format with EAE = 1 (TTBCR) or LPAE = 1 (DFSR, IFSR), that of an abort with F = 1 (PAR)
 * and that of its EC (HSR).
 */
export const cp15Registers = registerFields([...CONTROL_TABLES, ...STATUS_TABLES, ...IDENTIFICATION_TABLES], 'DDI 0406C B4.1');
