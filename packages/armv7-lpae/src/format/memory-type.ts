import type { MemoryType, Shareability } from '@granule/contract';

/**
 * ARMv7 has Strongly-ordered and Device memory, which ARMv8 names Device-nGnRnE and Device-nGnRE. The two encodings behind them are
 * UNPREDICTABLE in ARMv7 and Device-nGRE, Device-GRE for an AArch32 guest of an ARMv8 PE; they are read as the latter.
 */
const DEVICE: readonly MemoryType[] = ['device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE'];

type Cacheability = 'nc' | 'wt' | 'wb';

function normal(outer: Cacheability, inner: Cacheability): MemoryType {
  if (outer !== inner) return `normal-${outer}-${inner}`;
  return outer === 'wb' ? 'normal' : `normal-${outer}`;
}

/** MemAttr[3:2] and [1:0] for Normal memory; 0 is Device or reserved. */
const STAGE2_CACHEABILITY: readonly (Cacheability | undefined)[] = [undefined, 'nc', 'wt', 'wb'];

/** Stage-2 MemAttr 0…15 (DDI 0406C B3.8, Long-descriptor format, stage 2). */
export const STAGE2_MEMORY: readonly MemoryType[] = Array.from({ length: 16 }, (_, attribute) => {
  const outer = STAGE2_CACHEABILITY[attribute >> 2];
  if (outer === undefined) return DEVICE[attribute];
  const inner = STAGE2_CACHEABILITY[attribute & 3];
  return inner === undefined ? 'reserved' : normal(outer, inner);
});

/** Cacheability of a MAIR nibble other than 0; allocation and transient hints are dropped. */
function nibbleCacheability(nibble: number): Cacheability {
  if (nibble === 0b0100) return 'nc';
  return (nibble & 0b0100) === 0 ? 'wt' : 'wb';
}

/** One MAIRn or HMAIRn byte by name (DDI 0406C B4.1, MAIR0). */
export function mairMemory(byte: number): MemoryType {
  const outer = byte >> 4;
  const inner = byte & 0xf;
  if (outer === 0) return (inner & 0b0011) === 0 ? DEVICE[inner >> 2] : 'reserved';
  return inner === 0 ? 'reserved' : normal(nibbleCacheability(outer), nibbleCacheability(inner));
}

/** Attr<index> of MAIR1:MAIR0, 0 … 255. */
export function mairByte(mair: bigint, index: number): number {
  return Number((mair >> BigInt(8 * index)) & 0xffn);
}

/** SH[1:0] (DDI 0406C B3.8, Shareability, Long-descriptor format). */
export const SHAREABILITY: readonly Shareability[] = ['non', 'reserved', 'outer', 'inner'];
