import { done, refused, type ExplainedField, type Field, type Outcome } from '@granule/contract';
import { layoutOf, placeField, RES0, RES1, fieldWidth, takeField } from '../fields.js';
import { mairMemory } from '../format/memory-type.js';
import { IDENTIFICATION_TABLES, statusTables } from './status-tables.js';
import { controlTables } from './control-tables.js';
import type { RegisterRow, RegisterTable } from './rows.js';

const SOURCE = 'DDI 0487 D24.2';
const mairMeaning = (byte: bigint): string => mairMemory(Number(byte));

const TABLES: ReadonlyMap<string, RegisterTable> = new Map(
  [...controlTables(mairMeaning), ...statusTables(mairMeaning), ...IDENTIFICATION_TABLES].map((table) => [table.name, table]),
);

export const REGISTER_NAMES: readonly string[] = [...TABLES.keys()];

const layouts = new WeakMap<readonly RegisterRow[], readonly Field[]>();

function layoutOfRows(rows: readonly RegisterRow[]): readonly Field[] {
  let layout = layouts.get(rows);
  if (layout === undefined) {
    layout = layoutOf(rows, undefined, SOURCE);
    layouts.set(rows, layout);
  }
  return layout;
}

const isReserved = ({ name }: Field): boolean => name === RES0 || name === RES1;

/** The fields of a register, all 64 bits, most significant first; of PAR_EL1 those with F = 0, of ESR_ELx those with an undivided ISS. */
export function registerLayout(name: string): readonly Field[] | undefined {
  const table = TABLES.get(name);
  return table === undefined ? undefined : layoutOfRows(table.rows);
}

/** The table, and the rows that hold for this value. Refused: `register.unknown`, `register.too-wide`. */
function rowsFor(name: string, value: bigint): Outcome<readonly RegisterRow[]> {
  const table = TABLES.get(name);
  if (table === undefined) return refused('register.unknown', `Register ${name} is not known.`, SOURCE);
  if (value < 0n || value >= 1n << 64n) return refused('register.too-wide', `Value ${value} of ${name} is not a 64-bit word.`, SOURCE);
  return done(table.variant?.(value) ?? table.rows);
}

function meaningOf(rows: readonly RegisterRow[], { name }: Field, value: bigint): string {
  if (name === RES0) return value === 0n ? 'reserved' : 'reserved, should be zero';
  if (name === RES1) return value === 0n ? 'reserved, should be one' : 'reserved';
  const means = rows.find((row) => row.name === name)?.means;
  if (typeof means === 'function') return means(value);
  return means === undefined ? `0x${value.toString(16)}` : means[Number(value)] ?? 'reserved';
}

export function explainRegister(name: string, value: bigint): Outcome<readonly ExplainedField[]> {
  const rows = rowsFor(name, value);
  if (rows.kind !== 'done') return rows;
  return done(
    layoutOfRows(rows.value).map((field) => {
      const taken = takeField(field, value);
      return { ...field, value: taken, meaning: meaningOf(rows.value, field, taken) };
    }),
  );
}

/** Values of all named fields. */
export function decodeRegister(name: string, value: bigint): Outcome<Readonly<Record<string, bigint>>> {
  const rows = rowsFor(name, value);
  if (rows.kind !== 'done') return rows;
  const named = layoutOfRows(rows.value).filter((field) => !isReserved(field));
  return done(Object.fromEntries(named.map((field) => [field.name, takeField(field, value)])));
}

/** The value as a field's; undefined where it does not fit. */
function fitted(field: Field, given: bigint | number): bigint | undefined {
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  const value = BigInt(given);
  return value < 0n || value >= 1n << BigInt(fieldWidth(field)) ? undefined : value;
}

/** RES1 bits are set. The variant (PAR_EL1.F, ESR_ELx.EC) follows from the fields given. */
export function encodeRegister(name: string, fields: Readonly<Record<string, bigint | number>>): Outcome<bigint> {
  const table = TABLES.get(name);
  if (table === undefined) return refused('register.unknown', `Register ${name} is not known.`, SOURCE);
  const given = Object.entries(fields);
  const find = (layout: readonly Field[], key: string): Field | undefined => layout.find((each) => each.name === key && !isReserved(each));
  const base = layoutOfRows(table.rows);
  const hint = given.reduce((word, [key, value]) => {
    const field = find(base, key);
    return field === undefined ? word : word | placeField(field, fitted(field, value) ?? 0n);
  }, 0n);
  const layout = layoutOfRows(table.variant?.(hint) ?? table.rows);
  let word = layout.filter(({ name: each }) => each === RES1).reduce((sum, field) => sum | placeField(field, -1n), 0n);
  for (const [key, each] of given) {
    const field = find(layout, key);
    if (field === undefined) return refused('register.unknown-field', `${name} has no field ${key}.`, SOURCE);
    const value = fitted(field, each);
    if (value === undefined) {
      return refused('register.value-too-wide', `Value ${each} does not fit ${name}.${key}, ${fieldWidth(field)} bits wide.`, SOURCE);
    }
    word |= placeField(field, value);
  }
  return done(word);
}
