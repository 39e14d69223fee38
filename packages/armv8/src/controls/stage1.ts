import type { ControlChoices, Features, RangeControl, Registers, Stage1Control } from '@granule/contract';
import { mairByte } from '@granule/contract/codec';
import { stage1Geometry, type Granule, type TableGeometry } from '@granule/geometry';
import { format } from '../format/format.js';
import { baseAddress } from '../registers/base.js';
import { TG0_GRANULES, TG1_GRANULES } from '../registers/control-tables.js';
import { bit, fieldReader, type ReadField } from './fields.js';
import { effectiveDs, effectiveGranule, geometryFeatures, inputBits, outputBits, sizeLimits, wideInput } from './geometry.js';
import { hypervisor, type Hypervisor } from './hypervisor.js';

export type Stage1Regime = 'el10' | 'el20' | 'el2';

/** What all of one regime is read from. */
interface Source {
  readonly regime: Stage1Regime;
  readonly el: 1 | 2;
  readonly registers: Registers;
  readonly features: Partial<Features>;
  readonly choices: ControlChoices;
  readonly tcr: ReadField;
}

/** A field of TCR that has one copy for each range, or in `el2` one alone. */
function ranged({ regime, tcr }: Source, name: string, index: 0 | 1): number {
  return tcr(regime === 'el2' ? name : `${name}${index}`);
}

function rangeGeometry(source: Source, index: 0 | 1): TableGeometry | undefined {
  const { regime, features, choices, tcr } = source;
  const tg: readonly (Granule | undefined)[] = index === 0 ? TG0_GRANULES : TG1_GRANULES;
  const granule = effectiveGranule(tg[tcr(`TG${index}`)], 1, features, choices);
  const ds = effectiveDs(bit(tcr, 'DS'), granule, 1, features);
  const vaBits = inputBits(tcr(`T${index}SZ`), sizeLimits(granule, ds, 1, features), wideInput(1, features), choices);
  if (vaBits === undefined) return undefined;
  const geometry = stage1Geometry({
    granule,
    vaBits,
    paBits: features.paBits ?? 48,
    oaBits: outputBits(tcr(regime === 'el2' ? 'PS' : 'IPS')),
    ds,
    features: geometryFeatures(granule, 1, features),
  });
  return geometry.kind === 'done' ? geometry.value : undefined;
}

function range(source: Source, index: 0 | 1): RangeControl {
  const { regime, el, registers, features, tcr } = source;
  const geometry = rangeGeometry(source, index);
  const hpd = features.hpds === true && ranged(source, 'HPD', index) === 1;
  const shareability = tcr(`SH${index}`);
  const tbi = ranged(source, 'TBI', index) === 1;
  const tbid = features.pauth === true && ranged(source, 'TBID', index) === 1;
  const mair = registers[`MAIR_EL${el}`] ?? 0n;
  const made = geometry && format(regime, { geometry, features, mair, hpd, sh: shareability, upper: index === 1 });
  return {
    format: made?.kind === 'done' ? made.value : undefined,
    base: geometry === undefined ? 0 : baseAddress(registers[`TTBR${index}_EL${el}`] ?? 0n, geometry),
    iaBits: geometry?.iaBits ?? 0,
    walkOff: regime !== 'el2' && tcr(`EPD${index}`) === 1,
    unprivilegedOff: regime !== 'el2' && features.e0pd === true && tcr(`E0PD${index}`) === 1,
    topByteIgnored: tbi,
    topByteIgnoredFetch: tbi && !tbid,
    hierarchical: !hpd,
    shareability,
  };
}

/** SCTLR_ELx.M is without effect in EL1&0 while HCR_EL2 has DC or TGE (DDI 0487 AArch64.S1Enabled). */
function enabled(regime: Stage1Regime, sctlr: ReadField, hcr: Hypervisor): boolean {
  return bit(sctlr, 'M') && !(regime === 'el10' && (hcr.dc || hcr.tge));
}

/** Stage 1 of one regime. TCR_EL2 has the layout of TCR_EL1 in `el20`. */
export function stage1Control(regime: Stage1Regime, registers: Registers, features: Partial<Features>, choices: ControlChoices): Stage1Control {
  const el = regime === 'el10' ? 1 : 2;
  const tcr = fieldReader(registers, `TCR_EL${el}`, regime === 'el20' ? 'TCR_EL2_E2H' : `TCR_EL${el}`);
  const sctlr = fieldReader(registers, `SCTLR_EL${el}`);
  const hcr = hypervisor(registers, features);
  const source: Source = { regime, el, registers, features, choices, tcr };
  const hardwareAccess = bit(tcr, 'HA', features.haf);
  const mair = registers[`MAIR_EL${el}`] ?? 0n;
  return {
    regime,
    on: enabled(regime, sctlr, hcr),
    unprivileged: regime !== 'el2',
    state: 'aarch64',
    lower: range(source, 0),
    upper: regime === 'el2' ? undefined : range(source, 1),
    upperStart: 0,
    paBits: features.paBits ?? 48,
    bigEndian: bit(sctlr, 'EE'),
    dataCache: bit(sctlr, 'C'),
    instructionCache: bit(sctlr, 'I'),
    wxn: bit(sctlr, 'WXN'),
    uwxn: true,
    guestHypervisor: regime === 'el10' && hcr.guestHypervisor,
    epan: regime !== 'el2' && bit(sctlr, 'EPAN', features.pan3),
    defaultCacheable: regime === 'el10' && hcr.dc,
    defaultTagged: regime === 'el10' && hcr.dct,
    mair: Array.from({ length: 8 }, (_, index) => mairByte(mair, index)),
    hardwareAccess,
    hardwareDirty: hardwareAccess && bit(tcr, 'HD', features.hdbs),
    xs: features.xs === true,
    mte: features.mte === true,
    faultLevel: 0,
  };
}

