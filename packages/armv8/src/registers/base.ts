import { refused, type Refused } from '@granule/contract';
import type { TableGeometry } from '@granule/geometry';
import { hex, type OutputAddress } from '@granule/geometry/bits';

const SOURCE = 'DDI 0487 TTBR0_EL1.BADDR, VTTBR_EL2.BADDR';

/** Whether bits [5:2] of a base register are address bits 51:48: where tables can name 52-bit addresses. */
export function wideBase(geometry: TableGeometry): boolean {
  return geometry.oaBits === 52 || geometry.ds;
}

/**
 * Address of the entry table that TTBRn or VTTBR names. Bits below the table's alignment are RES0 and read as zero; ASID, VMID and CnP are
 * not address.
 */
export function baseAddress(register: bigint, geometry: TableGeometry): OutputAddress {
  const wide = wideBase(geometry);
  const alignment = BigInt(wide ? Math.max(64, geometry.entryAlignment) : geometry.entryAlignment);
  const low = register & ((1n << 48n) - 1n) & ~(alignment - 1n);
  const high = wide ? ((register >> 2n) & 0xfn) << 48n : 0n;
  return Number(high | low);
}

/** The BADDR bits of a base register. Refused: `registers.root-not-aligned`, `registers.root-too-large`. */
export function encodeBase(root: OutputAddress, geometry: TableGeometry): bigint | Refused {
  const alignment = wideBase(geometry) ? Math.max(64, geometry.entryAlignment) : geometry.entryAlignment;
  if (!Number.isSafeInteger(root) || root < 0 || root >= 2 ** geometry.oaBits) {
    return refused('registers.root-too-large', `Root ${root} is not an address of ${geometry.oaBits} bits.`, SOURCE);
  }
  if (root % alignment !== 0) {
    const sentence = `Root ${hex(root)} is not aligned to the ${alignment} bytes that its entry table of ${
      geometry.entryBytes
    } bytes needs.`;
    return refused('registers.root-not-aligned', sentence, SOURCE);
  }
  const word = BigInt(root);
  return (word & ((1n << 48n) - 1n)) | ((word >> 48n) << 2n);
}
