import type { Backend, TableMemory } from '@granule/contract';
import { high32, type InputAddress, low32, type OutputAddress } from '@granule/geometry/bits';
import type { Tables } from '@granule/pgtable';
import { addressDigits, wordDigits } from './digits.js';

/** One translation table of an image: what a walk needs, and where it comes from. */
export interface RegimeTables extends Tables {
  /** As it was asked for: `s2`, `el10`, or a name listed in the registers file. */
  readonly name: string;
  /** The registers or the note that named it: `VTTBR_EL2/VTCR_EL2`. */
  readonly from: string;
  readonly backend: Backend;
  /** Stage 2 that the addresses of these tables, and what they translate to, go through; absent: they are physical. */
  readonly through?: RegimeTables;
  /** SCTLR_ELx.WXN: what can be written cannot be executed. */
  readonly wxn: boolean;
  /** TCR_ELx.HA, VTCR_EL2.HA: hardware sets the access flag. */
  readonly hardwareAccessFlag: boolean;
  /** TCR_ELx.TBI of this range: bits 63:56 of an address are ignored. */
  readonly topByteIgnored: boolean;
}

/** Text of an input address. */
export type AddressPrinter = (address: InputAddress) => string;

/** Bits 63:52 of an upper-range address, in its high half. */
const TOP_12 = 0xfff0_0000;

/**
 * How input addresses of these tables print. Inside, an upper-range address is the offset from the range's start, 2^64 − 2^iaBits; it
 * prints as the whole address. The end of the upper range prints as 2^64, 17 digits.
 */
export function addressPrinter(tables: Tables): AddressPrinter {
  const { format } = tables;
  if (!format.upper) {
    return addressDigits;
  }
  const start = 2 ** 52 - 2 ** format.geometry.iaBits;
  return (address) => {
    const low = start + address;
    return low === 2 ** 52 ? '0x10000000000000000' : wordDigits(low32(low), high32(low) + TOP_12);
  };
}

/** What these tables translate, in Arm's words. */
export function inputName(tables: Tables): 'VA' | 'IPA' {
  return tables.format.stage === 1 ? 'VA' : 'IPA';
}

/** What they translate to: PA, or IPA where a second stage follows. */
export function outputName(tables: RegimeTables): 'PA' | 'IPA' {
  return tables.through === undefined ? 'PA' : 'IPA';
}

/** Address of the 8 bytes at this word. */
export function addressOfWord(memory: TableMemory, word: number, pageShift: number): OutputAddress {
  return memory.addressOf(word) + (word % 2 ** (pageShift - 2)) * 4;
}
