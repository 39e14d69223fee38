import { bit } from './bits.js';
import type { TwinMachine } from './machine.js';

/** MemAttrHints. `hints`: bit 1 read-allocate, bit 0 write-allocate. */
export interface Cacheability {
  readonly attrs: 'NC' | 'WT' | 'WB';
  readonly hints: bigint;
  readonly transient: boolean;
}

/** MemoryAttributes. `device`: 0 nGnRnE … 3 GRE. `shareability`: the encoding of SH, with the reserved 1 as it was written. */
export interface MemoryAttributes {
  readonly memtype: 'device' | 'normal';
  readonly device: bigint;
  readonly inner: Cacheability;
  readonly outer: Cacheability;
  readonly shareability: bigint;
  readonly xs: boolean;
  readonly tagged: boolean;
}

const NONE: Cacheability = { attrs: 'NC', hints: 0n, transient: false };
const NSH = 0n;
const OSH = 2n;
const ISH = 3n;

export const normalNC = (xs: boolean): MemoryAttributes => ({ memtype: 'normal', device: 0n, inner: NONE, outer: NONE, shareability: OSH, xs, tagged: false });
export const deviceAttrs = (device: bigint, shareability: bigint, xs: boolean): MemoryAttributes => ({ ...normalNC(xs), memtype: 'device', device, shareability });
export const normalBoth = (attrs: 'WT' | 'WB', hints: bigint, shareability: bigint, xs: boolean): MemoryAttributes => {
  const both: Cacheability = { attrs, hints, transient: false };
  return { ...normalNC(xs), inner: both, outer: both, shareability };
};

const isWB = ({ inner, outer }: MemoryAttributes): boolean => inner.attrs === 'WB' && outer.attrs === 'WB';

/** DecodeLDFAttr: one nibble of MAIR. */
function decodeLDFAttr(nibble: bigint): Cacheability {
  if (nibble === 0b0100n) return NONE;
  const hints = nibble & 3n;
  const attrs = bit(nibble, 2) ? 'WB' : 'WT';
  // 00RW write-through transient, 01RW write-back transient, 10RW write-through, 11RW write-back.
  return { attrs, hints, transient: !bit(nibble, 3) };
}

/** S1DecodeMemAttrs. */
export function s1DecodeMemAttrs({ features }: TwinMachine, attr: bigint, shareability: bigint): MemoryAttributes {
  if (attr >> 4n === 0n) return deviceAttrs((attr >> 2n) & 3n, shareability, !(features.xs && bit(attr, 0)));
  if (features.xs && attr === 0x40n) return { ...normalNC(false), shareability };
  if (features.xs && attr === 0xa0n) return normalBoth('WT', 2n, shareability, false);
  if (features.mte2 && attr === 0xf0n) return { ...normalBoth('WB', 3n, shareability, false), tagged: true };
  const decoded = { ...normalNC(true), outer: decodeLDFAttr(attr >> 4n), inner: decodeLDFAttr(attr & 15n), shareability };
  return { ...decoded, xs: !isWB(decoded) };
}

function s2DecodeCacheability(attr: bigint): Cacheability {
  if (attr === 0b10n) return { attrs: 'WT', hints: 3n, transient: false };
  return attr === 0b11n ? { attrs: 'WB', hints: 3n, transient: false } : NONE;
}

/** S2DecodeMemAttrs: MemAttr without FWB. */
export function s2DecodeMemAttrs(attr: bigint, shareability: bigint, xs: boolean): MemoryAttributes {
  if (attr >> 2n === 0n) return deviceAttrs(attr & 3n, shareability, xs);
  return { ...normalNC(xs), outer: s2DecodeCacheability(attr >> 2n), inner: s2DecodeCacheability(attr & 3n), shareability };
}

export function effectiveShareability({ memtype, inner, outer, shareability }: MemoryAttributes): bigint {
  return memtype === 'device' || (inner.attrs === 'NC' && outer.attrs === 'NC') ? OSH : shareability;
}

/** S2CombineS1Shareability. */
function combineShareability(one: bigint, two: bigint): bigint {
  if (one === OSH || two === OSH) return OSH;
  return one === ISH || two === ISH ? ISH : NSH;
}

/** S2CombineS1AttrHints: the weaker, with the hints of stage 1. */
function combineHints(s1: Cacheability, s2: Cacheability): Cacheability {
  if (s1.attrs === 'NC' || s2.attrs === 'NC') return NONE;
  return { ...s1, attrs: s1.attrs === 'WT' || s2.attrs === 'WT' ? 'WT' : 'WB' };
}

const least = (one: bigint, two: bigint): bigint => (one < two ? one : two);

/** S2MemTagType. */
function tagged(s1: MemoryAttributes, { memtype, inner, outer }: MemoryAttributes): boolean {
  const full = ({ attrs, hints, transient }: Cacheability): boolean => attrs === 'WB' && hints === 3n && !transient;
  return s1.tagged && memtype === 'normal' && full(inner) && full(outer);
}

function finished(s1: MemoryAttributes, combined: MemoryAttributes, shareability: bigint): MemoryAttributes {
  const shared = { ...combined, shareability };
  return { ...shared, shareability: effectiveShareability(shared), tagged: tagged(s1, combined) };
}

/** S2CombineS1MemAttrs. */
export function s2CombineS1MemAttrs(s1: MemoryAttributes, s2: MemoryAttributes): MemoryAttributes {
  const shareability = combineShareability(s1.shareability, s2.shareability);
  const xs = s1.xs && s2.xs;
  if (s1.memtype === 'device' && s2.memtype === 'device') return finished(s1, { ...s1, device: least(s1.device, s2.device), xs }, shareability);
  if (s1.memtype === 'device') return finished(s1, { ...s1, xs }, shareability);
  if (s2.memtype === 'device') return finished(s1, { ...s2, xs }, shareability);
  const both = { ...s1, inner: combineHints(s1.inner, s2.inner), outer: combineHints(s1.outer, s2.outer) };
  return finished(s1, { ...both, xs: isWB(both) ? false : xs }, shareability);
}

const forcedWB = (memtype: string, s1: Cacheability): Cacheability =>
  memtype === 'normal' && s1.attrs !== 'NC' ? { ...s1, attrs: 'WB' } : { attrs: 'WB', hints: 3n, transient: false };

function fwbType(s1: MemoryAttributes, attr: bigint): MemoryAttributes {
  if (!bit(attr, 2)) {
    const device = attr & 3n;
    return { ...deviceAttrs(s1.memtype === 'device' ? least(s1.device, device) : device, OSH, s1.xs) };
  }
  if ((attr & 3n) === 0b11n) return s1;
  if ((attr & 3n) === 0b10n) return { ...normalNC(false), inner: forcedWB(s1.memtype, s1.inner), outer: forcedWB(s1.memtype, s1.outer) };
  return s1.memtype === 'device' ? s1 : normalNC(s1.xs);
}

/** AArch64.S2ApplyFWBMemAttrs. */
export function s2ApplyFWBMemAttrs(s1: MemoryAttributes, attr: bigint, shareability: bigint, fnxs: boolean): MemoryAttributes {
  const typed = fwbType(s1, attr);
  return finished(s1, { ...typed, xs: typed.xs && !fnxs }, combineShareability(s1.shareability, shareability));
}

function encodeNibble({ attrs, hints, transient }: Cacheability): bigint {
  if (attrs === 'NC') return 0b0100n;
  return (transient ? 0n : 8n) | (attrs === 'WB' ? 4n : 0n) | hints;
}

/** EncodePARAttrs. */
export function encodePARAttrs({ features }: TwinMachine, { memtype, device, inner, outer, xs, tagged: tags }: MemoryAttributes): bigint {
  if (tags) return 0xf0n;
  const without = features.xs && !xs;
  if (memtype === 'device') return (device << 2n) | (without ? 1n : 0n);
  // The allocation hints that tell are the outer ones.
  if (without && inner.attrs === 'WT' && outer.attrs === 'WT' && outer.hints === 2n && !outer.transient) return 0xa0n;
  if (without && inner.attrs === 'NC' && outer.attrs === 'NC') return 0x40n;
  return (encodeNibble(outer) << 4n) | encodeNibble(inner);
}

/** AArch64.EncodePAR of a success; NS (9) and the IMPLEMENTATION DEFINED bit 10 as 0. */
export function successPAR(machine: TwinMachine, address: bigint, attributes: MemoryAttributes): bigint {
  const page = BigInt.asUintN(52, (address >> 12n) << 12n);
  return (encodePARAttrs(machine, attributes) << 56n) | page | (1n << 11n) | (effectiveShareability(attributes) << 7n);
}
