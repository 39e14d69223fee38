import type { ControlChoices, Features } from '@granule/contract';
import { GRANULES, PA_RANGES, type GeometryFeatures, type Granule } from '@granule/geometry';

type Stage = 1 | 2;

/** The granule in force: a reserved or unimplemented one acts as an implemented one of the implementation's choice (DDI 0487 TCR_EL1.TG0). */
export function effectiveGranule(named: Granule | undefined, stage: Stage, features: Partial<Features>, choices: ControlChoices): Granule {
  const implemented = (stage === 1 ? features.granules1 : features.granules2) ?? (Object.keys(GRANULES) as Granule[]);
  if (named !== undefined && implemented.includes(named)) return named;
  const order: readonly Granule[] = choices.reservedGranule === 'largest' ? ['64K', '16K', '4K'] : ['4K', '16K', '64K'];
  return order.find((granule) => implemented.includes(granule)) ?? '4K';
}

/** The size that PS or IPS names; the reserved value acts as the largest (DDI 0487 TCR_EL1.IPS). */
export function outputBits(ps: number): number {
  return PA_RANGES[Math.min(ps, PA_RANGES.length - 1)];
}

/** DS is RES0 unless FEAT_LPA2 is implemented for this granule and stage. */
export function effectiveDs(ds: boolean, granule: Granule, stage: Stage, features: Partial<Features>): boolean {
  const lpa2 = (stage === 1 ? features.lpa2Granules1 : features.lpa2Granules2) ?? [];
  return ds && granule !== '64K' && lpa2.includes(granule);
}

export function geometryFeatures(granule: Granule, stage: Stage, features: Partial<Features>): GeometryFeatures {
  const lpa2 = (stage === 1 ? features.lpa2Granules1 : features.lpa2Granules2) ?? [];
  return {
    lpa: features.lpa ?? false,
    lva: features.lva ?? false,
    ttst: features.ttst ?? false,
    lpa2: lpa2.includes(granule),
    ...(stage === 1 ? features.granules1 && { granules: features.granules1 } : features.granules2 && { granules: features.granules2 }),
  };
}

export interface SizeLimits {
  readonly least: number;
  readonly most: number;
}

/**
 * The input address size that TxSZ gives, or undefined where it faults (DDI 0487 AArch64.MaxTxSZ, S1MinTxSZ, S2MinTxSZ). A TxSZ above the largest legal
 * one faults or is clamped; one below the smallest faults always where
 * there are 52-bit input addresses.
 */
export function inputBits(txsz: number, { least, most }: SizeLimits, wide: boolean, choices: ControlChoices): number | undefined {
  const bits = 64 - txsz;
  if (bits >= least && bits <= most) return bits;
  if (choices.txszOutOfRange !== 'clamp' || (bits > most && wide)) return undefined;
  return Math.min(Math.max(bits, least), most);
}

/** Whether the implementation has 52-bit input addresses: of stage 1 by FEAT_LVA, of stage 2 by FEAT_LPA, whose output they are. */
export function wideInput(stage: Stage, features: Partial<Features>): boolean {
  return (stage === 1 ? features.lva : features.lpa) === true;
}

/** Bounds of an input address; stage 2 is bounded by the physical address size as well. */
export function sizeLimits(granule: Granule, ds: boolean, stage: Stage, features: Partial<Features>): SizeLimits {
  const wide = granule === '64K' ? wideInput(stage, features) : ds;
  const short = granule === '64K' ? 17 : 16;
  return { least: features.ttst === true ? short : 25, most: wide ? 52 : 48 };
}
