import {
  done,
  notModelled,
  type Outcome,
  type RangeControl,
  type Registers,
  type Stage1Control,
  type Stage2Control,
  type TranslationControls,
} from '@granule/contract';
import { armv7Stage1Geometry, armv7Stage1Split, armv7Stage2Geometry, type TableGeometry } from '@granule/geometry';
import { format } from '../format/format.js';
import { baseAddress, fieldsOf, mairOf, read } from './roots.js';
import { SL0_START_LEVELS } from './stage2.js';

const SOURCE = 'DDI 0406C B4.1';
const TWO_32 = 4294967296;

interface RangeOptions {
  readonly upper?: boolean;
  readonly walkOff?: boolean;
}

/** What is alike of every range: there is no tag, no hierarchical disable and no E0PD in ARMv7. */
function range(
  registers: Registers,
  regime: string,
  base: string,
  geometry: TableGeometry | undefined,
  more: RangeOptions = {},
): RangeControl {
  const made = geometry && format(regime, { geometry, upper: more.upper === true });
  return {
    format: made?.kind === 'done' ? made.value : undefined,
    base: geometry === undefined ? 0 : baseAddress(read(registers, base), geometry),
    iaBits: geometry?.iaBits ?? 32,
    walkOff: more.walkOff === true,
    unprivilegedOff: false,
    topByteIgnored: false,
    topByteIgnoredFetch: false,
    hierarchical: true,
    shareability: 0,
  };
}

type Ranges = Pick<Stage1Control, 'lower' | 'upper' | 'upperStart'>;

function pl10Ranges(registers: Registers): Ranges {
  const ttbcr = fieldsOf(registers, 'TTBCR');
  const split = armv7Stage1Split({ t0sz: Number(ttbcr['T0SZ']), t1sz: Number(ttbcr['T1SZ']) });
  if (split.kind !== 'done') throw new RangeError(split.sentence);
  const { lower, upper } = split.value;
  const off = (index: 0 | 1): { walkOff: boolean } => ({ walkOff: ttbcr[`EPD${index}`] === 1n });
  return {
    lower: range(registers, 'pl10', 'TTBR0', lower.geometry, off(0)),
    upper: upper && range(registers, 'pl10', 'TTBR1', upper.geometry, { ...off(1), upper: true }),
    upperStart: upper?.start ?? TWO_32,
  };
}

function pl2Ranges(registers: Registers): Ranges {
  const geometry = armv7Stage1Geometry({ vaBits: 32 - Number(fieldsOf(registers, 'HTCR')['T0SZ']) });
  const lower = range(registers, 'pl2', 'HTTBR', geometry.kind === 'done' ? geometry.value : undefined);
  return { lower, upper: undefined, upperStart: TWO_32 };
}

/** PL1&0 (`''`) or PL2 (`'H'`). HCR.DC and HCR.TGE switch the stage 1 of PL1&0 off (DDI 0406C B3.2.1). */
function stage1(registers: Registers, prefix: '' | 'H'): Stage1Control {
  const guest = prefix === '';
  const sctlr = fieldsOf(registers, guest ? 'SCTLR' : 'HSCTLR');
  const hcr = fieldsOf(registers, 'HCR');
  const mair = mairOf(registers, prefix) ?? 0n;
  return {
    regime: guest ? 'pl10' : 'pl2',
    on: sctlr['M'] === 1n && !(guest && (hcr['DC'] === 1n || hcr['TGE'] === 1n)),
    unprivileged: guest,
    state: 'aarch32',
    ...(guest ? pl10Ranges(registers) : pl2Ranges(registers)),
    paBits: 40,
    bigEndian: sctlr['EE'] === 1n,
    dataCache: sctlr['C'] === 1n,
    instructionCache: sctlr['I'] === 1n,
    wxn: sctlr['WXN'] === 1n,
    uwxn: guest && sctlr['UWXN'] === 1n,
    guestHypervisor: false,
    epan: false,
    defaultCacheable: guest && hcr['DC'] === 1n,
    defaultTagged: false,
    mair: Array.from({ length: 8 }, (_, index) => Number((mair >> BigInt(8 * index)) & 0xffn)),
    hardwareAccess: false,
    hardwareDirty: false,
    xs: false,
    mte: false,
    faultLevel: 1,
  };
}

/** Undefined where T0SZ and SL0 do not go together. VTCR.S other than T0SZ[3] is UNPREDICTABLE; here T0SZ alone says the size. */
function stage2Tables(registers: Registers): TableGeometry | undefined {
  const { T0SZ, SL0 } = fieldsOf(registers, 'VTCR');
  const startLevel = SL0_START_LEVELS[Number(SL0)];
  if (startLevel === undefined) return undefined;
  const geometry = armv7Stage2Geometry({ ipaBits: 32 - Number(BigInt.asIntN(4, T0SZ)), startLevel });
  return geometry.kind === 'done' ? geometry.value : undefined;
}

function stage2(registers: Registers): Stage2Control {
  const hcr = fieldsOf(registers, 'HCR');
  return {
    on: hcr['VM'] === 1n || hcr['DC'] === 1n,
    range: range(registers, 's2', 'VTTBR', stage2Tables(registers)),
    bigEndian: fieldsOf(registers, 'HSCTLR')['EE'] === 1n,
    protectedWalk: hcr['PTW'] === 1n,
    fwb: false,
    dataNonCacheable: false,
    instructionNonCacheable: false,
    xnx: false,
    executeNeedsRead: true,
    hardwareAccess: false,
    hardwareDirty: false,
    xs: false,
    faultLevel: 1,
  };
}

/** PL1&0, PL2 and stage 2. Not modelled: `registers.short-descriptors`, where PL1&0 is on with TTBCR.EAE = 0. */
export function controls(registers: Registers): Outcome<TranslationControls> {
  const eae = fieldsOf(registers, 'TTBCR')['EAE'] === 1n;
  if (!eae && fieldsOf(registers, 'SCTLR')['M'] === 1n) {
    return notModelled('registers.short-descriptors', 'TTBCR.EAE is 0: short descriptors are not modelled.', `${SOURCE}, TTBCR.EAE`);
  }
  const guest = eae ? registers : { ...registers, TTBCR: 1n << 31n };
  return done({ stage1: [stage1(guest, ''), stage1(registers, 'H')], virtualised: 'pl10', stage2: stage2(registers) });
}
