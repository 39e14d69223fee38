import { checkAddress } from './address.js';

const WORD = /^(?:0x[0-9a-f]+(?:_[0-9a-f]+)*|[0-9]+(?:_[0-9]+)*)$/i;
const SIZE = /^([0-9]+(?:_[0-9]+)*)([kmgt])$/i;
const UNITS = ['', 'K', 'M', 'G', 'T'] as const;

/**
 * `0x` and zero-padded lower-case digits. Domain: integers 0 … 2^53 − 1, or any bigint from 0; more digits than asked for are printed,
 * never cut.
 */
export function hex(a: number | bigint, digits = 16): string {
  return `0x${a.toString(16).padStart(digits, '0')}`;
}

/** A 64-bit word from `0x…` or decimal text, digits grouped by single `_` if wanted; undefined for anything else and from 2^64 on. */
export function parseWord(text: string): bigint | undefined {
  if (!WORD.test(text)) return undefined;
  const value = BigInt(text.replaceAll('_', ''));
  return value < 1n << 64n ? value : undefined;
}

/**
 * An address from `0x…` or decimal text, digits grouped by single `_` if wanted; undefined for anything else and above 2^52. Never rounds.
 */
export function parseAddress(text: string): number | undefined {
  const word = parseWord(text);
  if (word === undefined) return undefined;
  const value = Number(word);
  return checkAddress(value) && BigInt(value) === word ? value : undefined;
}

/**
 * A size in bytes, as an address, or as a decimal count of binary units: `4K`, `2M`, `1G`, `1t` (2^10 … 2^40); undefined otherwise and
 * above 2^52.
 */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text);
  if (match === null) return parseAddress(text);
  const count = parseAddress(match[1]);
  if (count === undefined) return undefined;
  const bytes = count * 1024 ** 'kmgt'.indexOf(match[2].toLowerCase()) * 1024;
  return checkAddress(bytes) ? bytes : undefined;
}

/** Bytes in the largest binary unit that divides them: `4K`, `2M`, `1G`, `1536`. Domain: integers 0 … 2^53 − 1. */
export function formatSize(bytes: number): string {
  let unit = 0;
  let count = bytes;
  while (count !== 0 && count % 1024 === 0 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count}${UNITS[unit]}`;
}
