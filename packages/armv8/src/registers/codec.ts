import { registerFields } from '@granule/contract/codec';
import { mairMemory } from '../format/memory-type.js';
import { controlTables } from './control-tables.js';
import { IDENTIFICATION_TABLES, statusTables } from './status-tables.js';

const mairMeaning = (byte: bigint): string => mairMemory(Number(byte));

/** Of PAR_EL1 the layout is that with F = 0, of ESR_ELx that of an undivided ISS. */
export const systemRegisters = registerFields(
  [...controlTables(mairMeaning), ...statusTables(mairMeaning), ...IDENTIFICATION_TABLES],
  'DDI 0487 D24.2',
);
