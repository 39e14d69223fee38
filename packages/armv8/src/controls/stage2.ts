import type { ControlChoices, Features, RangeControl, Registers, Stage2Control } from '@granule/contract';
import { stage2Geometry, type Granule, type TableGeometry } from '@granule/geometry';
import { format } from '../format/format.js';
import { baseAddress } from '../registers/base.js';
import { TG0_GRANULES } from '../registers/control-tables.js';
import { START_LEVELS } from '../registers/stage2.js';
import { bit, fieldReader, type ReadField } from './fields.js';
import { effectiveDs, effectiveGranule, geometryFeatures, inputBits, outputBits, sizeLimits, wideInput } from './geometry.js';
import { hypervisor, type Hypervisor } from './hypervisor.js';

/** A 32-bit guest may have a 40-bit IPA on a machine with fewer physical address bits (DDI 0487 R_DTLMN, AArch64.S2MinTxSZ). */
const AARCH32_IPA = 40;

function ipaBits(vtcr: ReadField, granule: Granule, ds: boolean, hcr: Hypervisor, features: Partial<Features>, choices: ControlChoices): number | undefined {
  const { least, most } = sizeLimits(granule, ds, 2, features);
  const paBits = features.paBits ?? 48;
  const largest = Math.min(most, hcr.rw ? paBits : Math.max(paBits, AARCH32_IPA));
  return inputBits(vtcr('T0SZ'), { least, most: largest }, wideInput(2, features), choices);
}

function tables(vtcr: ReadField, hcr: Hypervisor, features: Partial<Features>, choices: ControlChoices): TableGeometry | undefined {
  const granule = effectiveGranule((TG0_GRANULES as readonly (Granule | undefined)[])[vtcr('TG0')], 2, features, choices);
  const ds = effectiveDs(bit(vtcr, 'DS'), granule, 2, features);
  const bits = ipaBits(vtcr, granule, ds, hcr, features, choices);
  const sl2 = granule === '4K' && ds ? vtcr('SL2') : 0;
  const start = START_LEVELS[granule].find((each) => each.sl0 === vtcr('SL0') && (each.sl2 ?? 0) === sl2);
  if (bits === undefined || start === undefined) return undefined;
  const geometry = stage2Geometry({
    granule,
    ipaBits: bits,
    paBits: features.paBits ?? 48,
    oaBits: outputBits(vtcr('PS')),
    ds,
    startLevel: start.level,
    features: geometryFeatures(granule, 2, features),
    guest: hcr.rw ? 'aarch64' : 'aarch32',
  });
  return geometry.kind === 'done' ? geometry.value : undefined;
}

/** Stage 2 of EL1&0. An illegal T0SZ, SL0 or SL2 leaves it without a format (DDI 0487 AArch64.S2InvalidTxSZ, S2InvalidSL, S2InconsistentSL). */
export function stage2Control(registers: Registers, features: Partial<Features>, choices: ControlChoices): Stage2Control {
  const vtcr = fieldReader(registers, 'VTCR_EL2');
  const hcr = hypervisor(registers, features);
  const geometry = tables(vtcr, hcr, features, choices);
  const made = geometry && format('s2', { geometry, features, fwb: hcr.fwb, sh: vtcr('SH0') });
  const range: RangeControl = {
    format: made?.kind === 'done' ? made.value : undefined,
    base: geometry === undefined ? 0 : baseAddress(registers['VTTBR_EL2'] ?? 0n, geometry),
    iaBits: geometry?.iaBits ?? 0,
    walkOff: false,
    unprivilegedOff: false,
    topByteIgnored: false,
    topByteIgnoredFetch: false,
    hierarchical: false,
    shareability: vtcr('SH0'),
  };
  const hardwareAccess = bit(vtcr, 'HA', features.haf);
  return {
    on: hcr.stage2,
    range,
    bigEndian: bit(fieldReader(registers, 'SCTLR_EL2'), 'EE'),
    protectedWalk: hcr.ptw,
    fwb: hcr.fwb,
    dataNonCacheable: hcr.cd,
    instructionNonCacheable: hcr.id,
    xnx: features.xnx === true,
    executeNeedsRead: false,
    hardwareAccess,
    hardwareDirty: hardwareAccess && bit(vtcr, 'HD', features.hdbs),
    xs: features.xs === true,
    faultLevel: 0,
  };
}
