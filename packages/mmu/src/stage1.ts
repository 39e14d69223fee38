import type { Stage1Control } from '@granule/contract';
import { isDevice } from './attributes.js';
import type { Stage1 } from './context.js';
import { applyPan, stage1Permissions } from './permissions.js';
import { holds, topHigh, type Range } from './ranges.js';
import { combinationOf, learn } from './rights.js';
import { take } from './slots.js';
import { commit, setsAccessFlag, stage2Update } from './stage2.js';
import type { Tables } from './tables.js';
import { FAULTS, walk1 } from './walk.js';
import type { Walker } from './walker.js';

/** Finds which range an address is in, into `walker.upper`. AArch32: TTBCR.T0SZ and T1SZ share 4 GiB, perhaps with a hole between (DDI 0406C B3.6.4). */
function rangeAt(walker: Walker, { control, lowerRange, upperRange }: Stage1, lo: number, hi: number): Range {
  const upper = control.state === 'aarch64' ? (hi & 0x800000) !== 0 : lo >>> 0 >= control.upperStart;
  walker.upper = upper && upperRange !== undefined;
  return upper && upperRange !== undefined ? upperRange : lowerRange;
}

/** Translates a VA, its halves given, into `leaf1` and `permissions1`: 1. 0: `out.fault` says why. */
export function stage1(walker: Walker, stage: Stage1, lo: number, hi: number, pan: boolean): 0 | 1 {
  const { control } = stage;
  const range = rangeAt(walker, stage, lo, hi);
  if (!control.on) return stage1Off(walker, control, range, lo, hi);
  const { tables } = range;
  const inRange = tables !== undefined && holds(range, lo, hi, walker.upper, walker.fetch);
  walker.tables1 = tables;
  walker.limits = 0;
  walker.addressLo = inRange ? lo & range.offsetLo : lo;
  walker.addressHi = inRange ? hi & range.offsetHi : hi & 0xfffff;
  if (!inRange || (range.off & walker.off) !== 0) return walker.fail1('translation', control.faultLevel);
  if (tables.baseBeyond !== 0) return walker.fail1('address-size', control.faultLevel);
  const host = stage.virtualised ? walker.context.stage2 : undefined;
  const end = walk1(walker, tables, host, walker.addressLo, walker.addressHi);
  if (end === 0) return leaf(walker, stage, range, tables, pan);
  return end === 4 ? 0 : walker.fail1(FAULTS[end], walker.leaf1.level);
}

/** Stage 1 is off: the address is its own output, if it is one (DDI 0487 AArch64.S1DisabledOutput). */
function stage1Off(walker: Walker, control: Stage1Control, range: Range, lo: number, hi: number): 0 | 1 {
  const { leaf1 } = walker;
  const ignored = walker.fetch === 0 ? range.topByteIgnored : range.topByteIgnoredFetch;
  walker.upper = false;
  walker.tables1 = undefined;
  walker.addressLo = lo;
  walker.addressHi = hi & 0xfffff;
  if (control.state === 'aarch64' && (hi & topHigh(control.paBits, ignored)) !== 0) return walker.fail1('address-size', control.faultLevel);
  leaf1.outLo = lo;
  leaf1.outHi = walker.addressHi;
  leaf1.shift = 12;
  walker.permissions1 = 63;
  return 1;
}

/** Access flag, permissions and hardware updates of the leaf, in this order (DDI 0487 AArch64.S1Translate). */
function leaf(walker: Walker, stage: Stage1, range: Range, tables: Tables, pan: boolean): 0 | 1 {
  const { control } = stage;
  const { leaf1 } = walker;
  if ((leaf1.lo & tables.af) === 0 && !control.hardwareAccess) return walker.fail1('access-flag', leaf1.level);
  const all = permissionsOf(walker, control, range, tables);
  walker.permissions1 = pan && control.unprivileged && !control.guestHypervisor ? applyPan(control, all) : all;
  if ((walker.permissions1 & walker.needed) === 0 || (walker.fetch !== 0 && forbidden(walker, control, tables))) {
    if (walker.context.choices.accessFlagOnPermissionFault && update1(walker, stage, tables, false) === 0) return 0;
    return walker.fail1('permission', leaf1.level);
  }
  return control.hardwareAccess ? update1(walker, stage, tables, walker.sets !== 0) : 1;
}

function permissionsOf({ leaf1: { lo, hi }, limits }: Walker, control: Stage1Control, { rights }: Range, { slots }: Tables): number {
  const combination = combinationOf(rights, lo, hi, limits);
  const known = combination < rights.known.length ? rights.known[combination] : 0;
  if (known !== 0) return known - 1;
  const writable = control.hardwareDirty && take(slots.dbm, lo, hi) === 1;
  return learn(rights, combination, stage1Permissions(control, slots, lo, hi, limits, writable));
}

/** An instruction fetch from Device memory, where the choice is to fault. */
function forbidden({ leaf1, context }: Walker, control: Stage1Control, { slots }: Tables): boolean {
  return context.choices.fetchFromDevice === 'fault' && isDevice(control.mair[take(slots.attrIndx, leaf1.lo, leaf1.hi)]);
}

/** Hardware's own access flag and dirty state: 1. 0: stage 2 forbids to write the descriptor. */
function update1(walker: Walker, stage: Stage1, tables: Tables, write: boolean): 0 | 1 {
  const { control } = stage;
  if (!control.hardwareAccess) return 1;
  const { leaf1, context } = walker;
  let { lo } = leaf1;
  if (setsAccessFlag(walker, 0)) lo = lo | tables.af;
  if (write && control.hardwareDirty && take(tables.slots.dbm, leaf1.lo, leaf1.hi) === 1) lo = lo & ~tables.writeClear;
  if (lo === leaf1.lo) return 1;
  const host = stage.virtualised ? context.stage2 : undefined;
  if (host !== undefined && stage2Update(walker, host, leaf1.addressLo, leaf1.addressHi) === 0) return 0;
  commit(walker, 1, control.bigEndian, lo);
  return 1;
}
