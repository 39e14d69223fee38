import type { NestedState } from '@granule/contract';
import type { Granule, Level } from '@granule/geometry';

/** VTCR_EL2.TG0 (DDI 0487 VTCR_EL2). */
export const TG0: Readonly<Record<Granule, number>> = { '4K': 0, '64K': 1, '16K': 2 };

/** Where KVM's walk starts with SL0 = 0 (DDI 0487 VTCR_EL2.SL0, without TTST and LPA2). */
const DEEPEST: Readonly<Record<Granule, number>> = { '4K': 2, '16K': 3, '64K': 3 };

/** PS of 48-bit output addresses. */
const PS_48 = 5;

export interface Vtcr {
  readonly granule: Granule;
  /** 64 − T0SZ. */
  readonly inputBits: number;
  readonly startLevel: number;
  /** The field, 0 … 7. */
  readonly ps?: number;
  readonly ha?: boolean;
  /** The field, where it is not that of the granule. */
  readonly tg0?: number;
}

/** VTCR_EL2 with these fields, legal or not. */
export function vtcrOf({ granule, inputBits, startLevel, ps = PS_48, ha = false, tg0 = TG0[granule] }: Vtcr): bigint {
  const sl0 = DEEPEST[granule] - startLevel;
  return BigInt(64 - inputBits) | (BigInt(sl0) << 6n) | (BigInt(tg0) << 14n) | (BigInt(ps) << 16n) | (BigInt(ha) << 21n) | (1n << 31n);
}

export function vttbrOf(vmid: number, base: number, cnp = false): bigint {
  return (BigInt(vmid) << 48n) | BigInt(base) | BigInt(cnp);
}

/** Operand of TLBI IPAS2E1 and its like: IPA[47:12], with a level hint where one is given (DDI 0487 TLBI IPAS2E1IS). */
export function byIpa(ipa: number, ttl?: { readonly granule: Granule; readonly level: Level | 0 }): bigint {
  const tag = ttl === undefined ? 0 : (TTL_GRANULE[ttl.granule] << 2) + ttl.level;
  return BigInt(Math.floor(ipa / 4096)) | (BigInt(tag) << 44n);
}

/** TTL[3:2] and TG of range operations (DDI 0487 TLBI RIPAS2E1IS). */
const TTL_GRANULE: Readonly<Record<Granule, number>> = { '4K': 1, '16K': 2, '64K': 3 };
const PAGE_SHIFT: Readonly<Record<Granule, number>> = { '4K': 12, '16K': 14, '64K': 16 };

/** Operand of TLBI RIPAS2E1: (num + 1) · 2^(5 · scale + 1) pages from `start`. `tg`: the field, where it is not that of the granule. */
export function byRange(start: number, { granule, num, scale, tg = TTL_GRANULE[granule] }: RangeOperand): bigint {
  return BigInt(start / 2 ** PAGE_SHIFT[granule]) | (BigInt(num) << 39n) | (BigInt(scale) << 44n) | (BigInt(tg) << 46n);
}

export interface RangeOperand {
  readonly granule: Granule;
  readonly num: number;
  readonly scale: number;
  readonly tg?: number;
}

/** ESR_EL2 of a stage-2 abort of a lower level (DDI 0487 ESR_EL2): EC, IL, WnR, and a status code. */
export function abortSyndrome({ fetch, write, permission }: { readonly fetch: boolean; readonly write: boolean; readonly permission: boolean }): bigint {
  const statusCode = (permission ? 0x0c : 0x04) + 3;
  return ((fetch ? 0x20n : 0x24n) << 26n) | (1n << 25n) | (write ? 1n << 6n : 0n) | BigInt(statusCode);
}

/** The registers of a guest hypervisor that runs a guest with its stage 2 off: VTCR_EL2 and BADDR are left from anything. */
export function stage2Off(vmid: number, base = 0): NestedState {
  return { vttbr: vttbrOf(vmid, base), vtcr: 0n, stage2: false };
}
