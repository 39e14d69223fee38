import {
  defaultPaBits,
  effectiveDs,
  effectiveOaBits,
  granuleProblem,
  inputProblem,
  lpa2Problem,
  MAX_BITS,
  oaProblem,
  paProblem,
  PLAIN_BITS,
  type GeometryFeatures,
} from './features.js';
import { FINAL_LEVEL, type Granule, type Level } from './granule.js';
import { hostLevels, kvmStage2Levels, type Host } from './levels.js';
import { done, refuse, type Refused, type Result } from './refusal.js';
import { legalLevels, startLevelNeedsDs, startLevelProblem, type Stage2Shape } from './start-level.js';
import { tableGeometry, type TableGeometry } from './table-geometry.js';

/** How a start level is chosen where none is given. */
export type StartLevelPolicy =
  /** KVM/arm64: concatenate as much as possible, but keep at least two levels; IPA sizes from 32 bits. */
  | 'kvm'
  /** The deepest start level that the architecture allows, a single level included. */
  | 'fewest-levels';

/** What an IPA size and an implementation make possible, before a start level is chosen. */
export interface Stage2Sizes {
  readonly granule: Granule;
  /** 64 − VTCR_EL2.T0SZ: 25 … 52, from 16 (64K: 17) with FEAT_TTST. At most paBits. */
  readonly ipaBits: number;
  /** Physical address size: 32, 36, 40, 42, 44, 48, 52. Default 48, or 52 for an IPA of more than 48 bits. */
  readonly paBits?: number;
  /** The VTCR_EL2.PS field, bits; a size beyond paBits acts as paBits. Default paBits. */
  readonly oaBits?: number;
  readonly features?: GeometryFeatures;
  /** VTCR_EL2.DS. Default: set where FEAT_LPA2 is implemented and an address or the start level needs it. Without effect with 64K pages. */
  readonly ds?: boolean;
  /** An AArch32 guest may have a 40-bit IPA on a machine with fewer physical address bits. Default `aarch64`. */
  readonly guest?: 'aarch64' | 'aarch32';
}

export interface Stage2Options extends Stage2Sizes {
  /** Any legal start level by choice; concatenation follows from it. Default: what `policy` chooses. */
  readonly startLevel?: Level;
  /** Default `kvm`. */
  readonly policy?: StartLevelPolicy;
  /** The host kernel whose page-table helpers the stage-2 walker borrows; stage 2 must then not be deeper than the host's own tables. */
  readonly host?: Host;
  /**
   * `checked` (the default) compares stage 2 with `host`. `independent` switches the comparison off: a stage-2 walker that does not borrow
   * the host's page-table helpers (KVM since the per-VM IPA series, about Linux 4.20) may be deeper than the host's own tables. A guest of
   * a 16K host with 36-bit VA may then have a 42-bit IPA, three levels against the host's two, and memory at 0x70_0000_0000, beyond all
   * that the host's own tables reach.
   */
  readonly hostLevels?: 'checked' | 'independent';
}

function ipaExceedsPa({ ipaBits, guest }: Stage2Sizes, paBits: number): Refused | undefined {
  if (ipaBits <= paBits || (guest === 'aarch32' && ipaBits <= 40)) return undefined;
  const sentence = `a ${ipaBits}-bit IPA exceeds the ${paBits}-bit physical address size`;
  return refuse('ipa-exceeds-pa', sentence, 'DDI 0487, AArch64.S2MinTxSZ; Linux kvm_set_ipa_limit');
}

/** Everything about a stage-2 table but its start level. */
function shapeOf(sizes: Stage2Sizes, startLevel?: Level): Result<Stage2Shape> {
  const { granule, ipaBits, features = {} } = sizes;
  const paBits = sizes.paBits ?? defaultPaBits(ipaBits);
  const requested = sizes.oaBits ?? paBits;
  const early = granuleProblem(granule, features) ?? inputProblem('IPA', ipaBits, granule, features);
  if (early !== undefined) return early;
  const wanted = ipaBits > PLAIN_BITS || requested > PLAIN_BITS || startLevelNeedsDs(granule, startLevel);
  const ds = effectiveDs({ granule, features, ds: sizes.ds, wanted });
  if (typeof ds !== 'boolean') return ds;
  if (ipaBits > PLAIN_BITS && granule !== '64K' && !ds) return lpa2Problem(`a ${ipaBits}-bit IPA`, granule);
  const problem = paProblem(paBits, features) ?? oaProblem(requested) ?? ipaExceedsPa(sizes, paBits);
  if (problem !== undefined) return problem;
  const oaBits = effectiveOaBits(granule, ds, requested, paBits);
  return done({ granule, iaBits: ipaBits, oaBits, ds, paBits, ttst: features.ttst ?? false });
}

function policyStartLevel(policy: StartLevelPolicy, shape: Stage2Shape): Level | Refused {
  if (policy === 'fewest-levels') return legalLevels(shape)[0];
  if (shape.iaBits < 32) {
    const sentence = `KVM gives a guest at least 32 bits of IPA, not ${shape.iaBits}; another policy or a start level allows fewer`;
    return refuse('kvm-ipa-below-32', sentence, 'Linux kvm_init_ipa_range, ARM64_MIN_PARANGE_BITS');
  }
  return (FINAL_LEVEL + 1 - kvmStage2Levels(shape.granule, shape.iaBits)) as Level;
}

/** The sentence of the levels-vs-host check. */
function hostProblem(geometry: TableGeometry, { host, hostLevels: mode }: Stage2Options): Refused | undefined {
  if (host === undefined || mode === 'independent') return undefined;
  const { granule, levels, iaBits } = geometry;
  if (host.granule !== granule) {
    const sentence = `stage-2 with ${granule} pages cannot borrow the page-table helpers of a host with ${host.granule} pages`;
    return refuse('host-granule', sentence, 'Linux arch/arm64/include/asm/stage2_pgtable.h: stage 2 has PAGE_SIZE pages');
  }
  const have = hostLevels(host.granule, host.vaBits);
  if (levels <= have) return undefined;
  const needs = `stage-2 needs ${levels} levels for a ${iaBits}-bit IPA with ${granule} pages`;
  const sentence = `${needs}; a host with ${host.vaBits}-bit VA has ${have}`;
  const source =
    'Linux arch/arm64/include/asm/stage2_pgtable.h (4.8 to 4.19): #error "Unsupported combination of guest IPA and host VA_BITS."';
  return refuse('host-levels', sentence, source);
}

/**
 * The geometry of a stage-2 table: start level by KVM's policy, by the fewest levels, or by choice; up to 16 tables concatenated at the
 * start.
 *
 * Refused: `geometry.granule-not-implemented`, `ipa-out-of-range`, `needs-ttst`, `needs-lpa2`, `pa-not-a-parange`, `needs-lpa`,
 * `ipa-exceeds-pa`, `kvm-ipa-below-32`, `start-level-reserved`, `pa-too-small-for-start-level`, `start-level-too-shallow`,
 * `concatenation-over-16`, `host-granule`, `host-levels`. Source: DDI 0487 D8.2, VTCR_EL2; AArch64.S2InvalidSL, AArch64.S2InconsistentSL;
 * Linux kvm_get_vtcr.
 */
export function stage2Geometry(options: Stage2Options): Result<TableGeometry> {
  const shape = shapeOf(options, options.startLevel);
  if (shape.kind === 'refused') return shape;
  const startLevel = options.startLevel ?? policyStartLevel(options.policy ?? 'kvm', shape.value);
  if (typeof startLevel !== 'number') return startLevel;
  const problem = startLevelProblem(shape.value, startLevel);
  if (problem !== undefined) return problem;
  const { granule, iaBits, oaBits, ds } = shape.value;
  const geometry = tableGeometry({ stage: 2, granule, iaBits, oaBits, startLevel, ds });
  return hostProblem(geometry, options) ?? done(geometry);
}

/**
 * Every start level that the architecture allows, fewest levels first, each with its table. A level that needs DS = 1 is listed where DS is
 * set or may be set. Refused as {@link stage2Geometry} refuses, but for what concerns a start level or a host.
 */
export function legalStartLevels(sizes: Stage2Sizes): Result<readonly TableGeometry[]> {
  const plain = shapeOf(sizes);
  if (plain.kind === 'refused') return plain;
  const candidates = ([3, 2, 1, 0, -1] as const).map((startLevel) => stage2Geometry({ ...sizes, startLevel }));
  return done(candidates.flatMap((each) => (each.kind === 'done' ? [each.value] : [])));
}

/**
 * The largest IPA, bits, that KVM offers on a machine: its physical address size, at most 48 with 4K or 16K pages unless LPA2 is in use
 * (Linux kvm_set_ipa_limit; 52 with 64K pages supposes a kernel with CONFIG_ARM64_PA_BITS_52).
 */
export function kvmIpaLimit(machine: {
  readonly granule: Granule;
  readonly paBits: number;
  readonly features?: GeometryFeatures;
}): Result<number> {
  const { granule, paBits, features = {} } = machine;
  const problem = granuleProblem(granule, features) ?? paProblem(paBits, features);
  if (problem !== undefined) return problem;
  return done(effectiveOaBits(granule, features.lpa2 ?? false, MAX_BITS, paBits));
}
