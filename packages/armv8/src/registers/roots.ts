import {
  done,
  notModelled,
  refused,
  type Failure,
  type Features,
  type FormatConfig,
  type Outcome,
  type RegimeRoot,
  type Registers,
} from '@granule/contract';
import { PA_RANGES, stage1Geometry, stage2Geometry, type Granule, type TableGeometry } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { format } from '../format/format.js';
import { baseAddress } from './base.js';
import { systemRegisters } from './codec.js';
import { features as featuresOf } from './features.js';
import { START_LEVELS } from './stage2.js';
import { TG0_GRANULES, TG1_GRANULES } from './control-tables.js';

type Fields = Readonly<Record<string, bigint>>;

const SOURCE = 'DDI 0487 D24.2';

function read(registers: Registers, name: string): bigint {
  return registers[name] ?? 0n;
}

/** Fields of a register value; a register that is not in the set is 0. `layout`: the table to read it by. */
function fieldsOf(registers: Registers, name: string, layout = name): Fields {
  const fields = systemRegisters.decode(layout, BigInt.asUintN(64, read(registers, name)));
  if (fields.kind !== 'done') throw new RangeError(fields.sentence);
  return fields.value;
}

function notInForce(sentence: string): Failure {
  return refused('registers.not-in-force', sentence, SOURCE);
}

/** What the two kinds of control register say about one table. */
interface Control {
  /** `TTBR0_EL1`, `TCR_EL1`: for people. */
  readonly base: string;
  readonly control: string;
  readonly granule: Granule | undefined;
  /** Raw fields by name, for sentences: `T0SZ 24`. */
  readonly tg: readonly [name: string, value: bigint];
  readonly size: readonly [name: string, value: bigint];
  readonly ps: readonly [name: string, value: bigint];
  readonly ds: boolean;
}

/** Refused: `registers.tg-reserved`, `registers.ps-reserved`. */
function reservedField({ control, granule, tg, ps }: Control): Failure | undefined {
  if (granule === undefined) {
    return refused(
      'registers.tg-reserved',
      `${control}.${tg[0]} is ${tg[1]}, a reserved value: it names no granule.`,
      `DDI 0487 ${control}.${tg[0]}`,
    );
  }
  if (ps[1] >= BigInt(PA_RANGES.length)) {
    return refused(
      'registers.ps-reserved',
      `${control}.${ps[0]} is ${ps[1]}, a reserved value: sizes are 0 (32 bits) to 6 (52 bits).`,
      `DDI 0487 ${control}.${ps[0]}`,
    );
  }
  return undefined;
}

function illegal({ control, size }: Control, refusal: { readonly sentence: string; readonly source: string }): Failure {
  return refused('registers.illegal', `${control}.${size[0]} is ${size[1]}: ${refusal.sentence}.`, refusal.source);
}

function geometryFeatures(features: Features, stage: 1 | 2, granule: Granule): Parameters<typeof stage1Geometry>[0]['features'] {
  const { lpa, lva, ttst, granules1, granules2, lpa2Granules1, lpa2Granules2 } = features;
  return {
    granules: stage === 1 ? granules1 : granules2,
    lpa,
    lva,
    ttst,
    lpa2: (stage === 1 ? lpa2Granules1 : lpa2Granules2).includes(granule),
  };
}

/** Refused: `registers.illegal`, `registers.base-too-large`. */
function rootOf(
  registers: Registers,
  control: Control,
  geometry: TableGeometry,
  config: Omit<FormatConfig, 'geometry'>,
  rest: Pick<RegimeRoot, 'regime' | 'upper' | 'tableAddresses' | 'asid' | 'vmid'>,
): Outcome<RegimeRoot> {
  const made = format(rest.regime, { ...config, geometry });
  if (made.kind !== 'done') return made;
  const root = baseAddress(read(registers, control.base), geometry);
  if (root >= 2 ** geometry.oaBits) {
    const sentence = `${control.base} names a table at ${hex(root)}, beyond the ${
      geometry.oaBits
    }-bit output size: every walk ends in an address size fault.`;
    return refused('registers.base-too-large', sentence, `DDI 0487 ${control.base}.BADDR`);
  }
  return done({ ...rest, format: made.value, root, from: `${control.base}/${control.control}` });
}

/** Start level from SL0 and SL2. Refused: `registers.sl-reserved`. */
function stage2Start(vtcr: Fields, granule: Granule, ds: boolean): Outcome<TableGeometry['startLevel']> {
  const sl2 = granule === '4K' && ds ? vtcr['SL2'] : 0n;
  const found = START_LEVELS[granule].find((each) => BigInt(each.sl0) === vtcr['SL0'] && BigInt(each.sl2 ?? 0) === sl2);
  if (found !== undefined) return done(found.level);
  const sentence = `VTCR_EL2.SL0 is ${vtcr['SL0']} with SL2 ${sl2}, a reserved combination with ${granule} pages.`;
  return refused('registers.sl-reserved', sentence, 'DDI 0487 VTCR_EL2.SL0');
}

function stage2Roots(registers: Registers, features: Features): Outcome<readonly RegimeRoot[]> {
  if (read(registers, 'VTCR_EL2') === 0n && read(registers, 'VTTBR_EL2') === 0n) {
    return notInForce('VTTBR_EL2 and VTCR_EL2 are both 0: there is no stage-2 table.');
  }
  const vtcr = fieldsOf(registers, 'VTCR_EL2');
  const hcr = fieldsOf(registers, 'HCR_EL2');
  for (const extension of ['D128', 'S2PIE', 'S2POE'] as const) {
    if (vtcr[extension] === 1n)
      return notModelled('registers.extension', `VTCR_EL2.${extension} is 1, which this model does not cover.`, SOURCE);
  }
  const granule = (TG0_GRANULES as readonly (Granule | undefined)[])[Number(vtcr['TG0'])];
  const control: Control = {
    base: 'VTTBR_EL2',
    control: 'VTCR_EL2',
    granule,
    tg: ['TG0', vtcr['TG0']],
    size: ['T0SZ', vtcr['T0SZ']],
    ps: ['PS', vtcr['PS']],
    ds: vtcr['DS'] === 1n && granule !== undefined && features.lpa2Granules2.includes(granule),
  };
  const reserved = reservedField(control);
  if (granule === undefined || reserved !== undefined) return reserved!;
  const startLevel = stage2Start(vtcr, granule, control.ds);
  if (startLevel.kind !== 'done') return startLevel;
  const geometry = stage2Geometry({
    granule,
    ipaBits: 64 - Number(vtcr['T0SZ']),
    paBits: features.paBits,
    oaBits: PA_RANGES[Number(vtcr['PS'])],
    ds: control.ds,
    startLevel: startLevel.value,
    features: geometryFeatures(features, 2, granule),
    guest: hcr['RW'] === 0n && registers['HCR_EL2'] !== undefined ? 'aarch32' : 'aarch64',
  });
  if (geometry.kind !== 'done') return illegal(control, geometry);
  const vmid = Number(read(registers, 'VTTBR_EL2') >> 48n) & (vtcr['VS'] === 1n ? 0xffff : 0xff);
  const config = { features, fwb: hcr['FWB'] === 1n && features.s2fwb, sh: Number(vtcr['SH0']) };
  const root = rootOf(registers, control, geometry.value, config, { regime: 's2', upper: false, tableAddresses: 'physical', vmid });
  return root.kind === 'done' ? done([root.value]) : root;
}

/** One range of a stage-1 regime. */
interface Range {
  readonly regime: 'el10' | 'el20' | 'el2';
  readonly el: 1 | 2;
  /** 0: TTBR0, lower range; 1: TTBR1, upper range. */
  readonly index: 0 | 1;
  readonly tcr: Fields;
}

function stage1Control({ el, index, tcr, regime }: Range, features: Features): Control {
  const tg = tcr[`TG${index}`];
  const granule = ((index === 0 ? TG0_GRANULES : TG1_GRANULES) as readonly (Granule | undefined)[])[Number(tg)];
  const ps = regime === 'el2' ? 'PS' : 'IPS';
  return {
    base: `TTBR${index}_EL${el}`,
    control: `TCR_EL${el}`,
    granule,
    tg: [`TG${index}`, tg],
    size: [`T${index}SZ`, tcr[`T${index}SZ`]],
    ps: [ps, tcr[ps]],
    ds: tcr['DS'] === 1n && granule !== undefined && features.lpa2Granules1.includes(granule),
  };
}

function stage1Root(registers: Registers, range: Range, features: Features): Outcome<RegimeRoot> {
  const { regime, index, tcr } = range;
  const control = stage1Control(range, features);
  const reserved = reservedField(control);
  const { granule } = control;
  if (granule === undefined || reserved !== undefined) return reserved!;
  const geometry = stage1Geometry({
    granule,
    vaBits: 64 - Number(control.size[1]),
    paBits: features.paBits,
    oaBits: PA_RANGES[Number(control.ps[1])],
    ds: control.ds,
    features: geometryFeatures(features, 1, granule),
  });
  if (geometry.kind !== 'done') return illegal(control, geometry);
  const mair = registers[`MAIR_EL${range.el}`];
  const hpd = features.hpds && tcr[regime === 'el2' ? 'HPD' : `HPD${index}`] === 1n;
  const config = { features, hpd, sh: Number(tcr[`SH${index}`]), upper: index === 1, ...(mair === undefined ? {} : { mair }) };
  const rest = { regime, upper: index === 1, tableAddresses: tableAddresses(registers, regime), ...asidOf(registers, range) };
  return rootOf(registers, control, geometry.value, config, rest);
}

/** Tables of EL1&0 are at IPAs where stage 2 is on and EL0 does not belong to the host. */
function tableAddresses(registers: Registers, regime: Range['regime']): RegimeRoot['tableAddresses'] {
  const { VM, E2H, TGE } = fieldsOf(registers, 'HCR_EL2');
  return regime === 'el10' && VM === 1n && !(E2H === 1n && TGE === 1n) ? 'ipa' : 'physical';
}

/** The ASID in use is that of the TTBR that TCR.A1 names, 8 or 16 bits as TCR.AS says. */
function asidOf(registers: Registers, { regime, el, tcr }: Range): { readonly asid?: number } {
  if (regime === 'el2') return {};
  const ttbr = read(registers, `TTBR${tcr['A1']}_EL${el}`);
  return { asid: Number(ttbr >> 48n) & (tcr['AS'] === 1n ? 0xffff : 0xff) };
}

/**
 * Tables of a stage-1 regime. A range that is switched off (EPD) is left out; so is one with an illegal configuration whose TTBR is 0,
 * because nobody has put a table there. Any other illegal range is refused.
 */
function stage1Roots(registers: Registers, regime: Range['regime'], features: Features): Outcome<readonly RegimeRoot[]> {
  const el = regime === 'el10' ? 1 : 2;
  const sctlr = `SCTLR_EL${el}`;
  if (registers[sctlr] !== undefined && fieldsOf(registers, sctlr)['M'] === 0n)
    return notInForce(`${sctlr}.M is 0: stage 1 of ${regime} is off.`);
  const ranges = regime === 'el2' ? [0 as const] : [0 as const, 1 as const];
  if (read(registers, `TCR_EL${el}`) === 0n && ranges.every((index) => read(registers, `TTBR${index}_EL${el}`) === 0n)) {
    return notInForce(`TCR_EL${el} and its TTBRs are 0: ${regime} has no table.`);
  }
  const tcr = fieldsOf(registers, `TCR_EL${el}`, regime === 'el20' ? 'TCR_EL2_E2H' : `TCR_EL${el}`);
  const roots: RegimeRoot[] = [];
  for (const index of ranges) {
    if (tcr[`EPD${index}`] === 1n) continue;
    const root = stage1Root(registers, { regime, el, index, tcr }, features);
    if (root.kind === 'done') roots.push(root.value);
    else if (ranges.length === 1 || read(registers, `TTBR${index}_EL${el}`) !== 0n) return root;
  }
  return roots.length > 0 ? done(roots) : notInForce(`TCR_EL${el} puts no table of ${regime} in force.`);
}

/**
 * Every table of a regime that the registers put in force. A register that is not in the set counts as 0, but an absent SCTLR as
 * translation on. Stage 2 does not ask for HCR_EL2.VM, because a stopped host has it clear. Refused: `registers.not-in-force`,
 * `registers.illegal`, `registers.tg-reserved`, `registers.ps-reserved`, `registers.sl-reserved`, `registers.base-too-large`,
 * `registers.unknown-regime`.
 */
export function roots(registers: Registers, regime: string, given?: Partial<Features>): Outcome<readonly RegimeRoot[]> {
  const features = { ...featuresOf(registers), ...given };
  const e2h = fieldsOf(registers, 'HCR_EL2')['E2H'] === 1n;
  switch (regime) {
    case 's2':
      return stage2Roots(registers, features);
    case 'el10':
      return stage1Roots(registers, regime, features);
    case 'el2':
      if (e2h) return notInForce('HCR_EL2.E2H is 1: TTBR0_EL2 is of regime el20.');
      return stage1Roots(registers, regime, features);
    case 'el20':
      if (!e2h) return notInForce('HCR_EL2.E2H is 0: TTBR0_EL2 is of regime el2.');
      return stage1Roots(registers, regime, features);
    default:
      return refused('registers.unknown-regime', `Regime ${regime} is not one of el10, el20, el2, s2.`, SOURCE);
  }
}
