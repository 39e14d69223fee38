/**
 * Memory attributes. Inside they are a MAIR byte in its plain encoding (0x00, 0x04, 0x08, 0x0c Device; else outer and inner nibbles), the XS attribute and
 * Tagged beside it; the encodings of FEAT_XS and of Tagged memory are put on at the end. Source: DDI 0487 D8.6 and the pseudocode S1DecodeMemAttrs,
 * S2CombineS1MemAttrs, S2ApplyFWBMemAttrs, EffectiveShareability, EncodePARAttrs.
 */
export interface Memory {
  /** Plain MAIR byte. */
  byte: number;
  /** FEAT_XS: the XS attribute, true unless memory is Write-Back or is said not to have it. Device and Non-cacheable memory keep it from stage 1. */
  xs: boolean;
  /** Stage 1 says Tagged; it is where the result is still Write-Back with both hints. */
  tagged: boolean;
}

export const SHAREABLE = { non: 0, reserved: 1, outer: 2, inner: 3 } as const;

const NC = 0x44;
const WRITE_BACK = 0xff;
/** Nibbles of a MAIR byte: Non-cacheable, and the bits that make it Write-Back, non-transient and the allocation hints. */
const NIBBLE = { nc: 0b0100, writeBack: 0b0100, kept: 0b1011 } as const;

export function isDevice(byte: number): boolean {
  return byte < 0x10;
}

function isWriteBack(nibble: number): boolean {
  return (nibble & NIBBLE.writeBack) !== 0 && nibble !== NIBBLE.nc;
}

/** Sets `into` from a MAIR byte. A reserved encoding is taken as it stands. */
export function decodeMair(byte: number, xs: boolean, mte: boolean, into: Memory): void {
  into.tagged = mte && byte === 0xf0;
  into.byte = byte;
  if (isDevice(byte)) {
    into.byte = byte & 0x0c;
    into.xs = !(xs && (byte & 1) !== 0);
  } else if (into.tagged) {
    into.byte = WRITE_BACK;
    into.xs = false;
  } else if (xs && (byte === 0x40 || byte === 0xa0)) {
    into.byte = byte === 0x40 ? NC : 0xaa;
    into.xs = false;
  } else {
    into.xs = !(isWriteBack(byte >> 4) && isWriteBack(byte & 15));
  }
}

/** The MAIR byte that shows this memory. */
export function encodeMair({ byte, xs, tagged }: Memory, hasXs: boolean): number {
  if (tagged && byte === WRITE_BACK) return 0xf0;
  if (xs || !hasXs) return byte;
  if (isDevice(byte)) return byte | 1;
  const outer = byte >> 4;
  const bothThrough = (outer & 4) === 0 && (byte & 4) === 0;
  if (bothThrough && (outer & 8) !== 0 && (outer & 3) === 2) return 0xa0;
  return byte === NC ? 0x40 : byte;
}

/** Normal Non-cacheable, as a disabled cache makes of Normal memory; XS stays. */
export function makeNonCacheable(memory: Memory): void {
  memory.byte = NC;
}

/** Device memory is Outer Shareable whatever is said, and so is memory that both the inner and the outer caches leave alone. */
export function isOuterShareable(byte: number): boolean {
  return isDevice(byte) || byte === NC;
}

export function combineShareability(one: number, two: number): number {
  if (one === SHAREABLE.outer || two === SHAREABLE.outer) return SHAREABLE.outer;
  return one === SHAREABLE.inner || two === SHAREABLE.inner ? SHAREABLE.inner : SHAREABLE.non;
}

/** Stage-2 cacheability: 1 Non-cacheable, 2 Write-Through, 3 Write-Back. Hints and transience are those of stage 1. */
function combineNibble(one: number, two: number): number {
  if (one === NIBBLE.nc || two === 1) return NIBBLE.nc;
  return two === 2 || !isWriteBack(one) ? one & NIBBLE.kept : one;
}

/** Combines stage 1 in `memory` with stage-2 MemAttr without FEAT_S2FWB. A reserved one (0bxx00, xx not 0) is taken as Non-cacheable inside. */
export function combine(memory: Memory, memAttr: number, nonCacheable: boolean): void {
  const device2 = (memAttr & 0b1100) === 0;
  if (isDevice(memory.byte)) {
    if (device2) memory.byte = Math.min(memory.byte, memAttr << 2);
    return;
  }
  if (device2) {
    memory.byte = memAttr << 2;
    return;
  }
  const outer = nonCacheable ? 1 : memAttr >> 2;
  const inner = nonCacheable ? 1 : Math.max(1, memAttr & 3);
  memory.byte = (combineNibble(memory.byte >> 4, outer) << 4) | combineNibble(memory.byte & 15, inner);
}

function forceWriteBack(nibble: number): number {
  return nibble === NIBBLE.nc || nibble === 0 ? 0b1111 : nibble | NIBBLE.writeBack;
}

/** Combines with FEAT_S2FWB (HCR_EL2.FWB = 1). MemAttr[3] is RES0 and not looked at. */
export function combineForced(memory: Memory, memAttr: number, nonCacheable: boolean): void {
  if ((memAttr & 0b100) === 0) {
    const device = (memAttr & 3) << 2;
    memory.byte = isDevice(memory.byte) ? Math.min(memory.byte, device) : device;
    return;
  }
  if ((memAttr & 3) === 2) {
    const { byte } = memory;
    memory.byte = isDevice(byte) ? WRITE_BACK : (forceWriteBack(byte >> 4) << 4) | forceWriteBack(byte & 15);
    memory.xs = false;
  } else if ((memAttr & 3) < 2 && !isDevice(memory.byte)) {
    makeNonCacheable(memory);
  }
  if (nonCacheable && !isDevice(memory.byte)) makeNonCacheable(memory);
}
