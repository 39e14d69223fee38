import { done, notModelled, refused, type Format, type FormatConfig, type Outcome } from '@granule/contract';
import type { TableGeometry } from '@granule/geometry';
import { armv7Format } from './armv7-format.js';
import { OA_BITS, type Regime } from './shape.js';

/** Translation regimes of ARMv7 with LPAE that this backend has formats for. */
export const REGIMES: readonly Regime[] = ['pl10', 'pl2', 's2'];

const SOURCE = 'DDI 0406C B3.6';

const isRegime = (name: string): name is Regime => (REGIMES as readonly string[]).includes(name);

/** Why the format cannot have this geometry. */
function geometryProblem({ granule, iaBits, oaBits, startLevel, stage }: TableGeometry): string | undefined {
  const largest = stage === 1 ? 32 : 40;
  if (granule !== '4K') return `The granule is ${granule}; ARMv7 has 4K alone.`;
  if (iaBits < 25 || iaBits > largest) return `The input size is ${iaBits} bits; at stage ${stage} of ARMv7 it is 25 to ${largest}.`;
  if (oaBits > OA_BITS) return `The output size is ${oaBits} bits; ARMv7 has ${OA_BITS}.`;
  return startLevel < 1 || startLevel > 2 ? `The start level is ${startLevel}; in ARMv7 it is 1 or 2.` : undefined;
}

/**
 * The format of one regime and geometry (`armv7Stage1Geometry`, `armv7Stage2Geometry`, or one with the same sizes). `features` and `sh` say
 * nothing here. Refused: `format.unknown-regime`, `format.stage`, `format.geometry`, `format.upper`, `format.not-in-stage` (`mair` at
 * stage 2), `format.not-in-architecture` (`fwb`). Not modelled: `format.hpd`, which AArch32 has from Armv8.2 in TTBCR2.
 */
export function format(regime: string, config: FormatConfig): Outcome<Format> {
  const { geometry, fwb, mair, hpd, upper = false } = config;
  if (!isRegime(regime)) return refused('format.unknown-regime', `Regime ${regime} is not one of ${REGIMES.join(', ')}.`, SOURCE);
  const stage = regime === 's2' ? 2 : 1;
  if (geometry.stage !== stage) {
    return refused('format.stage', `Regime ${regime} is of stage ${stage}; the geometry is of stage ${geometry.stage}.`, SOURCE);
  }
  const problem = geometryProblem(geometry);
  if (problem !== undefined) return refused('format.geometry', problem, SOURCE);
  if (upper && regime !== 'pl10') return refused('format.upper', `Regime ${regime} has no upper address range.`, SOURCE);
  if (fwb === true) return refused('format.not-in-architecture', 'fwb does not go with ARMv7: HCR has no FWB.', 'DDI 0406C B4.1, HCR');
  if (stage === 2 && mair !== undefined) {
    return refused('format.not-in-stage', 'mair does not go with regime s2: it belongs to stage 1.', SOURCE);
  }
  if (hpd === true) return notModelled('format.hpd', 'Disabling hierarchical permissions (TTBCR2, Armv8.2) is not modelled.', SOURCE);
  return done(armv7Format({ regime, geometry, mair }, upper));
}
