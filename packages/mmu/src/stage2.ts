import type { Stage2Control } from '@granule/contract';
import { fromHalves } from '@granule/geometry/bits';
import type { Stage2 } from './context.js';
import { isDeviceLeaf } from './memory-types.js';
import { needed, stage2Permissions } from './permissions.js';
import { combinationOf, learn } from './rights.js';
import { take } from './slots.js';
import type { Tables } from './tables.js';
import { note, swapBytes } from './updates.js';
import type { LeafState, Walker } from './walker.js';

/**
 * Bits of the low half of a leaf that say that stage 1 may have descriptors there, with nothing else to look at: access flag and S2AP[0]. 0: there is more to
 * look at.
 */
export function plainBits(control: Stage2Control, { af, slots: { s2ap } }: Tables): number {
  if (control.hardwareAccess || control.protectedWalk || s2ap.half === 1 || s2ap.mask === 0) return 0;
  return af | (1 << s2ap.shift);
}

/** Access flag, permissions and hardware updates of the leaf, in this order: 1. 0: `out.fault` says why. */
export function check(walker: Walker, stage: Stage2, tables: Tables, lo: number, hi: number, s1ptw: 0 | 1): 0 | 1 {
  const { control } = stage;
  const { leaf2 } = walker;
  if ((leaf2.lo & tables.af) === 0 && !control.hardwareAccess) return walker.fail2('access-flag', leaf2.level, s1ptw, lo, hi);
  if (!(s1ptw !== 0 ? readable(walker, control, tables) : permitted(walker, stage, tables))) {
    if (walker.context.choices.accessFlagOnPermissionFault) update2(walker, control, tables, s1ptw, false);
    return walker.fail2('permission', leaf2.level, s1ptw, lo, hi);
  }
  if (control.hardwareAccess) update2(walker, control, tables, s1ptw, walker.sets !== 0 && s1ptw === 0);
  return 1;
}

/** Whether the walk of stage 1 may read a descriptor there: S2AP[0], and with HCR.PTW not in Device memory. */
function readable({ leaf2 }: Walker, control: Stage2Control, { slots }: Tables): boolean {
  if ((take(slots.s2ap, leaf2.lo, leaf2.hi) & 1) === 0) return false;
  return !control.protectedWalk || !isDeviceLeaf(control, take(slots.memAttr, leaf2.lo, leaf2.hi));
}

/** The rights of the leaf, into `permissions2`, and whether they permit the access. */
function permitted(walker: Walker, stage: Stage2, { slots }: Tables): boolean {
  const { leaf2 } = walker;
  const permissions = permissionsOf(leaf2, stage);
  walker.permissions2 = permissions;
  if (walker.fetch !== 0 && walker.context.choices.fetchFromDevice === 'fault' && isDeviceLeaf(stage.control, take(slots.memAttr, leaf2.lo, leaf2.hi))) return false;
  return (permissions & walker.needed) !== 0;
}

function permissionsOf({ lo, hi }: LeafState, { control, tables, rights }: Stage2): number {
  const combination = combinationOf(rights, lo, hi, 0);
  const known = combination < rights.known.length ? rights.known[combination] : 0;
  if (known !== 0) return known - 1;
  const { slots } = tables!;
  const writable = control.hardwareDirty && take(slots.dbm, lo, hi) === 1;
  return learn(rights, combination, stage2Permissions(control, slots, lo, hi, writable));
}

/** Notes the access flag, and for a write the dirty state, that hardware sets in the stage-2 leaf. */
function update2(walker: Walker, control: Stage2Control, { af, slots, writeSet }: Tables, s1ptw: 0 | 1, write: boolean): void {
  if (!control.hardwareAccess) return;
  const { leaf2 } = walker;
  let { lo } = leaf2;
  if (setsAccessFlag(walker, s1ptw)) lo = lo | af;
  if (write && control.hardwareDirty && take(slots.dbm, leaf2.lo, leaf2.hi) === 1) lo = lo | writeSet;
  commit(walker, 2, control.bigEndian, lo);
}

/** Whether hardware sets the access flag for this access; an AT instruction may or may not. */
export function setsAccessFlag({ silent, context }: Walker, s1ptw: 0 | 1): boolean {
  if (!silent) return true;
  const { atSetsAccessFlag } = context.choices;
  return atSetsAccessFlag === 'all' || (atSetsAccessFlag === 'tables' && s1ptw !== 0);
}

/** Notes that the low half of a leaf becomes `lo`, and keeps the leaf as it then is. */
export function commit(walker: Walker, stage: 1 | 2, bigEndian: boolean, lo: number): void {
  const leaf = stage === 1 ? walker.leaf1 : walker.leaf2;
  const { word } = walker;
  if (lo === leaf.lo) return;
  word.lo = bigEndian ? swapBytes(leaf.hi) : leaf.lo;
  word.hi = bigEndian ? swapBytes(leaf.lo) : leaf.hi;
  const newLo = bigEndian ? swapBytes(leaf.hi) : lo;
  const newHi = bigEndian ? swapBytes(lo) : leaf.hi;
  note(walker.out.updates, stage, leaf.level, fromHalves(leaf.physicalLo, leaf.physicalHi), word, newLo, newHi);
  walker.update();
  leaf.lo = lo;
}

/**
 * Whether hardware may write the stage-1 leaf at this IPA, that `leaf2` was last asked for: the page must be writable at stage 2, and is dirty then
 * (DDI 0487 D8.5, AArch64.S1Translate with CreateAccDescTTEUpdate).
 */
export function stage2Update(walker: Walker, stage: Stage2, lo: number, hi: number): 0 | 1 {
  const { control, tables } = stage;
  const permissions = permissionsOf(walker.leaf2, stage);
  if ((permissions & needed(false, true, true)) === 0) return walker.fail2('permission', walker.leaf2.level, 1, lo, hi);
  update2(walker, control, tables!, 1, true);
  return 1;
}
