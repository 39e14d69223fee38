import type { Stage2Control } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { high32, low32, type OutputAddress } from '@granule/geometry/bits';
import type { Stage2 } from './context.js';
import { needed, stage2Permissions } from './permissions.js';
import { take } from './slots.js';
import { KIND, type Tables } from './tables.js';
import { note, swapBytes } from './updates.js';
import { below, type Walker } from './walker.js';

/** Why stage 2 is asked: for the access itself, or for a descriptor of stage 1. */
export const PURPOSE = { access: 0, table: 1 } as const;
export type Purpose = (typeof PURPOSE)[keyof typeof PURPOSE];

/**
 * Translates an IPA into `leaf2`. False: `out.fault` says why (DDI 0487 AArch64.S2Translate). For a stage-1 table the access is a read, whatever the
 * access that it is for.
 */
export function stage2(walker: Walker, stage: Stage2, ipa: OutputAddress, purpose: Purpose): boolean {
  const { control, tables } = stage;
  const s1ptw = purpose === PURPOSE.table;
  if (tables === undefined || ipa >= tables.iaEnd) return walker.fail('translation', control.faultLevel, 2, s1ptw, ipa);
  if (tables.base >= tables.oaEnd) return walker.fail('address-size', control.faultLevel, 2, s1ptw, ipa);
  if (!walk(walker, control, tables, ipa, s1ptw)) return false;
  const { leaf2 } = walker;
  if ((leaf2.lo & tables.af) === 0 && !control.hardwareAccess) return walker.fail('access-flag', leaf2.level, 2, s1ptw, ipa);
  const writable = control.hardwareDirty && take(tables.slots.dbm, leaf2.lo, leaf2.hi) === 1;
  walker.permissions2 = stage2Permissions(control, tables.slots, leaf2.lo, leaf2.hi, writable);
  if (!permitted(walker, control, tables, purpose)) {
    if (walker.context.choices.accessFlagOnPermissionFault === true) update2(walker, stage, purpose, false);
    return walker.fail('permission', leaf2.level, 2, s1ptw, ipa);
  }
  update2(walker, stage, purpose, walker.write && !walker.silent && purpose === PURPOSE.access);
  leaf2.output += below(ipa, leaf2.shift);
  return true;
}

function walk(walker: Walker, control: Stage2Control, tables: Tables, ipa: OutputAddress, s1ptw: boolean): boolean {
  const { leaf2 } = walker;
  const lo = low32(ipa);
  const hi = high32(ipa);
  let table = tables.base;
  walker.memory.stage2?.(ipa);
  for (let level = tables.startLevel; ; level = (level + 1) as Level) {
    const address = table + tables.entryOffset(lo, hi, level);
    if (!walker.load(address, address, 2, level, control.bigEndian)) return walker.fail('external-abort-on-walk', level, 2, s1ptw, ipa);
    const kind = tables.kind(walker.lo, level);
    if (kind === KIND.invalid) return walker.fail('translation', level, 2, s1ptw, ipa);
    if (kind === KIND.leaf) {
      walker.settle(leaf2, tables, level, address, address);
      return leaf2.output < tables.oaEnd || walker.fail('address-size', level, 2, s1ptw, ipa);
    }
    table = tables.tableOutput(walker.lo, walker.hi);
    if (table >= tables.oaEnd) return walker.fail('address-size', level, 2, s1ptw, ipa);
  }
}

/** Whether a leaf is of Device memory. */
export function deviceLeaf(control: Stage2Control, memAttr: number): boolean {
  return control.fwb ? (memAttr & 0b100) === 0 : (memAttr & 0b1100) === 0;
}

function permitted(walker: Walker, control: Stage2Control, tables: Tables, purpose: Purpose): boolean {
  const { leaf2, permissions2, privileged, fetch, write } = walker;
  const device = deviceLeaf(control, take(tables.slots.memAttr, leaf2.lo, leaf2.hi));
  if (purpose === PURPOSE.table) {
    return (permissions2 & needed(false, false, true)) !== 0 && !(control.protectedWalk && device);
  }
  if (fetch && device && walker.context.choices.fetchFromDevice === 'fault') return false;
  return (permissions2 & needed(fetch, write, privileged)) !== 0;
}

/** Notes the access flag, and for a write the dirty state, that hardware sets in the stage-2 leaf. */
function update2(walker: Walker, { control, tables }: Stage2, purpose: Purpose, write: boolean): void {
  if (!control.hardwareAccess) return;
  const { leaf2 } = walker;
  let { lo } = leaf2;
  if (setsAccessFlag(walker, purpose)) lo = lo | tables!.af;
  if (write && control.hardwareDirty && take(tables!.slots.dbm, leaf2.lo, leaf2.hi) === 1) lo = lo | tables!.writeSet;
  commit(walker, 2, control.bigEndian, lo);
}

/** Whether hardware sets the access flag for this access; an AT instruction may or may not. */
export function setsAccessFlag({ silent, context }: Walker, purpose: Purpose): boolean {
  if (!silent) return true;
  const choice = context.choices.atSetsAccessFlag ?? 'tables';
  return choice === 'all' || (choice === 'tables' && purpose === PURPOSE.table);
}

/** Notes that the low half of a leaf becomes `lo` (signed), and keeps the leaf as it then is. */
export function commit(walker: Walker, stage: 1 | 2, bigEndian: boolean, lo: number): void {
  const leaf = stage === 1 ? walker.leaf1 : walker.leaf2;
  const { word } = walker;
  if (lo === leaf.lo) return;
  word.lo = bigEndian ? swapBytes(leaf.hi) : leaf.lo;
  word.hi = bigEndian ? swapBytes(leaf.lo) : leaf.hi;
  const newLo = bigEndian ? swapBytes(leaf.hi) : lo;
  const newHi = bigEndian ? swapBytes(lo) : leaf.hi;
  note(walker.out.updates, stage, leaf.level, leaf.physical, word, newLo, newHi);
  leaf.lo = lo;
}

/**
 * Whether hardware may write the stage-1 leaf that `leaf2` was last asked for: the page must be writable at stage 2, and is dirty then (DDI 0487 D8.5,
 * AArch64.S1Translate with CreateAccDescTTEUpdate).
 */
export function stage2Update(walker: Walker, stage: Stage2, ipa: OutputAddress): boolean {
  const { leaf2, permissions2 } = walker;
  if ((permissions2 & needed(false, true, true)) === 0) return walker.fail('permission', leaf2.level, 2, true, ipa);
  update2(walker, stage, PURPOSE.table, true);
  return true;
}
