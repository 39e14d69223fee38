import { done, refused, type Format, type FormatConfig, type Outcome } from '@granule/contract';
import { armv8Format } from './armv8-format.js';
import type { Regime } from './shape.js';

/** Translation regimes of VMSAv8-64 that this backend has formats for. */
export const REGIMES: readonly Regime[] = ['el10', 'el20', 'el2', 's2'];

const isRegime = (name: string): name is Regime => (REGIMES as readonly string[]).includes(name);

/**
 * The format of one regime and geometry. A feature that `features` leaves out counts as absent; with 64K and no word about FEAT_LPA, an
 * output size of 52 bits implies it. Refused: `format.unknown-regime`, `format.stage`, `format.upper`, `format.not-in-stage` (`fwb` at
 * stage 1; `mair`, `hpd` at stage 2), `format.shareability`.
 */
export function format(regime: string, config: FormatConfig): Outcome<Format> {
  const { geometry, features = {}, fwb, mair, hpd, sh = 3, upper = false } = config;
  const source = 'DDI 0487 D8.2';
  if (!isRegime(regime)) return refused('format.unknown-regime', `Regime ${regime} is not one of ${REGIMES.join(', ')}.`, source);
  const stage = regime === 's2' ? 2 : 1;
  if (geometry.stage !== stage) {
    return refused('format.stage', `Regime ${regime} is of stage ${stage}; the geometry is of stage ${geometry.stage}.`, source);
  }
  if (upper && (regime === 's2' || regime === 'el2')) {
    return refused('format.upper', `Regime ${regime} has no upper address range.`, source);
  }
  const foreign = stage === 1 ? { fwb } : { mair, hpd };
  for (const [name, value] of Object.entries(foreign)) {
    if (value !== undefined && value !== false) {
      return refused('format.not-in-stage', `${name} does not go with regime ${regime}: it belongs to stage ${3 - stage}.`, source);
    }
  }
  if (!Number.isInteger(sh) || sh < 0 || sh > 3) return refused('format.shareability', `sh ${sh} is not an SH field from 0 to 3.`, source);
  const lpa = geometry.granule === '64K' && (features.lpa ?? geometry.oaBits === 52);
  return done(armv8Format({ regime, geometry, features, lpa, fwb: fwb === true, mair, hpd: hpd === true, sh }, upper));
}
