import type { FaultType } from '@granule/contract';
import { fromHalves } from '@granule/geometry/bits';
import type { Stage2 } from './context.js';
import type { LevelNumbers } from './levels.js';
import { limitsOf } from './permissions.js';
import { check } from './stage2.js';
import { topOf, type Tables } from './tables.js';
import { swapBytes } from './updates.js';
import type { LeafState, Walker } from './walker.js';

/**
 * How a walk ended: 0 at a leaf, or by a fault, `reported` by one of stage 2 that is in `out.fault` already. Loops compare with 0 as it is written: a bundler
 * makes variables of constants, which engines then load and check each time.
 */
export const END = { leaf: 0, translation: 1, addressSize: 2, abort: 3, reported: 4 } as const;
export type End = (typeof END)[keyof typeof END];

/** The fault that an end is, by its number. */
export const FAULTS: readonly FaultType[] = ['translation', 'translation', 'address-size', 'external-abort-on-walk'];

/**
 * Walks the tables of stage 1 for an offset in their range, its halves given, as far as the leaf; each descriptor's own address goes through `host`, the
 * stage 2, where there is one. Where it ended is in `leaf1`: the level, after a leaf everything.
 */
export function walk1(walker: Walker, tables: Tables, host: Stage2 | undefined, addressLo: number, addressHi: number): End {
  const { words, log, leaf1, leaf2 } = walker;
  // Integers from here on, so that the loop need not look.
  const lo = addressLo | 0;
  const hi = addressHi | 0;
  let tableLo = tables.baseLo;
  let tableHi = tables.baseHi;
  for (let step = tables.start; ; step = step.next!) {
    const atLo = tableLo | step.entryOffset(lo, hi);
    let physicalLo = atLo;
    let physicalHi = tableHi;
    if (host !== undefined) {
      if (stage2(walker, host, atLo, tableHi, 1) === 0) return END.reported;
      physicalLo = leaf2.outLo;
      physicalHi = leaf2.outHi;
    }
    const word = walker.wordAt(physicalLo, physicalHi);
    let low: number;
    let high: number;
    if (word >= 0) {
      low = words[word] | 0;
      high = words[(word + 1) | 0] | 0;
    } else {
      if (walker.load(physicalLo, physicalHi, step) === 0) return ended(leaf1, step, END.abort);
      low = walker.lo;
      high = walker.hi;
    }
    if (tables.bigEndian !== 0) {
      const first = low;
      low = swapBytes(high);
      high = swapBytes(first);
    }
    if (log !== undefined) log.add(step.tag, atLo, tableHi, physicalLo, physicalHi, low, high);
    const type = low & step.typeMask;
    if (type !== step.tableType) {
      if (type !== step.leafType) return ended(leaf1, step, END.translation);
      leaf1.addressLo = atLo;
      leaf1.addressHi = tableHi;
      leaf1.physicalLo = physicalLo;
      leaf1.physicalHi = physicalHi;
      return leaf1.settle(tables, step, low, high, lo, hi);
    }
    if ((high & tables.limiting) !== 0) walker.limits |= limitsOf(tables.slots, low, high);
    tableLo = low & tables.tableOaLo;
    tableHi = (high & tables.tableOaHi) | (tables.topMask === 0 ? 0 : topOf(tables, low));
    if ((tableHi & tables.beyondOa) !== 0) return ended(leaf1, step, END.addressSize);
  }
}

/** Walks the tables of stage 2 for an IPA in the same way, into `leaf2`. */
function walk2(walker: Walker, tables: Tables, addressLo: number, addressHi: number): End {
  const { words, log, leaf2 } = walker;
  // Integers from here on, so that the loop need not look.
  const lo = addressLo | 0;
  const hi = addressHi | 0;
  let tableLo = tables.baseLo;
  let tableHi = tables.baseHi;
  for (let step = tables.start; ; step = step.next!) {
    const atLo = tableLo | step.entryOffset(lo, hi);
    const word = walker.wordAt(atLo, tableHi);
    let low: number;
    let high: number;
    if (word >= 0) {
      low = words[word] | 0;
      high = words[(word + 1) | 0] | 0;
    } else {
      if (walker.load(atLo, tableHi, step) === 0) return ended(leaf2, step, END.abort);
      low = walker.lo;
      high = walker.hi;
    }
    if (tables.bigEndian !== 0) {
      const first = low;
      low = swapBytes(high);
      high = swapBytes(first);
    }
    if (log !== undefined) log.add(step.tag, atLo, tableHi, atLo, tableHi, low, high);
    const type = low & step.typeMask;
    if (type !== step.tableType) {
      if (type !== step.leafType) return ended(leaf2, step, END.translation);
      leaf2.physicalLo = atLo;
      leaf2.physicalHi = tableHi;
      return leaf2.settle(tables, step, low, high, lo, hi);
    }
    tableLo = low & tables.tableOaLo;
    tableHi = (high & tables.tableOaHi) | (tables.topMask === 0 ? 0 : topOf(tables, low));
    if ((tableHi & tables.beyondOa) !== 0) return ended(leaf2, step, END.addressSize);
  }
}

function ended(leaf: LeafState, { level }: LevelNumbers, end: End): End {
  leaf.level = level;
  return end;
}

/**
 * Translates an IPA, its halves given, into `leaf2`: 1. 0: `out.fault` says why (DDI 0487 AArch64.S2Translate).
 *
 * @param s1ptw 1: for a descriptor of stage 1; the access is a read then, whatever the access that it is for. 0: for the access itself
 */
export function stage2(walker: Walker, stage: Stage2, lo: number, hi: number, s1ptw: 0 | 1): 0 | 1 {
  const { control, tables, plain } = stage;
  const { leaf2 } = walker;
  if (tables === undefined || ((lo & tables.beyondIaLo) | (hi & tables.beyondIaHi)) !== 0) return walker.fail2('translation', control.faultLevel, s1ptw, lo, hi);
  if (tables.baseBeyond !== 0) return walker.fail2('address-size', control.faultLevel, s1ptw, lo, hi);
  if (walker.told !== 0) walker.memory.stage2!(fromHalves(lo, hi));
  const end = walk2(walker, tables, lo, hi);
  if (end !== 0) return walker.fail2(FAULTS[end], leaf2.level, s1ptw, lo, hi);
  // Most of what is asked: a descriptor of stage 1 in ordinary memory.
  if (s1ptw !== 0 && plain !== 0 && (leaf2.lo & plain) === plain) return 1;
  return check(walker, stage, tables, lo, hi, s1ptw);
}
