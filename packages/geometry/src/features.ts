import type { Granule } from './granule.js';
import { refuse, type Refused } from './refusal.js';

/** What an implementation has, as far as sizes depend on it. What is left out is not implemented; of the granules, all are. */
export interface GeometryFeatures {
  /** Granules implemented at this stage: ID_AA64MMFR0_EL1.TGran4, TGran16, TGran64 (stage 2: TGran4_2 …). Default: all three. */
  readonly granules?: readonly Granule[];
  /** FEAT_LPA: 52-bit output addresses with 64K pages. FEAT_LPA2 implies it. */
  readonly lpa?: boolean;
  /** FEAT_LPA2 for this granule and stage: 52-bit input and output addresses with 4K or 16K pages. */
  readonly lpa2?: boolean;
  /** FEAT_LVA: 52-bit VA with 64K pages. */
  readonly lva?: boolean;
  /** FEAT_TTST: input addresses of fewer than 25 bits, and start level 3 with 4K pages at stage 2. */
  readonly ttst?: boolean;
}

/** The sizes that ID_AA64MMFR0_EL1.PARange and the PS fields name; a table, not a formula. 56 (FEAT_D128) is not covered. */
export const PA_RANGES: readonly number[] = [32, 36, 40, 42, 44, 48, 52];

/** Largest address, input or output, of 4K and 16K tables without LPA2. */
export const PLAIN_BITS = 48;

/** Largest address of any table. */
export const MAX_BITS = 52;

export function granuleProblem(granule: Granule, features: GeometryFeatures): Refused | undefined {
  if (features.granules?.includes(granule) ?? true) return undefined;
  const sentence = `the implementation has no ${granule} granule at this stage`;
  return refuse('granule-not-implemented', sentence, 'DDI 0487, ID_AA64MMFR0_EL1.TGran4/TGran16/TGran64 and TGran4_2/TGran16_2/TGran64_2');
}

function paRangeProblem(field: string, bits: number): Refused | undefined {
  if (PA_RANGES.includes(bits)) return undefined;
  const sentence = `${field} is ${bits}; a physical address size is 32, 36, 40, 42, 44, 48 or 52 bits`;
  return refuse('pa-not-a-parange', sentence, 'DDI 0487, ID_AA64MMFR0_EL1.PARange');
}

/** The PS field may name more than the machine has; it then acts as what it has. */
export function oaProblem(oaBits: number): Refused | undefined {
  return paRangeProblem('oaBits', oaBits);
}

export function paProblem(paBits: number, features: GeometryFeatures): Refused | undefined {
  if (paBits === MAX_BITS && !(features.lpa ?? false) && !(features.lpa2 ?? false)) {
    return refuse('needs-lpa', 'paBits is 52, which needs FEAT_LPA', 'DDI 0487, ID_AA64MMFR0_EL1.PARange');
  }
  return paRangeProblem('paBits', paBits);
}

/** The smallest physical address size that is not below 48 and holds an address of that many bits. */
export function defaultPaBits(iaBits: number): number {
  return iaBits > PLAIN_BITS ? MAX_BITS : PLAIN_BITS;
}

/** @param what who needs it: `a 52-bit IPA`, `start level -1` */
export function lpa2Problem(what: string, granule: Granule): Refused {
  const sentence = `${what} with ${granule} pages needs FEAT_LPA2 and DS = 1`;
  return refuse('needs-lpa2', sentence, 'DDI 0487, TCR_EL1.DS and VTCR_EL2.DS');
}

/** The smallest input address: T0SZ at most 39; with FEAT_TTST 48, or 47 with 64K pages. */
export function smallestInput(granule: Granule, ttst: boolean): number {
  if (!ttst) return 25;
  return granule === '64K' ? 17 : 16;
}

/** Bounds of an input address size that hold at both stages. @param what `VA` or `IPA` */
export function inputProblem(what: 'VA' | 'IPA', bits: number, granule: Granule, features: GeometryFeatures): Refused | undefined {
  const least = smallestInput(granule, true);
  if (!Number.isInteger(bits) || bits < least || bits > MAX_BITS) {
    const sentence = `${what} size is ${bits}; with ${granule} pages it is ${least} to ${MAX_BITS} bits`;
    return refuse(`${what.toLowerCase()}-out-of-range`, sentence, 'DDI 0487, TCR_EL1.T0SZ and VTCR_EL2.T0SZ; AArch64.MaxTxSZ');
  }
  if (bits < smallestInput(granule, features.ttst ?? false)) {
    const sentence = `a ${bits}-bit ${what} is T0SZ = ${64 - bits}; T0SZ above 39 needs FEAT_TTST`;
    return refuse('needs-ttst', sentence, 'DDI 0487, AArch64.MaxTxSZ');
  }
  return undefined;
}

export interface DsRequest {
  readonly granule: Granule;
  readonly features: GeometryFeatures;
  /** The register's bit, where it is given. */
  readonly ds: boolean | undefined;
  /** The bit that is taken where none is given and the feature is there. */
  readonly wanted: boolean;
}

/** Whether LPA2 descriptors are in force, or why they cannot be. */
export function effectiveDs({ granule, features, ds, wanted }: DsRequest): boolean | Refused {
  if (granule === '64K') return false;
  const lpa2 = features.lpa2 ?? false;
  if (ds === true && !lpa2) {
    return refuse('needs-lpa2', `DS = 1 with ${granule} pages needs FEAT_LPA2`, 'DDI 0487, TCR_EL1.DS and VTCR_EL2.DS');
  }
  return ds ?? (lpa2 && wanted);
}

/** The output address size in force: PS, at most the physical address size, at most 48 unless 64K or DS (AArch64.EffectivePS). */
export function effectiveOaBits(granule: Granule, ds: boolean, oaBits: number, paBits: number): number {
  return Math.min(oaBits, paBits, granule === '64K' || ds ? MAX_BITS : PLAIN_BITS);
}
