import type { Features, Registers } from '@granule/contract';
import { PHYSICAL_BITS } from './identification-tables.js';

/**
 * Features from ID_MMFR3: the physical address size (CMemSz; 40 bits where the register is not in the set). Nothing else of what the
 * contract lists is there in ARMv7: 4K pages alone, 8-bit VMIDs, no hardware update of descriptors, every maintenance due.
 */
export function features(registers: Registers): Features {
  const mmfr3 = registers['ID_MMFR3'];
  const size = mmfr3 === undefined ? 2 : Number((mmfr3 >> 24n) & 0xfn);
  return {
    paBits: PHYSICAL_BITS[Math.min(size, PHYSICAL_BITS.length - 1)],
    granules1: ['4K'],
    granules2: ['4K'],
    lpa2Granules1: [],
    lpa2Granules2: [],
    lpa: false,
    lva: false,
    ttst: false,
    xnx: false,
    s2fwb: false,
    ttl: false,
    tlbirange: false,
    hpds: false,
    hpds2: false,
    haf: false,
    hdbs: false,
    pan: false,
    pan3: false,
    e0pd: false,
    vhe: false,
    xs: false,
    cnp: false,
    bti: false,
    bbm: 0,
    idc: false,
    dic: false,
    vmidBits: 8,
  };
}
