import type { MemoryType, Shareability } from '@granule/contract';

const DEVICE: readonly MemoryType[] = ['device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE'];

type Cacheability = 'nc' | 'wt' | 'wb';

function normal(outer: Cacheability, inner: Cacheability): MemoryType {
  if (outer !== inner) return `normal-${outer}-${inner}`;
  return outer === 'wb' ? 'normal' : `normal-${outer}`;
}

/** Stage-2 MemAttr[3:2] and [1:0] for Normal memory, S2FWB off; 0 is Device or reserved. */
const STAGE2_CACHEABILITY: readonly (Cacheability | undefined)[] = [undefined, 'nc', 'wt', 'wb'];

/** Stage-2 MemAttr 0…15 with HCR_EL2.FWB = 0 (DDI 0487 D8.6.5, table of MemAttr[3:0]). */
export const STAGE2_MEMORY: readonly MemoryType[] = Array.from({ length: 16 }, (_, attribute) => {
  const outer = STAGE2_CACHEABILITY[attribute >> 2];
  if (outer === undefined) return DEVICE[attribute];
  const inner = STAGE2_CACHEABILITY[attribute & 3];
  return inner === undefined ? 'reserved' : normal(outer, inner);
});

/** Stage-2 MemAttr 0…15 with HCR_EL2.FWB = 1 (DDI 0487 D8.6.6): bit 3 is RES0 and 0b0100 is reserved. */
export const STAGE2_MEMORY_FWB: readonly MemoryType[] = Array.from({ length: 16 }, (_, attribute) => {
  if (attribute < 4) return DEVICE[attribute];
  switch (attribute) {
    case 0b0101:
      return 'normal-nc';
    case 0b0110:
      return 'normal';
    case 0b0111:
      return 'as-stage1';
    default:
      return 'reserved';
  }
});

/** Cacheability of a MAIR nibble other than 0; allocation and transient hints are dropped. */
function nibbleCacheability(nibble: number): Cacheability {
  if (nibble === 0b0100) return 'nc';
  return (nibble & 0b0100) === 0 ? 'wt' : 'wb';
}

/** One MAIR_ELx byte by name (DDI 0487 D23.2, MAIR_EL1.Attr<n>): FEAT_XS and FEAT_MTE2 encodings included. */
export function mairMemory(byte: number): MemoryType {
  const outer = byte >> 4;
  const inner = byte & 0xf;
  if (outer === 0) {
    if ((inner & 0b0010) !== 0) return 'reserved';
    return DEVICE[inner >> 2];
  }
  if (byte === 0x40) return 'normal-nc';
  if (byte === 0xa0) return 'normal-wt';
  if (byte === 0xf0) return 'normal-tagged';
  return inner === 0 ? 'reserved' : normal(nibbleCacheability(outer), nibbleCacheability(inner));
}

/** Attr<index> of a MAIR, 0 … 255. */
export function mairByte(mair: bigint, index: number): number {
  return Number((mair >> BigInt(8 * index)) & 0xffn);
}

/** SH[1:0] (DDI 0487 D8.6.2). */
export const SHAREABILITY: readonly Shareability[] = ['non', 'reserved', 'outer', 'inner'];
