import type { Outcome } from '@granule/contract';
import { done } from '@granule/contract';
import { hex, type OutputAddress } from '@granule/geometry/bits';
import { refuse } from '../errno.js';

/** Addresses of the kernel's linear map are offsets from the start of the upper VA range, 2^64 − 2^vaBits. */
export interface HypLayoutInput {
  /** VA bits in use: the larger of the kernel's own and those that an identity map of the kernel needs. */
  readonly vaBits: number;
  /** Physical address of the code that runs identity-mapped, page-aligned down. */
  readonly idmap: OutputAddress;
  /** Linear addresses of the first byte of RAM, and of the first beyond it (high_memory). */
  readonly linear: { readonly start: number; readonly end: number };
  /** Bits between the linear map and the top bit: with CONFIG_RANDOMIZE_BASE any value, here a number below 1; absent: zero. */
  readonly random?: number;
}

/** Where EL2 sees the kernel's linear map: its low `tagLsb` bits, under a tag. */
export interface HypLayout {
  readonly vaBits: number;
  readonly idmap: OutputAddress;
  readonly tagLsb: number;
  readonly tag: number;
}

/**
 * The tag: its top bit is the inverse of the identity map's, so that the two are in different halves; between it and the bits that the linear map needs
 * there may be random ones. Refused: `hyp.idmap-conflict` where the identity map lies inside the linear range all the same.
 * Sources: Linux arch/arm64/kvm/va_layout.c kvm_compute_layout; kvm_mmu_init.
 */
export function hypLayout({ vaBits, idmap, linear, random = 0 }: HypLayoutInput): Outcome<HypLayout> {
  const top = 2 ** (vaBits - 1);
  const tagLsb = lastDifferingBit(linear.start, linear.end - 1);
  const free = vaBits - 1 - tagLsb;
  const half = tagLsb < vaBits && Math.floor(idmap / top) % 2 === 0 ? top : 0;
  const tag = half + (free > 0 ? Math.floor(random * 2 ** free) * 2 ** tagLsb : 0);
  const layout = { vaBits, idmap, tagLsb, tag };
  const [first, last] = [hypAddress(layout, linear.start), hypAddress(layout, linear.end - 1)];
  if (idmap >= first && idmap < last) {
    const sentence = `The identity map at ${hex(idmap)} lies inside the hyp linear range ${hex(first)}-${hex(last + 1)}.`;
    return refuse('hyp.idmap-conflict', sentence, 'Linux kvm_mmu_init: -EINVAL');
  }
  return done(layout);
}

/** Number of the highest bit in which two addresses differ, plus one (fls64 of their exclusive or). */
function lastDifferingBit(a: number, b: number): number {
  let bits = 0;
  for (let [x, y] = [a, b]; x !== y; x = Math.floor(x / 2), y = Math.floor(y / 2)) {
    bits += 1;
  }
  return bits;
}

/** kern_hyp_va of a linear address. */
export function hypAddress({ tagLsb, tag }: Pick<HypLayout, 'tagLsb' | 'tag'>, linear: number): number {
  return tag + (linear % 2 ** tagLsb);
}
