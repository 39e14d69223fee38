import type { Features, Registers } from '@granule/contract';
import { bit, fieldReader } from './fields.js';

/** HCR_EL2 as it takes effect on translation (DDI 0487 HCR_EL2; each field's own text says what {E2H, TGE} makes of it). */
export interface Hypervisor {
  readonly e2h: boolean;
  readonly tge: boolean;
  /** VM or DC. */
  readonly stage2: boolean;
  readonly dc: boolean;
  readonly dct: boolean;
  readonly fwb: boolean;
  readonly cd: boolean;
  readonly id: boolean;
  readonly ptw: boolean;
  /** NV and NV1: EL1 is a guest hypervisor. */
  readonly guestHypervisor: boolean;
  /** EL1 is AArch64. */
  readonly rw: boolean;
}

/** With {E2H, TGE} = {1, 1} EL0 belongs to the host, and VM, DC, CD and ID behave as 0; TGE = 1 makes PTW 0. */
export function hypervisor(registers: Registers, features: Partial<Features>): Hypervisor {
  const read = fieldReader(registers, 'HCR_EL2');
  const e2h = bit(read, 'E2H', features.vhe);
  const tge = bit(read, 'TGE');
  const guest = !(e2h && tge);
  const dc = guest && bit(read, 'DC');
  return {
    e2h,
    tge,
    stage2: dc || (guest && bit(read, 'VM')),
    dc,
    dct: dc && bit(read, 'DCT', features.mte),
    fwb: bit(read, 'FWB', features.s2fwb),
    cd: guest && bit(read, 'CD'),
    id: guest && bit(read, 'ID'),
    ptw: !tge && bit(read, 'PTW'),
    guestHypervisor: bit(read, 'NV', features.nv) && bit(read, 'NV1', features.nv),
    rw: registers['HCR_EL2'] === undefined || bit(read, 'RW'),
  };
}
