import type { MemoryType } from '@granule/contract';
import { DEVICE_MEMORY, plainMairMemory } from '@granule/contract/codec';

/** Stage-2 MemAttr 0…15 with HCR_EL2.FWB = 1 (DDI 0487 D8.6.6): bit 3 is RES0 and 0b0100 is reserved. */
export const STAGE2_MEMORY_FWB: readonly MemoryType[] = Array.from({ length: 16 }, (_, attribute) => {
  if (attribute < 4) return DEVICE_MEMORY[attribute];
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

/** What FEAT_XS and FEAT_MTE2 add to the bytes of a MAIR: Normal memory. */
const EXTENDED: ReadonlyMap<number, MemoryType> = new Map([
  [0x40, 'normal-nc'],
  [0xa0, 'normal-wt'],
  [0xf0, 'normal-tagged'],
]);

/** One MAIR_ELx byte by name (DDI 0487 D24.2, MAIR_EL1.Attr<n>). Bit 0 of a Device byte says that it has no XS attribute (FEAT_XS). */
export function mairMemory(byte: number): MemoryType {
  return EXTENDED.get(byte) ?? plainMairMemory(byte < 0x10 ? byte & ~1 : byte);
}
