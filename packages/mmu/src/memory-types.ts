import type { Stage1Control, Stage2Control } from '@granule/contract';
import { combine, combineForced, decodeMair, encodeMair, isDevice, isOuterShareable, makeNonCacheable, type Memory } from './attributes.js';

/**
 * The memory attributes of a translation, packed: the MAIR byte that shows them, and whether they make memory Outer Shareable, those of stage 1 alone and
 * those of both stages.
 */
export const MEMORY = { byte: 0xff, outer: 0x100, outer1: 0x200, known: 0x400 } as const;

/** What leaves say about memory; `memAttr` −1: there is no stage 2. */
export interface LeafMemory {
  readonly attrIndx: number;
  readonly memAttr: number;
  readonly fnXS: boolean;
  readonly fetch: boolean;
}

/** A small number for each {@link LeafMemory}, the flags as 0 or 1. */
export function memoryKey(attrIndx: number, memAttr: number, fnXS: number, fetch: number): number {
  return attrIndx | (fetch << 3) | (fnXS << 4) | ((memAttr + 1) << 5);
}

export const MEMORY_KEYS = 17 * 32;

/** Whether a stage-2 leaf is of Device memory. */
export function isDeviceLeaf({ fwb }: Stage2Control, memAttr: number): boolean {
  return fwb ? (memAttr & 0b100) === 0 : (memAttr & 0b1100) === 0;
}

/** Stage 1, into `memory`. The MAIR byte as software wrote it, where nothing changes it: reserved encodings show as they are. −1 otherwise. */
function first(control: Stage1Control, { attrIndx, fetch }: LeafMemory, memory: Memory): number {
  const { xs, mte } = control;
  if (!control.on) return off(control, fetch, memory);
  const mair = control.mair[attrIndx];
  decodeMair(mair, xs, mte, memory);
  const cached = fetch ? control.instructionCache : control.dataCache;
  const uncached = isDevice(mair) ? fetch : !cached;
  if (uncached) makeNonCacheable(memory);
  return uncached ? -1 : mair;
}

/** Stage 1 is off (DDI 0487 AArch64.S1DisabledOutput). */
function off({ defaultCacheable, defaultTagged, instructionCache }: Stage1Control, fetch: boolean, memory: Memory): number {
  memory.byte = defaultCacheable ? 0xff : !fetch ? 0x00 : instructionCache ? 0xaa : 0x44;
  memory.xs = !defaultCacheable;
  memory.tagged = defaultCacheable && defaultTagged;
  return -1;
}

/** Stage 2 on top of it (DDI 0487 AArch64.S2Translate). */
function second(control: Stage2Control, { memAttr, fnXS, fetch }: LeafMemory, memory: Memory, written: number): number {
  const nonCacheable = fetch ? control.instructionNonCacheable : control.dataNonCacheable;
  const asStage1 = control.fwb && (memAttr & 0b111) === 0b111 && !nonCacheable;
  const noXS = control.xs && fnXS;
  if (control.fwb) combineForced(memory, memAttr, nonCacheable);
  else combine(memory, memAttr, nonCacheable);
  if (fetch && isDeviceLeaf(control, memAttr)) makeNonCacheable(memory);
  if (noXS) memory.xs = false;
  return asStage1 && !noXS ? written : -1;
}

/** The attributes of one combination of leaves, as {@link MEMORY} packs them. */
export function memoryOf(stage1: Stage1Control, stage2: Stage2Control | undefined, said: LeafMemory): number {
  const memory: Memory = { byte: 0, xs: true, tagged: false };
  const one = first(stage1, said, memory);
  const outer1 = isOuterShareable(memory.byte) ? MEMORY.outer1 : 0;
  const written = stage2 === undefined ? one : second(stage2, said, memory, one);
  const byte = written >= 0 ? written : encodeMair(memory, stage1.xs);
  return MEMORY.known | outer1 | (isOuterShareable(memory.byte) ? MEMORY.outer : 0) | byte;
}
