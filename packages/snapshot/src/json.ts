import { done, refused, type Outcome } from '@granule/contract';
import { MAX_ADDRESS, parseWord } from '@granule/geometry/bits';
import * as z from 'zod';
import { jsonErrorAt } from './json-syntax.js';

/** A 64-bit value as `0x…` text. */
export const hexWord = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,16}$/u, 'is not a 64-bit value written as 0x…')
  .meta({ description: 'a 64-bit value, 0x and hexadecimal digits' });

/** An address or size as `0x…` text, at most 2^52. */
export const hexAddress = hexWord.refine((text) => (parseWord(text) ?? 0n) <= BigInt(MAX_ADDRESS), 'is larger than 2^52');

export const wordOf = (text: string): bigint => BigInt(text);
export const addressOf = (text: string): number => Number(BigInt(text));

/**
 * JSON text as what the schema describes. Refused: `json.syntax` with line and column, `json.field` with the path of the first field that is wrong.
 */
export function readJson<T>(text: string, schema: z.ZodType<T>, source: string): Outcome<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refused('json.syntax', `The text is not JSON: ${place(text)}.`, source);
  }
  const result = schema.safeParse(value);
  return result.success ? done(result.data) : refused('json.field', issueSentence(result.error.issues[0], value), source);
}

function place(text: string): string {
  const at = jsonErrorAt(text);
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  const what = at < text.length ? `${JSON.stringify(text[at])} cannot stand` : 'the text ends';
  return `${what} at line ${line}, column ${at - before.lastIndexOf('\n')}`;
}

function issueSentence(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'unrecognized_keys') {
    return `${fieldName([...issue.path, issue.keys[0]])} is not a known field.`;
  }
  if (issue.code === 'invalid_type' && valueAt(value, issue.path) === undefined) {
    return `${fieldName(issue.path)} is missing.`;
  }
  const what = issue.message.startsWith('is ') ? issue.message : `is wrong: ${issue.message}`;
  return `${fieldName(issue.path)} ${what}.`;
}

function fieldName(path: readonly PropertyKey[]): string {
  const name = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return name === '' ? 'The value' : name.replace(/^\./u, '');
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined), value);
}
