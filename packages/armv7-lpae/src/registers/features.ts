import { NO_FEATURES, type Features, type Registers } from '@granule/contract';
import { PHYSICAL_BITS } from './identification-tables.js';

/**
 * Features from ID_MMFR3: the physical address size (CMemSz; 40 bits where the register is not in the set). Nothing else of what the
 * contract lists is there in ARMv7: 4K pages alone, 8-bit VMIDs, no hardware update of descriptors, every maintenance due.
 */
export function features(registers: Registers): Features {
  const mmfr3 = registers['ID_MMFR3'];
  const size = mmfr3 === undefined ? 2 : Number((mmfr3 >> 24n) & 0xfn);
  return { ...NO_FEATURES, paBits: PHYSICAL_BITS[Math.min(size, PHYSICAL_BITS.length - 1)] };
}
