import type { RangeControl, Stage1Control } from '@granule/contract';
import { highFrom, lowFrom } from './levels.js';
import { rightsBy, type Rights } from './rights.js';
import { tablesOf, type Tables } from './tables.js';

/** Bits 55:32 and 63:32 of an address, as a high half: what is looked at where the top byte is ignored, and where it is not. */
const BELOW_TOP_BYTE = 0x00ffffff;
const ALL = ~0;

/** Bits of the high half of an address that a range of 2^from bytes has alike, up to bit 55 or 63. */
export function topHigh(from: number, topByteIgnored: boolean): number {
  return highFrom(from) & (topByteIgnored ? BELOW_TOP_BYTE : ALL);
}

/** One of the ranges of input addresses of a regime, as the numbers that find an address in it. */
export interface Range {
  readonly tables: Tables | undefined;
  /** 1: no walk is allowed; 2: none for an unprivileged access. */
  readonly off: number;
  readonly topByteIgnored: boolean;
  readonly topByteIgnoredFetch: boolean;
  /** Bits that are all 0 in every address of a lower range and all 1 in every address of an upper one; the high ones for data and for fetches. */
  readonly topLo: number;
  readonly topHi: number;
  readonly topHiFetch: number;
  /** Bits of an address that are its offset in the range. */
  readonly offsetLo: number;
  readonly offsetHi: number;
  readonly rights: Rights;
}

/** Bits of what tables limit. */
const LIMIT_BITS = 4;

function rightsOf(tables: Tables | undefined): Rights {
  if (tables === undefined) return rightsBy([], LIMIT_BITS);
  const { ap1, ap2, uxn, pxn, dbm } = tables.slots;
  return rightsBy([ap1, ap2, uxn, pxn, dbm], LIMIT_BITS);
}

export function rangeOf(range: RangeControl, { state, bigEndian }: Stage1Control): Range {
  const { format, iaBits, walkOff, unprivilegedOff, topByteIgnored, topByteIgnoredFetch } = range;
  const wide = state === 'aarch64';
  const tables = format === undefined ? undefined : tablesOf(format, range, bigEndian);
  return {
    tables,
    off: (walkOff ? 1 : 0) | (unprivilegedOff ? 2 : 0),
    topByteIgnored,
    topByteIgnoredFetch,
    topLo: lowFrom(iaBits),
    topHi: wide ? topHigh(iaBits, topByteIgnored) : 0,
    topHiFetch: wide ? topHigh(iaBits, topByteIgnoredFetch) : 0,
    offsetLo: ~lowFrom(iaBits),
    offsetHi: ~highFrom(iaBits),
    rights: rightsOf(tables),
  };
}

/** Whether an address, its halves given, is in a range. */
export function holds({ topLo, topHi, topHiFetch }: Range, lo: number, hi: number, upper: boolean, fetch: 0 | 1): boolean {
  const top = fetch === 0 ? topHi : topHiFetch;
  const ones = upper ? -1 : 0;
  return (((lo ^ ones) & topLo) | ((hi ^ ones) & top)) === 0;
}
