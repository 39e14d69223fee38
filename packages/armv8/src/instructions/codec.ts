import type { Field, InstructionCodec } from '@granule/contract';
import { instructionCodec } from '@granule/contract/codec';
import { fieldWidth, hex } from '@granule/geometry/bits';
import { OPERANDS } from './tables.js';

/** TG of range operations and TTL[3:2] of the others (DDI 0487 C5.5, TLBI VAE1.TTL, TLBI RVAE1.TG). */
const GRANULES = [undefined, '4K', '16K', '64K'] as const;

function ttlMeaning(field: Field, value: bigint): string {
  if (fieldWidth(field) === 2) return value === 0n ? 'no level hint' : `leaf level ${value}`;
  const granule = GRANULES[Number(value >> 2n)];
  return granule === undefined ? 'no level hint' : `leaf level ${value & 3n}, ${granule} granule`;
}

/** Range operations: (NUM + 1) * 2^(5*SCALE + 1) pages. */
function rangePages(operand: bigint): bigint {
  const num = (operand >> 39n) & 31n;
  const scale = (operand >> 44n) & 3n;
  return (num + 1n) << (5n * scale + 1n);
}

function baseMeaning(value: bigint, operand: bigint): string {
  const granule = Number((operand >> 46n) & 3n);
  if (granule === 0) return 'TG is reserved: no address';
  const plain = hex(value << BigInt(10 + 2 * granule));
  return `from ${plain}, or from ${hex(value << 16n)} with 52-bit descriptors (DS = 1)`;
}

function meaning(field: Field, value: bigint, operand: bigint): string | undefined {
  switch (field.name) {
    case 'TTL':
      return ttlMeaning(field, value);
    case 'TG':
      return GRANULES[Number(value)] ?? 'reserved';
    case 'BaseADDR':
      return baseMeaning(value, operand);
    case 'NUM':
      return `${rangePages(operand)} pages with this SCALE`;
    default:
      return undefined;
  }
}

/** Operands of TLBI, AT, DC and IC. Address fields take and give whole byte addresses. */
export const instructions: InstructionCodec = instructionCodec({ operands: OPERANDS, width: 64, source: 'DDI 0487 C5', meaning });
