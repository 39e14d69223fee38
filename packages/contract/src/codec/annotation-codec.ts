import { bigintHigh, bigintLow, toBigint } from '@granule/geometry/bits';
import { done, refused, type Outcome } from '../outcome.js';
import type { Words } from '../words.js';

/**
 * Notes in invalid entries as Linux on arm64 keeps them, of which hardware sees bit 0 alone: type in bits 63:60, value in 59:1 (kvm_pgtable.h,
 * KVM_INVALID_PTE_TYPE_MASK, KVM_INVALID_PTE_ANNOT_MASK).
 */
const SOURCE = 'Linux kvm_pgtable.h KVM_INVALID_PTE_TYPE_MASK, KVM_INVALID_PTE_ANNOT_MASK';

/** KVM_INVALID_PTE_LOCKED: type 1, no value. */
export const LOCKED: Readonly<Words> = Object.freeze({ lo: 0, hi: 0x1000_0000 });

/** Linux: enum kvm_invalid_pte_type. */
export const ANNOTATION_TYPES = ['none', 'LOCKED: break-before-make in progress', 'HOST_DONATION', 'GUEST_POISONED'] as const;

/** Refused: `annotation.type`, `annotation.value`. */
export function encodeAnnotation(type: number, value: bigint): Outcome<Words> {
  if (!Number.isInteger(type) || type < 1 || type > 15) {
    return refused('annotation.type', `Annotation type ${type} is not an integer from 1 to 15.`, SOURCE);
  }
  if (value < 0n || value >= 1n << 59n) {
    return refused('annotation.value', `Annotation value ${value} does not fit the 59 bits 59:1.`, SOURCE);
  }
  const word = (BigInt(type) << 60n) | (value << 1n);
  return done({ lo: bigintLow(word), hi: bigintHigh(word) });
}

export function decodeAnnotation(lo: number, hi: number): { readonly type: number; readonly value: bigint } {
  return { type: hi >>> 28, value: (toBigint(lo, hi) >> 1n) & ((1n << 59n) - 1n) };
}
