import type { Row } from '../fields.js';

/** A register field: what its values mean, by a table or in words. */
export interface RegisterRow extends Row<undefined> {
  readonly means?: readonly string[] | ((value: bigint) => string);
}

export interface RegisterTable {
  readonly name: string;
  readonly width: 32 | 64;
  /** Fields in any order; gaps are RES0. */
  readonly rows: readonly RegisterRow[];
  /** Another table for values of this kind (TTBCR.EAE, PAR.F, DFSR.LPAE, HSR.EC). */
  readonly variant?: (value: bigint) => readonly RegisterRow[] | undefined;
}

export type Means = RegisterRow['means'];
export type MeansByField = Readonly<Record<string, Means>>;

/** Rows of one register from `NAME msb[:lsb]` lines: the register's description in DDI 0406C B4.1 is the clause of each. */
export function rowsOf(register: string, text: string, means: MeansByField = {}): readonly RegisterRow[] {
  return text
    .trim()
    .split(/\s*[;\n]\s*/)
    .map((line) => {
      const [name = '', bits = ''] = line.split(' ');
      const [msb, lsb = msb] = bits.split(':').map(Number);
      const row = { name, msb, lsb, clause: `DDI 0406C B4.1 ${register}.${name}` };
      return means[name] === undefined ? row : { ...row, means: means[name] };
    });
}

/** A register with one layout. */
export function tableOf(name: string, width: 32 | 64, text: string, means: MeansByField = {}): RegisterTable {
  return { name, width, rows: rowsOf(name, text, means) };
}
