import type { Stage1Control, Stage2Control } from '@granule/contract';
import { PERMISSION } from './result.js';
import { take, type LeafSlots } from './slots.js';

const { read: PR, write: PW, execute: PX, userRead: UR, userWrite: UW, userExecute: UX } = PERMISSION;

/** AP[2:1] of a leaf of a regime with two privilege levels (DDI 0487 D8.4.1). */
const TWO_LEVELS = [PR | PW, PR | PW | UR | UW, PR, PR | UR] as const;
/** APTable[1:0]: what the levels below may still have (DDI 0487 D8.4.1.2). */
const AP_TABLE = [~0, ~(UR | UW), ~(PW | UW), ~(PW | UR | UW)] as const;

/** Hierarchical limits gathered on the way down: APTable in bits 1:0, then UXNTable (XNTable), PXNTable. */
export const LIMIT = { apTable: 3, uxn: 4, pxn: 8 } as const;

/** The limits of one table descriptor. */
export function limitsOf(slots: LeafSlots, lo: number, hi: number): number {
  const apTable = take(slots.apTable, lo, hi) << (slots.oneBitApTable ? 1 : 0);
  return apTable | (take(slots.uxnTable, lo, hi) << 2) | (take(slots.pxnTable, lo, hi) << 3);
}

/** UXN and PXN (or XN) as what may be executed, before WXN; rights to data as in `data`. */
function executable(control: Stage1Control, data: number, uxn: boolean, pxn: boolean): number {
  if (!control.unprivileged) return uxn ? 0 : PX;
  const userWrites = (data & UW) !== 0;
  if (control.state === 'aarch64') return (uxn ? 0 : UX) | (pxn || userWrites ? 0 : PX);
  // AArch32: XN holds for both levels, and what cannot be read cannot be executed (DDI 0406C B3.7.2).
  if (uxn) return 0;
  const user = (data & UR) !== 0 ? UX : 0;
  const privileged = !pxn && (data & PR) !== 0 && !(control.uwxn && userWrites) ? PX : 0;
  return user | privileged;
}

/**
 * Stage-1 rights before PAN (DDI 0487 AArch64.S1DirectBasePermissions). `writable`: hardware may set the dirty state, so that AP[2] counts as 0.
 */
export function stage1Permissions(control: Stage1Control, slots: LeafSlots, lo: number, hi: number, limits: number, writable: boolean): number {
  const readOnly = take(slots.ap2, lo, hi) === 1 && !writable;
  const ap = (readOnly ? 2 : 0) | (control.guestHypervisor ? 0 : take(slots.ap1, lo, hi));
  const leaf = control.unprivileged ? TWO_LEVELS[ap] : readOnly ? PR : PR | PW;
  const data = leaf & AP_TABLE[limits & LIMIT.apTable];
  const bit54 = take(slots.uxn, lo, hi) === 1 || (limits & LIMIT.uxn) !== 0;
  const bit53 = take(slots.pxn, lo, hi) === 1 || (limits & LIMIT.pxn) !== 0;
  const all = data | (control.guestHypervisor ? executable(control, data, false, bit54) : executable(control, data, bit54, bit53));
  if (!control.wxn) return all;
  return all & ~((data & PW) !== 0 ? PX : 0) & ~((data & UW) !== 0 ? UX : 0);
}

/** What PAN leaves: no privileged data access to what EL0 can read, or with EPAN execute (DDI 0487 PSTATE.PAN, SCTLR_EL1.EPAN). */
export function applyPan(control: Stage1Control, permissions: number): number {
  const covered = UR | (control.epan ? UX : 0);
  return (permissions & covered) === 0 ? permissions : permissions & ~(PR | PW);
}

/** Stage-2 rights (DDI 0487 D8.4.2, AArch64.S2ComputePermissions). */
export function stage2Permissions(control: Stage2Control, slots: LeafSlots, lo: number, hi: number, writable: boolean): number {
  const ap = take(slots.s2ap, lo, hi) | (writable ? 2 : 0);
  const read = (ap & 1) !== 0 ? PR | UR : 0;
  const write = (ap & 2) !== 0 ? PW | UW : 0;
  const xn = take(slots.xn, lo, hi);
  const execute = control.xnx ? XNX[xn] : xn === 0 ? PX | UX : 0;
  return read | write | (control.executeNeedsRead && read === 0 ? 0 : execute);
}

/** XN[1:0] with FEAT_XNX. */
const XNX = [PX | UX, UX, 0, PX] as const;

/** The right that an access needs. */
export function needed(fetch: boolean, write: boolean, privileged: boolean): number {
  if (fetch) return privileged ? PX : UX;
  if (write) return privileged ? PW : UW;
  return privileged ? PR : UR;
}
