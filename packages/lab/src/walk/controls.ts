import {
  type Backend,
  type Outcome,
  type RangeControl,
  type Registers,
  type Stage1Control,
  type Stage2Control,
  type TranslationControls,
  done,
  notModelled,
} from '@granule/contract';
import { firstAddress } from '../image/addresses.js';
import type { Image } from '../image/image.js';
import { SCTLR } from '../image/named.js';
import type { RegimeTables } from '../image/regime-tables.js';

const TWO_32 = 4294967296;

const NO_RANGE: RangeControl = {
  format: undefined,
  base: 0,
  iaBits: 0,
  walkOff: false,
  unprivilegedOff: false,
  topByteIgnored: false,
  topByteIgnoredFetch: false,
  hierarchical: false,
  shareability: 0,
};

/** Stage 1 switched off, of memory that leaves every attribute to stage 2: an IPA goes to stage 2 as it is. IPAs have at most 52 bits. */
const IDENTITY: Stage1Control = {
  regime: 's2',
  on: false,
  unprivileged: true,
  state: 'aarch64',
  lower: NO_RANGE,
  upper: undefined,
  upperStart: 0,
  paBits: 52,
  bigEndian: false,
  dataCache: true,
  instructionCache: true,
  wxn: false,
  uwxn: false,
  guestHypervisor: false,
  epan: false,
  defaultCacheable: true,
  defaultTagged: false,
  mair: [],
  hardwareAccess: false,
  hardwareDirty: false,
  xs: false,
  mte: false,
  faultLevel: 0,
};

/** Registers without those of a stage that the walk does not go through: what is not modelled there does not matter. */
function concerned(registers: Registers, stage1: string | undefined, stage2: boolean): Registers {
  return { ...registers, ...(stage1 === 'pl10' ? {} : { SCTLR: 0n }), ...(stage2 ? {} : { VTCR_EL2: 0n }) };
}

function rangeOf(base: RangeControl, tables: RegimeTables | undefined, listed: boolean): RangeControl {
  if (tables === undefined) {
    return { ...base, walkOff: true };
  }
  const { format, root } = tables;
  const range = { ...base, format, base: root, iaBits: format.geometry.iaBits, walkOff: false };
  return listed ? { ...range, unprivilegedOff: false } : range;
}

/** Stage 1 as registers say, of these tables. Without the regime's SCTLR in the file translation and caches are taken to be on. */
function stage1Of(base: Stage1Control, ranges: readonly RegimeTables[], image: Image): Stage1Control {
  const listed = !image.backend.regimes.includes(ranges[0].name);
  const lower = ranges.find(({ format }) => !format.upper);
  const upper = ranges.find(({ format }) => format.upper);
  const known = image.registers[SCTLR[base.regime]] !== undefined;
  const caches = known ? {} : { dataCache: true, instructionCache: true };
  const hasUpper = upper !== undefined || (!listed && base.upper !== undefined);
  const start = upper === undefined ? base.upperStart : Number(firstAddress(upper) % 2n ** 32n) + (upper.range?.start ?? 0);
  return {
    ...base,
    ...caches,
    on: true,
    lower: rangeOf(base.lower, lower, listed),
    upper: hasUpper ? rangeOf(base.upper ?? base.lower, upper, listed) : undefined,
    upperStart: hasUpper ? start : TWO_32,
  };
}

/** Stage 2 as registers say, of these tables. HCR_EL2.FWB is the host's: it does not hold for a guest hypervisor's tables, which are at IPAs. */
function stage2Of(base: Stage2Control, tables: RegimeTables): Stage2Control {
  return { ...base, on: true, range: rangeOf(base.range, tables, true), fwb: base.fwb && tables.through === undefined };
}

function decode(backend: Backend, registers: Registers, image: Image): Outcome<TranslationControls> {
  const controls = backend.registers.controls?.(registers, image.features);
  return controls ?? notModelled('context.no-controls', `Backend ${backend.name} does not decode translation controls.`, 'RegisterCodec.controls');
}

/**
 * What decides a walk through these tables: stage 1, and stage 2 where its addresses are IPAs; or stage 2 alone, behind a stage 1 that is off. Tables that
 * are listed by name take the place of those that registers point to; whatever else registers say of the regime holds. Not modelled: as the backend's
 * `controls`.
 */
export function controlsOf(image: Image, ranges: readonly RegimeTables[]): Outcome<TranslationControls> {
  const [{ backend, format, through }] = ranges;
  const host = format.stage === 2 ? ranges[0] : through;
  const registers = concerned(image.registers, format.stage === 2 ? undefined : format.regime, host !== undefined);
  const decoded = decode(backend, registers, image);
  if (decoded.kind !== 'done') {
    return decoded;
  }
  const { stage1, stage2 } = decoded.value;
  const own = stage1.find(({ regime }) => regime === format.regime);
  if ((format.stage === 1 && own === undefined) || (host !== undefined && stage2 === undefined)) {
    return notModelled('context.no-controls', `Backend ${backend.name} does not decode the controls of ${format.regime}.`, 'RegisterCodec.controls');
  }
  return done({
    stage1: [own === undefined ? IDENTITY : stage1Of(own, ranges, image)],
    virtualised: host === undefined ? '' : own === undefined ? 's2' : own.regime,
    stage2: host === undefined || stage2 === undefined ? undefined : stage2Of(stage2, host),
  });
}
