import { fieldWidth, placeField, takeField } from '@granule/geometry/bits';
import { done, refused, type Outcome } from '../outcome.js';
import type { ExplainedField, Field } from '../words.js';
import { explainFields, fittedBits, isReserved, layoutOf, RES1, reservedMeaning, type Row } from './field-codec.js';

/** A register field: what its values mean, by a table or in words. */
export interface RegisterRow extends Row<undefined> {
  readonly means?: readonly string[] | ((value: bigint) => string);
}

export interface RegisterTable {
  readonly name: string;
  /** Bits; 64 where it is not given. */
  readonly width?: 32 | 64;
  /** Fields in any order; gaps are RES0. */
  readonly rows: readonly RegisterRow[];
  /** Other rows for values of this kind (PAR.F, ESR.EC, TTBCR.EAE). */
  readonly variant?: (value: bigint) => readonly RegisterRow[] | undefined;
}

export type Means = RegisterRow['means'];
export type MeansByField = Readonly<Record<string, Means>>;

/** Rows of one register from `NAME msb[:lsb]` lines, parted by line breaks or `;`. */
export type RowsOf = (register: string, text: string, means?: MeansByField) => readonly RegisterRow[];

/** How a backend writes its rows: the register's description in `document` is the clause of each field. */
export function registerRows(document: string): RowsOf {
  return (register, text, means = {}) =>
    text
      .trim()
      .split(/\s*[;\n]\s*/)
      .map((line) => {
        const [name = '', bits = ''] = line.split(' ');
        const [msb, lsb = msb] = bits.split(':').map(Number);
        const row = { name, msb, lsb, clause: `${document} ${register}.${name}` };
        return means[name] === undefined ? row : { ...row, means: means[name] };
      });
}

/** The part of a `RegisterCodec` that follows from tables alone. */
export interface RegisterFields {
  readonly names: readonly string[];
  /** All bits, most significant first, of the table's own rows; undefined for a register that is not known. */
  readonly layout: (name: string) => readonly Field[] | undefined;
  readonly explain: (name: string, value: bigint) => Outcome<readonly ExplainedField[]>;
  /** Values of all named fields. */
  readonly decode: (name: string, value: bigint) => Outcome<Readonly<Record<string, bigint>>>;
  /** RES1 bits are set. Which variant holds follows from the fields given. */
  readonly encode: (name: string, fields: Readonly<Record<string, bigint | number>>) => Outcome<bigint>;
}

interface Shaped {
  readonly rows: readonly RegisterRow[];
  readonly layout: readonly Field[];
}

function meaningOf(rows: readonly RegisterRow[], field: Field, value: bigint): string {
  const reserved = reservedMeaning(field, value);
  if (reserved !== undefined) return reserved;
  const means = rows.find((row) => row.name === field.name)?.means;
  if (typeof means === 'function') return means(value);
  return means === undefined ? `0x${value.toString(16)}` : means[Number(value)] ?? 'reserved';
}

const named = (layout: readonly Field[], name: string): Field | undefined =>
  layout.find((each) => each.name === name && !isReserved(each));

function encodeFields(
  table: RegisterTable,
  layoutOfRows: (rows: readonly RegisterRow[]) => readonly Field[],
  fields: Readonly<Record<string, bigint | number>>,
  source: string,
): Outcome<bigint> {
  const { name, rows, variant } = table;
  const given = Object.entries(fields);
  const base = layoutOfRows(rows);
  const hint = given.reduce((sum, [key, value]) => {
    const field = named(base, key);
    return field === undefined ? sum : sum | (fittedBits(field, value) ?? 0n);
  }, 0n);
  const layout = layoutOfRows(variant?.(hint) ?? rows);
  let word = layout.filter((field) => field.name === RES1).reduce((sum, field) => sum | placeField(field, -1n), 0n);
  for (const [key, value] of given) {
    const field = named(layout, key);
    if (field === undefined) {
      const sentence = `${name} has no field ${key}${variant === undefined ? '' : ' together with the other fields given'}.`;
      return refused('register.unknown-field', sentence, source);
    }
    const bits = fittedBits(field, value);
    if (bits === undefined) {
      return refused('register.value-too-wide', `Value ${value} does not fit ${name}.${key}, ${fieldWidth(field)} bits wide.`, source);
    }
    word |= bits;
  }
  return done(word);
}

/**
 * Decoder, encoder and explanation of registers from their tables; layouts are made when they are first asked for. Refused:
 * `register.unknown`, `register.too-wide`, `register.unknown-field`, `register.value-too-wide`.
 *
 * @param source where the registers are described: the clause of refusals and of RES0 gaps
 */
export function registerFields(tables: readonly RegisterTable[], source: string): RegisterFields {
  const byName: ReadonlyMap<string, RegisterTable> = new Map(tables.map((table) => [table.name, table]));
  const layouts = new WeakMap<readonly RegisterRow[], readonly Field[]>();

  const shaped = (rows: readonly RegisterRow[], width: 32 | 64 | undefined): Shaped => {
    const layout = layouts.get(rows) ?? layoutOf(rows, undefined, source, width);
    layouts.set(rows, layout);
    return { rows, layout };
  };

  const shapeFor = (name: string, value: bigint): Outcome<Shaped> => {
    const table = byName.get(name);
    if (table === undefined) return refused('register.unknown', `Register ${name} is not known.`, source);
    const { width = 64 } = table;
    if (value < 0n || value >= 1n << BigInt(width)) {
      return refused('register.too-wide', `Value ${value} of ${name} is not a ${width}-bit word.`, source);
    }
    return done(shaped(table.variant?.(value) ?? table.rows, width));
  };

  return {
    names: [...byName.keys()],
    layout: (name) => {
      const table = byName.get(name);
      return table === undefined ? undefined : shaped(table.rows, table.width).layout;
    },
    explain: (name, value) => {
      const found = shapeFor(name, value);
      if (found.kind !== 'done') return found;
      const { rows, layout } = found.value;
      return done(explainFields(layout, value, (field, taken) => meaningOf(rows, field, taken)));
    },
    decode: (name, value) => {
      const found = shapeFor(name, value);
      if (found.kind !== 'done') return found;
      const fields = found.value.layout.filter((field) => !isReserved(field));
      return done(Object.fromEntries(fields.map((field) => [field.name, takeField(field, value)])));
    },
    encode: (name, fields) => {
      const table = byName.get(name);
      if (table === undefined) return refused('register.unknown', `Register ${name} is not known.`, source);
      return encodeFields(table, (rows) => shaped(rows, table.width).layout, fields, source);
    },
  };
}
