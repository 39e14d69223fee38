import { align, isZero, slice } from './bits.js';
import type { TwinFeatures } from './machine.js';
import type { S1Params, S2Params } from './params.js';

/** What both stages' parameters say about addresses. */
export interface AddressParams {
  readonly tgx: number;
  readonly txsz: number;
  readonly ps: number;
  readonly ds: boolean;
}

export const FINAL_LEVEL = 3;
export const strideOf = (tgx: number): number => tgx - 3;
export const iaSize = ({ txsz }: AddressParams): number => 64 - txsz;

/** AArch64.PhysicalAddressSize: PS, clamped to what is implemented. */
export function physicalAddressSize({ paMax }: TwinFeatures, { ps, tgx, ds }: AddressParams): number {
  const said = [32, 36, 40, 42, 44, 48, 52][ps];
  return Math.min(said, tgx === 16 || ds ? Math.min(52, paMax) : Math.min(48, paMax));
}

/** AArch64.OAOutOfRange. */
export function oaOutOfRange(features: TwinFeatures, params: AddressParams, address: bigint): boolean {
  return !isZero(address, 55, physicalAddressSize(features, params));
}

/** AArch64.S1MinTxSZ. */
export const s1MinTxSZ = ({ lva }: TwinFeatures, { tgx, ds }: AddressParams): number => (ds || (tgx === 16 && lva) ? 12 : 16);

/** AArch64.MaxTxSZ. */
export function maxTxSZ({ ttst }: TwinFeatures, tgx: number): number {
  if (!ttst) return 39;
  return tgx === 16 ? 47 : 48;
}

/** AArch64.S2MinTxSZ, EL1 in AArch64. */
export function s2MinTxSZ({ paMax }: TwinFeatures, { tgx, ds }: AddressParams): number {
  return 64 - (paMax >= 52 ? (tgx === 16 || ds ? 52 : 48) : paMax);
}

/** AArch64.S1StartLevel. */
export function s1StartLevel(params: S1Params): number {
  return FINAL_LEVEL - Math.floor((iaSize(params) - 1 - params.tgx) / strideOf(params.tgx));
}

/** AArch64.S2StartLevel. */
export function s2StartLevel({ tgx, sl0, sl2 }: S2Params): number {
  if (tgx === 12) return sl2 ? -1 : [2, 1, 0, 3][sl0];
  return 3 - sl0;
}

/** AArch64.S2InvalidSL. */
export function s2InvalidSL({ paMax, ttst }: TwinFeatures, { tgx, sl0, sl2, ds }: S2Params): boolean {
  if (tgx === 12 && sl2) return sl0 !== 0 || paMax < 52;
  switch (tgx) {
    case 12:
      return (sl0 === 2 && paMax < 44) || (sl0 === 3 && !ttst);
    case 14:
      return (sl0 === 2 && paMax < 42) || (sl0 === 3 && (!ds || paMax < 52));
    default:
      return (sl0 === 2 && paMax < 44) || sl0 === 3;
  }
}

/** AArch64.S2InconsistentSL: at least one bit for the start level, at most its own and 4 for concatenated tables. */
export function s2InconsistentSL(params: S2Params): boolean {
  const stride = strideOf(params.tgx);
  const least = (FINAL_LEVEL - s2StartLevel(params)) * stride + params.tgx + 1;
  return iaSize(params) < least || iaSize(params) > least + (stride - 1) + 4;
}

/** AArch64.S1TTBaseAddress, AArch64.S2TTBaseAddress. */
export function ttBaseAddress({ lpa }: TwinFeatures, params: AddressParams, startLevel: number, ttbr: bigint): bigint {
  const { tgx, ds, ps } = params;
  const resolved = (FINAL_LEVEL - startLevel) * strideOf(tgx) + tgx;
  const size = iaSize(params) - resolved + 3;
  if (ds || (tgx === 16 && ps === 6 && lpa)) {
    const base = (slice(ttbr, 5, 2) << 48n) | (slice(ttbr, 47, 6) << 6n);
    return align(base, Math.max(size, 6));
  }
  return align(slice(ttbr, 47, 1) << 1n, size);
}

/** AArch64.TTEntryAddress. The start level of stage 2 has up to 4 bits more than one table. */
export function ttEntryAddress(params: AddressParams, level: number, startLevel: number, ia: bigint, base: bigint): bigint {
  const stride = strideOf(params.tgx);
  const lsb = (FINAL_LEVEL - level) * stride + params.tgx;
  const msb = level === startLevel ? iaSize(params) - 1 : lsb + stride - 1;
  return base | (slice(ia, msb, lsb) << 3n);
}

/** AArch64.NextTableBase, AArch64.LeafBase: the address bits of a descriptor above `size`. */
export function descriptorBase({ paMax }: TwinFeatures, { tgx, ds }: AddressParams, descriptor: bigint, size: number): bigint {
  const low = align(slice(descriptor, 47, 0), size);
  if (tgx === 16 && paMax >= 52) return low | (slice(descriptor, 15, 12) << 48n);
  if (ds) return low | (slice(descriptor, 9, 8) << 50n) | (slice(descriptor, 49, 48) << 48n);
  return low;
}

/** TranslationSize. */
export const translationSize = (tgx: number, level: number): number => tgx + (FINAL_LEVEL - level) * strideOf(tgx);

/** AArch64.BlockDescSupported. */
function blockDescSupported({ paMax }: TwinFeatures, { tgx, ds }: AddressParams, level: number): boolean {
  if (level === 2) return true;
  if (tgx === 12) return level === 1 || (level === 0 && ds);
  return level === 1 && (tgx === 14 ? ds : paMax >= 52);
}

/** AArch64.DecodeDescriptorType. */
export function decodeDescriptorType(features: TwinFeatures, params: AddressParams, descriptor: bigint, level: number): 'invalid' | 'table' | 'leaf' {
  const low = descriptor & 3n;
  if ((low & 1n) === 0n) return 'invalid';
  if (level === FINAL_LEVEL) return low === 3n ? 'leaf' : 'invalid';
  if (low === 3n) return 'table';
  return blockDescSupported(features, params, level) ? 'leaf' : 'invalid';
}
