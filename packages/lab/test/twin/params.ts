import { bit, field, slice } from './bits.js';
import type { TwinFeatures, TwinMachine } from './machine.js';

export type Regime = 'EL10' | 'EL20' | 'EL2';

/** S1TTWParams. Granules are their log2. */
export interface S1Params {
  readonly tgx: number;
  readonly txsz: number;
  readonly ps: number;
  readonly ds: boolean;
  readonly sh: bigint;
  readonly epd: boolean;
  readonly e0pd: boolean;
  readonly tbi: boolean;
  readonly tbid: boolean;
  readonly hpd: boolean;
  readonly ha: boolean;
  readonly hd: boolean;
  readonly wxn: boolean;
  readonly epan: boolean;
  readonly nv1: boolean;
  readonly ee: boolean;
  readonly mair: bigint;
  readonly ttbr: bigint;
}

/** S2TTWParams. */
export interface S2Params {
  readonly vm: boolean;
  readonly tgx: number;
  readonly txsz: number;
  readonly sl0: number;
  readonly sl2: boolean;
  readonly ps: number;
  readonly ds: boolean;
  readonly sh: bigint;
  readonly ptw: boolean;
  readonly fwb: boolean;
  readonly cd: boolean;
  readonly ha: boolean;
  readonly hd: boolean;
  readonly ee: boolean;
  readonly vttbr: bigint;
}

export const hasUnprivileged = (regime: Regime): boolean => regime !== 'EL2';

/** A granule that is reserved or not implemented is the smallest that there is: the choice that was recorded. */
function granule(code: number, codes: readonly number[], implemented: readonly number[]): number {
  const tgx = codes[code];
  return implemented.includes(tgx) ? tgx : Math.min(...implemented);
}

/** PS and IPS: the reserved value behaves as the largest, 52 bits (DDI 0487 TCR_EL1.IPS). */
const sizeCode = (ps: number): number => Math.min(ps, 6);

const TG0 = [12, 16, 14, 0];
const TG1 = [0, 14, 12, 16];

/** TCR_EL1, and TCR_EL2 with E2H: the half that the address's bit 55 chooses. */
function twoRanges(features: TwinFeatures, tcr: bigint, upper: boolean): Pick<S1Params, 'tgx' | 'txsz' | 'ps' | 'sh' | 'epd' | 'e0pd' | 'tbi' | 'tbid' | 'hpd' | 'ha' | 'hd'> & { ds: boolean } {
  const { granules, e0pd, pauth, hpds, haf, hdbs } = features;
  const own = upper ? 1 : 0;
  const tgx = upper ? granule(field(tcr, 31, 30), TG1, granules[1]) : granule(field(tcr, 15, 14), TG0, granules[1]);
  const ha = haf && bit(tcr, 39);
  return {
    tgx,
    txsz: upper ? field(tcr, 21, 16) : field(tcr, 5, 0),
    ps: sizeCode(field(tcr, 34, 32)),
    sh: upper ? slice(tcr, 29, 28) : slice(tcr, 13, 12),
    epd: bit(tcr, upper ? 23 : 7),
    e0pd: e0pd && bit(tcr, 55 + own),
    tbi: bit(tcr, 37 + own),
    tbid: pauth && bit(tcr, 51 + own),
    hpd: hpds && bit(tcr, 41 + own),
    ha,
    hd: ha && hdbs && bit(tcr, 40),
    ds: features.lpa2[1].includes(tgx) && bit(tcr, 59),
  };
}

/** TCR_EL2 without E2H. */
function oneRange(features: TwinFeatures, tcr: bigint): ReturnType<typeof twoRanges> {
  const { granules, pauth, hpds, haf, hdbs } = features;
  const tgx = granule(field(tcr, 15, 14), TG0, granules[1]);
  const ha = haf && bit(tcr, 21);
  return {
    tgx,
    txsz: field(tcr, 5, 0),
    ps: sizeCode(field(tcr, 18, 16)),
    sh: slice(tcr, 13, 12),
    epd: false,
    e0pd: false,
    tbi: bit(tcr, 20),
    tbid: pauth && bit(tcr, 29),
    hpd: hpds && bit(tcr, 24),
    ha,
    hd: ha && hdbs && bit(tcr, 22),
    ds: features.lpa2[1].includes(tgx) && bit(tcr, 32),
  };
}

/** AArch64.GetS1TTWParams. */
export function getS1TTWParams(machine: TwinMachine, regime: Regime, va: bigint): S1Params {
  const { features } = machine;
  const upper = hasUnprivileged(regime) && bit(va, 55);
  const suffix = regime === 'EL10' ? 'EL1' : 'EL2';
  const sctlr = machine.reg(`SCTLR_${suffix}`);
  const tcr = machine.reg(`TCR_${suffix}`);
  const hcr = machine.reg('HCR_EL2');
  return {
    ...(regime === 'EL2' ? oneRange(features, tcr) : twoRanges(features, tcr, upper)),
    wxn: bit(sctlr, 19),
    ee: bit(sctlr, 25),
    epan: features.pan3 && hasUnprivileged(regime) && bit(sctlr, 57),
    nv1: features.nv && regime === 'EL10' && bit(hcr, 42) && bit(hcr, 43),
    mair: machine.reg(`MAIR_${suffix}`),
    ttbr: machine.reg(`TTBR${upper ? 1 : 0}_${suffix}`),
  };
}

/** AArch64.GetS2TTWParams, Non-secure. */
export function getS2TTWParams(machine: TwinMachine): S2Params {
  const { features } = machine;
  const hcr = machine.reg('HCR_EL2');
  const vtcr = machine.reg('VTCR_EL2');
  const tgx = granule(field(vtcr, 15, 14), TG0, features.granules[2]);
  const ds = features.lpa2[2].includes(tgx) && bit(vtcr, 32);
  const ha = features.haf && bit(vtcr, 21);
  return {
    vm: bit(hcr, 0) || bit(hcr, 12),
    tgx,
    txsz: field(vtcr, 5, 0),
    sl0: field(vtcr, 7, 6),
    sl2: tgx === 12 && ds && bit(vtcr, 33),
    ps: sizeCode(field(vtcr, 18, 16)),
    ds,
    sh: slice(vtcr, 13, 12),
    ptw: !bit(hcr, 27) && bit(hcr, 2),
    fwb: features.s2fwb && bit(hcr, 46),
    cd: bit(hcr, 32),
    ha,
    hd: ha && features.hdbs && bit(vtcr, 22),
    ee: bit(machine.reg('SCTLR_EL2'), 25),
    vttbr: machine.reg('VTTBR_EL2'),
  };
}
