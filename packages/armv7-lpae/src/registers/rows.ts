import { registerRows, type MeansByField, type RegisterTable } from '@granule/contract/codec';

/** Rows of one register: its description in DDI 0406C B4.1 is the clause of each field. */
export const rowsOf = registerRows('DDI 0406C B4.1');

/** A register with one layout. */
export function tableOf(name: string, width: 32 | 64, text: string, means: MeansByField = {}): RegisterTable {
  return { name, width, rows: rowsOf(name, text, means) };
}
