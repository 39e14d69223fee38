import type { ExplainedField } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import pc from 'picocolors';

/** An absent answer would leave the choice to picocolors, which colours a pipe where CI or FORCE_COLOR is set. */
const terminal: boolean | undefined = process.stdout.isTTY;
const { NO_COLOR = '', TERM } = process.env;

/** Colours on a terminal alone, and not where NO_COLOR is set and not empty; everything a verb prints goes through here. */
export const colour = pc.createColors((terminal ?? false) && NO_COLOR === '' && TERM !== 'dumb');

export function print(text: string): void {
  process.stdout.write(text);
}

export function printBytes(bytes: Uint8Array): void {
  process.stdout.write(bytes);
}

export function printLines(lines: readonly string[]): void {
  print(`${lines.join('\n')}\n`);
}

export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Bits of a field: `54:53`, `10`. */
export function bitsOf({ msb, lsb }: ExplainedField): string {
  return msb === lsb ? `${msb}` : `${msb}:${lsb}`;
}

/** Fields as a table: bits, name, value, meaning. */
export function fieldRows(fields: readonly ExplainedField[], indent = ''): readonly string[] {
  const name = Math.max(4, ...fields.map((field) => field.name.length));
  const value = Math.max(3, ...fields.map((field) => field.value.toString(16).length + 2));
  return fields.map((field) => {
    const row = `${indent}${bitsOf(field).padStart(5)}  ${field.name.padEnd(name)}  ${hex(field.value, 1).padEnd(value)}  ${field.meaning}`;
    const quiet = field.value === 0n || /^(?:RES|IGNORED)/i.test(field.name);
    return quiet ? colour.dim(row) : row;
  });
}

export function fieldJson(fields: readonly ExplainedField[]): unknown {
  return fields.map(({ name, msb, lsb, value, meaning, clause }) => ({ name, msb, lsb, value: hex(value, 1), meaning, clause }));
}
