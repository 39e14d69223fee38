import { registerRows } from '@granule/contract/codec';

/** Rows of one register: its description in DDI 0487 is the clause of each field. */
export const rowsOf = registerRows('DDI 0487');
