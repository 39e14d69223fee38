import {
  effectiveDs,
  effectiveOaBits,
  granuleProblem,
  inputProblem,
  lpa2Problem,
  oaProblem,
  paProblem,
  PLAIN_BITS,
  type GeometryFeatures,
} from './features.js';
import { FINAL_LEVEL, type Granule, type Level } from './granule.js';
import { levels } from './levels.js';
import { done, refuse, type Refused, type Result } from './refusal.js';
import { tableGeometry, type TableGeometry } from './table-geometry.js';

export interface Stage1Options {
  readonly granule: Granule;
  /** 64 − TxSZ: 25 … 48; from 16 (64K: 17) with FEAT_TTST; to 52 with FEAT_LVA (64K) or FEAT_LPA2 (4K, 16K). */
  readonly vaBits: number;
  /** Physical address size: 32, 36, 40, 42, 44, 48, 52. Default 48. */
  readonly paBits?: number;
  /** The IPS or PS field, bits; a size beyond paBits acts as paBits. Default paBits. */
  readonly oaBits?: number;
  readonly features?: GeometryFeatures;
  /** TCR.DS. Default: set where FEAT_LPA2 is implemented and an address exceeds 48 bits. Without effect with 64K pages. */
  readonly ds?: boolean;
}

function vaProblem(options: Stage1Options, features: GeometryFeatures, ds: boolean): Refused | undefined {
  const { granule, vaBits } = options;
  if (vaBits <= PLAIN_BITS) return undefined;
  if (granule !== '64K') return ds ? undefined : lpa2Problem(`a ${vaBits}-bit VA`, granule);
  if (features.lva ?? false) return undefined;
  return refuse('needs-lva', `a ${vaBits}-bit VA with 64K pages needs FEAT_LVA`, 'DDI 0487, AArch64.S1MinTxSZ; ID_AA64MMFR2_EL1.VARange');
}

/**
 * The geometry of a stage-1 table: the start level follows from the VA size, and nothing is concatenated (AArch64.S1StartLevel). VA sizes
 * count the bits of one range; the upper range has the same tables.
 *
 * Refused: `geometry.granule-not-implemented`, `va-out-of-range`, `needs-ttst`, `needs-lpa2`, `needs-lva`, `pa-not-a-parange`, `needs-lpa`.
 */
export function stage1Geometry(options: Stage1Options): Result<TableGeometry> {
  const { granule, vaBits, features = {} } = options;
  const paBits = options.paBits ?? PLAIN_BITS;
  const requested = options.oaBits ?? paBits;
  const early = granuleProblem(granule, features) ?? inputProblem('VA', vaBits, granule, features);
  if (early !== undefined) return early;
  const ds = effectiveDs({ granule, features, ds: options.ds, wanted: vaBits > PLAIN_BITS || requested > PLAIN_BITS });
  if (typeof ds !== 'boolean') return ds;
  const problem = vaProblem(options, features, ds) ?? paProblem(paBits, features) ?? oaProblem(requested);
  if (problem !== undefined) return problem;
  const startLevel = (FINAL_LEVEL + 1 - levels(granule, vaBits)) as Level;
  return done(
    tableGeometry({ stage: 1, granule, iaBits: vaBits, oaBits: effectiveOaBits(granule, ds, requested, paBits), startLevel, ds }),
  );
}
