import { done, refused, type ExplainedField, type Field, type Outcome } from '@granule/contract';
import { fieldWidth, layoutOf, placeField, RES0, RES1, takeField } from '../fields.js';
import { CONTROL_TABLES } from './control-tables.js';
import { IDENTIFICATION_TABLES } from './identification-tables.js';
import type { RegisterRow, RegisterTable } from './rows.js';
import { STATUS_TABLES } from './status-tables.js';

const SOURCE = 'DDI 0406C B4.1';

const TABLES: ReadonlyMap<string, RegisterTable> = new Map(
  [...CONTROL_TABLES, ...STATUS_TABLES, ...IDENTIFICATION_TABLES].map((table) => [table.name, table]),
);

export const REGISTER_NAMES: readonly string[] = [...TABLES.keys()];

const layouts = new WeakMap<readonly RegisterRow[], readonly Field[]>();

function layoutOfRows(rows: readonly RegisterRow[], width: 32 | 64): readonly Field[] {
  let layout = layouts.get(rows);
  if (layout === undefined) {
    layout = layoutOf(rows, undefined, SOURCE, width);
    layouts.set(rows, layout);
  }
  return layout;
}

const isReserved = ({ name }: Field): boolean => name === RES0 || name === RES1;

/**
 * The fields of a register, all of its 32 or 64 bits, most significant first; of TTBCR, DFSR and IFSR those of the long-descriptor format,
 * of PAR those with F = 0, of HSR those with an undivided ISS.
 */
export function registerLayout(name: string): readonly Field[] | undefined {
  const table = TABLES.get(name);
  return table === undefined ? undefined : layoutOfRows(table.rows, table.width);
}

/** Rows and layout that hold for this value. Refused: `register.unknown`, `register.too-wide`. */
function layoutFor(name: string, value: bigint): Outcome<{ readonly rows: readonly RegisterRow[]; readonly layout: readonly Field[] }> {
  const table = TABLES.get(name);
  if (table === undefined) return refused('register.unknown', `Register ${name} is not known.`, SOURCE);
  const { width } = table;
  if (value < 0n || value >= 1n << BigInt(width)) {
    return refused('register.too-wide', `Value ${value} of ${name} is not a ${width}-bit word.`, SOURCE);
  }
  const rows = table.variant?.(value) ?? table.rows;
  return done({ rows, layout: layoutOfRows(rows, width) });
}

function meaningOf(rows: readonly RegisterRow[], { name }: Field, value: bigint): string {
  if (name === RES0) return value === 0n ? 'reserved' : 'reserved, should be zero';
  if (name === RES1) return value === 0n ? 'reserved, should be one' : 'reserved';
  const means = rows.find((row) => row.name === name)?.means;
  if (typeof means === 'function') return means(value);
  return means === undefined ? `0x${value.toString(16)}` : means[Number(value)] ?? 'reserved';
}

export function explainRegister(name: string, value: bigint): Outcome<readonly ExplainedField[]> {
  const found = layoutFor(name, value);
  if (found.kind !== 'done') return found;
  const { rows, layout } = found.value;
  return done(
    layout.map((field) => {
      const taken = takeField(field, value);
      return { ...field, value: taken, meaning: meaningOf(rows, field, taken) };
    }),
  );
}

/** Values of all named fields. */
export function decodeRegister(name: string, value: bigint): Outcome<Readonly<Record<string, bigint>>> {
  const found = layoutFor(name, value);
  if (found.kind !== 'done') return found;
  const named = found.value.layout.filter((field) => !isReserved(field));
  return done(Object.fromEntries(named.map((field) => [field.name, takeField(field, value)])));
}

/** The value as a field's; undefined where it does not fit. */
function fitted(field: Field, given: bigint | number): bigint | undefined {
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  const value = BigInt(given);
  return value < 0n || value >= 1n << BigInt(fieldWidth(field)) ? undefined : value;
}

/**
 * RES1 bits are set. Which layout holds follows from the fields given: TTBCR with EAE = 1, DFSR and IFSR with LPAE = 1 have that of the
 * long-descriptor format, PAR with F = 1 that of an abort, HSR that of its EC.
 */
export function encodeRegister(name: string, fields: Readonly<Record<string, bigint | number>>): Outcome<bigint> {
  const table = TABLES.get(name);
  if (table === undefined) return refused('register.unknown', `Register ${name} is not known.`, SOURCE);
  const given = Object.entries(fields);
  const find = (layout: readonly Field[], key: string): Field | undefined => layout.find((each) => each.name === key && !isReserved(each));
  const base = layoutOfRows(table.rows, table.width);
  const hint = given.reduce((word, [key, value]) => {
    const field = find(base, key);
    return field === undefined ? word : word | placeField(field, fitted(field, value) ?? 0n);
  }, 0n);
  const layout = layoutOfRows(table.variant?.(hint) ?? table.rows, table.width);
  let word = layout.filter(({ name: each }) => each === RES1).reduce((sum, field) => sum | placeField(field, -1n), 0n);
  for (const [key, each] of given) {
    const field = find(layout, key);
    if (field === undefined) {
      const sentence = `${name} has no field ${key}${table.variant === undefined ? '' : ' together with the other fields given'}.`;
      return refused('register.unknown-field', sentence, SOURCE);
    }
    const value = fitted(field, each);
    if (value === undefined) {
      return refused('register.value-too-wide', `Value ${each} does not fit ${name}.${key}, ${fieldWidth(field)} bits wide.`, SOURCE);
    }
    word |= placeField(field, value);
  }
  return done(word);
}
