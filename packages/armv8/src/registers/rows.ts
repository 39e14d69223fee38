import type { Row } from '../fields.js';

/** A register field: what its values mean, by a table or in words. */
export interface RegisterRow extends Row<undefined> {
  readonly means?: readonly string[] | ((value: bigint) => string);
}

export interface RegisterTable {
  readonly name: string;
  /** Fields in any order; gaps are RES0. */
  readonly rows: readonly RegisterRow[];
  /** Another table for values of this kind (PAR.F, ESR.EC). */
  readonly variant?: (value: bigint) => readonly RegisterRow[] | undefined;
}

export type Means = RegisterRow['means'];

/** Rows of one register from `NAME msb[:lsb]` lines: the register's description in DDI 0487 is the clause of each. */
export function rowsOf(register: string, text: string, means: Readonly<Record<string, Means>> = {}): readonly RegisterRow[] {
  return text
    .trim()
    .split(/\s*[;\n]\s*/)
    .map((line) => {
      const [name = '', bits = ''] = line.split(' ');
      const [msb, lsb = msb] = bits.split(':').map(Number);
      const row = { name, msb: msb, lsb: lsb, clause: `DDI 0487 ${register}.${name}` };
      return means[name] === undefined ? row : { ...row, means: means[name] };
    });
}
