import { done, refused, type Outcome, type RegimeConfig, type Registers } from '@granule/contract';
import { PA_RANGES } from '@granule/geometry';
import { encodeBase } from './base.js';
import { systemRegisters } from './codec.js';
import { TG0_GRANULES, TG1_GRANULES } from './control-tables.js';
import { encodeStage2 } from './stage2.js';

type Fields = Readonly<Record<string, bigint | number>>;

/** SCTLR_ELx with translation and caches on; the other fields have the value that they were RES1 with before their features came (DDI 0487 D24.2). */
const ON = { M: 1, C: 1, I: 1, SPAN: 1, EIS: 1, EOS: 1, LSMAOE: 1, nTLSMD: 1 };
const SCTLR_EL1: Fields = { ...ON, TSCXT: 1 };
const SCTLR_EL2: Fields = { ...ON, nTWE: 1, nTWI: 1, CP15BEN: 1, SA0: 1 };

/** Registers by name, each from its fields by a layout of its own name or another. */
function encodeAll(all: readonly (readonly [name: string, fields: Fields, layout?: string])[]): Outcome<Registers> {
  const registers: Record<string, bigint> = {};
  for (const [name, fields, layout = name] of all) {
    const value = systemRegisters.encode(layout, fields);
    if (value.kind !== 'done') return value;
    registers[name] = value.value;
  }
  return done(registers);
}

/** What TCR says of the lower range, whichever its layout. */
function lowerRange({ geometry, features }: RegimeConfig): Fields {
  return {
    T0SZ: 64 - geometry.iaBits,
    TG0: TG0_GRANULES.indexOf(geometry.granule),
    SH0: 3,
    ORGN0: 1,
    IRGN0: 1,
    HA: features.haf === true ? 1 : 0,
    DS: geometry.ds ? 1 : 0,
  };
}

/** The upper range is switched off, with legal fields. */
function twoRanges(config: RegimeConfig): Fields {
  const { iaBits, granule, oaBits } = config.geometry;
  return { ...lowerRange(config), IPS: PA_RANGES.indexOf(oaBits), T1SZ: 64 - iaBits, TG1: TG1_GRANULES.indexOf(granule), EPD1: 1 };
}

function stage2(config: RegimeConfig): Outcome<Registers> {
  const encoded = encodeStage2(config);
  if (encoded.kind !== 'done') return encoded;
  const hcr = encodeAll([['HCR_EL2', { VM: 1, RW: 1, FWB: config.fwb === true ? 1 : 0 }]]);
  return hcr.kind === 'done' ? done({ VTCR_EL2: encoded.value.vtcr, VTTBR_EL2: encoded.value.vttbr, ...hcr.value }) : hcr;
}

function controlsOf(config: RegimeConfig): Outcome<Registers> {
  const { regime, geometry } = config;
  switch (regime) {
    case 's2':
      return stage2(config);
    case 'el10':
      return encodeAll([['TCR_EL1', twoRanges(config)], ['SCTLR_EL1', SCTLR_EL1], ['HCR_EL2', { RW: 1 }]]);
    case 'el20':
      return encodeAll([['TCR_EL2', twoRanges(config), 'TCR_EL2_E2H'], ['SCTLR_EL2', SCTLR_EL1], ['HCR_EL2', { RW: 1, E2H: 1, TGE: 1 }]]);
    case 'el2':
      return encodeAll([['TCR_EL2', { ...lowerRange(config), PS: PA_RANGES.indexOf(geometry.oaBits) }], ['SCTLR_EL2', SCTLR_EL2], ['HCR_EL2', { RW: 1 }]]);
    default:
      return refused('registers.unknown-regime', `Regime ${regime} is not one of el10, el20, el2, s2.`, 'DDI 0487 D24.2');
  }
}

/** {@link RegisterCodec.encodeRegime}. Refused: `registers.unknown-regime`, `registers.not-stage-2`, `registers.root-*`. */
export function encodeRegime(config: RegimeConfig): Outcome<Registers> {
  const controls = controlsOf(config);
  if (controls.kind !== 'done' || config.regime === 's2') return controls;
  const base = encodeBase(config.root, config.geometry);
  if (typeof base !== 'bigint') return base;
  const el = config.regime === 'el10' ? 'EL1' : 'EL2';
  return done({ ...controls.value, [`TTBR0_${el}`]: base, [`MAIR_${el}`]: config.mair ?? 0n });
}
