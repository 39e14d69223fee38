import type { RangeControl, Stage1Control } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { fromHalves, high32, low32, pow2 } from '@granule/geometry/bits';
import { decodeMair, effectiveShareability, isDevice, makeNonCacheable, SHAREABLE } from './attributes.js';
import type { Stage1 } from './context.js';
import { applyPan, limitsOf, needed, stage1Permissions } from './permissions.js';
import { take } from './slots.js';
import { commit, PURPOSE, setsAccessFlag, stage2, stage2Update } from './stage2.js';
import { KIND, type Tables } from './tables.js';
import { below, type Walker } from './walker.js';

const TWO_32 = 4294967296;

/** Bits [top : from] of a 64-bit address, all equal to `ones`. Domain: from 16 … 63. */
function topBitsAre(ones: boolean, lo: number, hi: number, from: number, top: number): boolean {
  const mask = top === 63 ? 0xffffffff : 0x00ffffff;
  const word = ones ? ~hi : hi;
  if (from >= 32) return ((word & mask) >>> (from - 32)) === 0;
  const low = ones ? ~lo : lo;
  return (word & mask) >>> 0 === 0 && low >>> from === 0;
}

/** Which range an address is in, and its offset there into `walker.address`. False: in none, a translation fault. */
export function locate(walker: Walker, { control }: Stage1, lo: number, hi: number): boolean {
  if (control.state === 'aarch32') return locate32(walker, control, lo);
  walker.upper = control.upper !== undefined && (hi & 0x00800000) !== 0;
  const range = walker.upper ? control.upper! : control.lower;
  const ignored = walker.fetch ? range.topByteIgnoredFetch : range.topByteIgnored;
  const { iaBits } = range;
  walker.address = fromHalves(lo, hi & 0xfffff);
  if (range.format === undefined) return false;
  if (!topBitsAre(walker.upper, lo, hi, iaBits, ignored ? 55 : 63)) return false;
  walker.address = iaBits > 32 ? fromHalves(lo, hi & (-1 >>> (64 - iaBits))) : below(lo, iaBits);
  return true;
}

/** TTBCR.T0SZ and T1SZ share 4 GiB, perhaps with a hole between (DDI 0406C B3.6.4). */
function locate32(walker: Walker, control: Stage1Control, va: number): boolean {
  walker.upper = control.upper !== undefined && va >= control.upperStart;
  const range = walker.upper ? control.upper! : control.lower;
  const offset = walker.upper ? va - (TWO_32 - pow2(range.iaBits)) : va;
  walker.address = Math.max(0, offset);
  return range.format !== undefined && offset >= 0 && offset < pow2(range.iaBits);
}

/** Translates a VA, its halves given, into `leaf1`, `permissions1` and the attributes. False: `out.fault` says why. */
export function stage1(walker: Walker, stage: Stage1, lo: number, hi: number, pan: boolean): boolean {
  const { control } = stage;
  const inRange = locate(walker, stage, lo, hi);
  if (!control.on) return stage1Off(walker, control, lo, hi);
  const range: RangeControl = walker.upper ? control.upper! : control.lower;
  const tables = walker.upper ? stage.upper : stage.lower;
  const off = range.walkOff || (range.unprivilegedOff && !walker.privileged);
  if (!inRange || tables === undefined || off) return walker.fail('translation', control.faultLevel, 1, false, -1);
  if (tables.base >= tables.oaEnd) return walker.fail('address-size', control.faultLevel, 1, false, -1);
  return walk(walker, stage, tables) && leaf(walker, stage, tables, pan);
}

/** Stage 1 is off: the address is its own output, if it is one (DDI 0487 AArch64.S1DisabledOutput). */
function stage1Off(walker: Walker, control: Stage1Control, lo: number, hi: number): boolean {
  const { leaf1, attributes, fetch } = walker;
  const range = walker.upper ? control.upper! : control.lower;
  const ignored = fetch ? range.topByteIgnoredFetch : range.topByteIgnored;
  walker.upper = false;
  walker.address = control.state === 'aarch32' ? lo : fromHalves(lo, hi & 0xfffff);
  if (control.state === 'aarch64' && !topBitsAre(false, lo, hi, control.paBits, ignored ? 55 : 63)) {
    return walker.fail('address-size', control.faultLevel, 1, false, -1);
  }
  leaf1.output = walker.address as number;
  leaf1.shift = 12;
  walker.permissions1 = 63;
  walker.out.level1 = -2;
  walker.written = -1;
  walker.shareability = SHAREABLE.non;
  attributes.tagged = false;
  if (control.defaultCacheable) {
    attributes.byte = 0xff;
    attributes.xs = false;
    attributes.tagged = control.defaultTagged;
  } else {
    attributes.byte = fetch ? (control.instructionCache ? 0xaa : 0x44) : 0x00;
    attributes.xs = true;
    walker.shareability = SHAREABLE.outer;
  }
  return true;
}

function walk(walker: Walker, stage: Stage1, tables: Tables): boolean {
  const { leaf1, address: ia, context } = walker;
  const { bigEndian } = stage.control;
  const host = stage.virtualised ? context.stage2 : undefined;
  const lo = low32(ia);
  const hi = high32(ia);
  let table = tables.base;
  walker.limits = 0;
  for (let level = tables.startLevel; ; level = (level + 1) as Level) {
    const address = table + tables.entryOffset(lo, hi, level);
    if (host !== undefined && !stage2(walker, host, address, PURPOSE.table)) return false;
    const physical = host === undefined ? address : walker.leaf2.output;
    if (!walker.load(physical, address, 1, level, bigEndian)) return walker.fail('external-abort-on-walk', level, 1, false, -1);
    const kind = tables.kind(walker.lo, level);
    if (kind === KIND.invalid) return walker.fail('translation', level, 1, false, -1);
    if (kind === KIND.leaf) {
      walker.settle(leaf1, tables, level, physical, address);
      return leaf1.output < tables.oaEnd || walker.fail('address-size', level, 1, false, -1);
    }
    if (tables.hierarchical) walker.limits |= limitsOf(tables.slots, walker.lo, walker.hi);
    table = tables.tableOutput(walker.lo, walker.hi);
    if (table >= tables.oaEnd) return walker.fail('address-size', level, 1, false, -1);
  }
}

/** Access flag, permissions, hardware updates and attributes of the leaf, in this order (DDI 0487 AArch64.S1Translate). */
function leaf(walker: Walker, stage: Stage1, tables: Tables, pan: boolean): boolean {
  const { control } = stage;
  const { leaf1, limits } = walker;
  if ((leaf1.lo & tables.af) === 0 && !control.hardwareAccess) return walker.fail('access-flag', leaf1.level, 1, false, -1);
  const writable = control.hardwareDirty && take(tables.slots.dbm, leaf1.lo, leaf1.hi) === 1;
  const all = stage1Permissions(control, tables.slots, leaf1.lo, leaf1.hi, limits, writable);
  walker.permissions1 = pan && control.unprivileged && !control.guestHypervisor ? applyPan(control, all) : all;
  const mair = control.mair[take(tables.slots.attrIndx, leaf1.lo, leaf1.hi)];
  if (!permitted(walker, mair)) {
    const sets = walker.context.choices.accessFlagOnPermissionFault === true;
    return (!sets || update1(walker, stage, tables, false)) && walker.fail('permission', leaf1.level, 1, false, -1);
  }
  if (!update1(walker, stage, tables, walker.write && !walker.silent)) return false;
  leafAttributes(walker, control, tables, mair);
  leaf1.output += below(walker.address, leaf1.shift);
  walker.out.level1 = leaf1.level;
  walker.out.notGlobal = take(tables.slots.nG, leaf1.lo, leaf1.hi) === 1;
  return true;
}

function permitted({ permissions1, fetch, write, privileged, context }: Walker, mair: number): boolean {
  if (fetch && isDevice(mair) && context.choices.fetchFromDevice === 'fault') return false;
  return (permissions1 & needed(fetch, write, privileged)) !== 0;
}

/** Hardware's own access flag and dirty state. False: stage 2 forbids to write the descriptor. */
function update1(walker: Walker, stage: Stage1, tables: Tables, write: boolean): boolean {
  const { control } = stage;
  if (!control.hardwareAccess) return true;
  const { leaf1, context } = walker;
  let { lo } = leaf1;
  if (setsAccessFlag(walker, PURPOSE.access)) lo = lo | tables.af;
  if (write && control.hardwareDirty && take(tables.slots.dbm, leaf1.lo, leaf1.hi) === 1) lo = lo & ~tables.writeClear;
  if (lo === leaf1.lo) return true;
  const host = stage.virtualised ? context.stage2 : undefined;
  if (host !== undefined && !stage2Update(walker, host, leaf1.address)) return false;
  commit(walker, 1, control.bigEndian, lo);
  return true;
}

function leafAttributes(walker: Walker, control: Stage1Control, tables: Tables, mair: number): void {
  const { leaf1, attributes, fetch, context } = walker;
  const { slots, commonSh } = tables;
  decodeMair(mair, control.xs, control.mte, attributes);
  const sh = commonSh < 0 ? take(slots.sh, leaf1.lo, leaf1.hi) : commonSh;
  walker.shareability = context.shareability[sh];
  const cached = fetch ? control.instructionCache : control.dataCache;
  const uncached = isDevice(mair) ? fetch : !cached;
  if (uncached) makeNonCacheable(attributes);
  walker.written = uncached ? -1 : mair;
  if (context.choices.stage1Shareability === 'effective') {
    walker.shareability = effectiveShareability(attributes.byte, walker.shareability);
  }
}
