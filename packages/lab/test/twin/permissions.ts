import { bit } from './bits.js';
import type { AccessDescriptor } from './faults.js';
import type { TwinFeatures } from './machine.js';
import { hasUnprivileged, type Regime, type S1Params, type S2Params } from './params.js';

/** Permissions of stage 1, leaf and tables. `ap` is AP[2:1]. */
export interface S1Permissions {
  ap: bigint;
  uxn: boolean;
  pxn: boolean;
  xn: boolean;
  apTable: bigint;
  uxnTable: boolean;
  pxnTable: boolean;
  xnTable: boolean;
}

export const noPermissions = (): S1Permissions => ({ ap: 0n, uxn: false, pxn: false, xn: false, apTable: 0n, uxnTable: false, pxnTable: false, xnTable: false });

/** AArch64.S1ApplyTablePerms. */
export function applyTablePerms(permissions: S1Permissions, descriptor: bigint, regime: Regime, params: S1Params): void {
  if (params.hpd) return;
  const ap = (descriptor >> 61n) & 3n;
  if (params.nv1) {
    permissions.apTable |= ap & 2n;
    permissions.pxnTable ||= bit(descriptor, 60);
  } else if (hasUnprivileged(regime)) {
    permissions.apTable |= ap;
    permissions.uxnTable ||= bit(descriptor, 60);
    permissions.pxnTable ||= bit(descriptor, 59);
  } else {
    permissions.apTable |= ap & 2n;
    permissions.xnTable ||= bit(descriptor, 60);
  }
}

/** AArch64.S1ApplyOutputPerms. A DBM page counts as writable where hardware manages dirty state. */
export function applyOutputPerms(permissions: S1Permissions, descriptor: bigint, regime: Regime, params: S1Params): void {
  const ap = (descriptor >> 6n) & 3n;
  if (params.nv1) {
    permissions.ap = ap & 2n;
    permissions.pxn = bit(descriptor, 54);
  } else if (hasUnprivileged(regime)) {
    permissions.ap = ap;
    permissions.uxn = bit(descriptor, 54);
    permissions.pxn = bit(descriptor, 53);
  } else {
    permissions.ap = ap | 1n;
    permissions.xn = bit(descriptor, 54);
  }
  if (params.hd && bit(descriptor, 51)) permissions.ap &= 1n;
}

interface Rights {
  readonly r: boolean;
  readonly w: boolean;
  readonly x: boolean;
}

/** AArch64.S1DirectBasePermissions: of EL0 and of the privileged level, before WXN. */
function unprivilegedRegime({ pan }: TwinFeatures, permissions: S1Permissions, params: S1Params, acc: AccessDescriptor): Rights {
  const { ap, apTable, uxn, pxn, uxnTable, pxnTable } = permissions;
  const unprivileged = bit(ap, 0) && !bit(apTable, 0);
  const writable = !bit(ap, 1) && !bit(apTable, 1);
  const ur = unprivileged;
  const uw = unprivileged && writable;
  // What EL0 can write, EL1 does not execute.
  const px = !(pxn || pxnTable || uw);
  const ux = !(uxn || uxnTable);
  const barred = pan && acc.pan && !params.nv1 && (ur || uw || (params.epan && ux));
  return acc.el === 0 ? { r: ur, w: uw, x: ux } : { r: !barred, w: writable && !barred, x: px };
}

/** AArch64.S1CheckPermissions: whether the access is refused. */
export function s1PermissionFault(features: TwinFeatures, regime: Regime, permissions: S1Permissions, params: S1Params, acc: AccessDescriptor): boolean {
  const writable = !bit(permissions.ap, 1) && !bit(permissions.apTable, 1);
  const single = { r: true, w: writable, x: !(permissions.xn || permissions.xnTable) };
  const { r, w, x } = hasUnprivileged(regime) ? unprivilegedRegime(features, permissions, params, acc) : single;
  if (acc.acctype === 'ifetch') return !x || (params.wxn && w);
  return acc.write ? !w : !r;
}

/** AArch64.S2CheckPermissions: whether the access is refused. `device`: the type of the stage-2 leaf. */
export function s2PermissionFault({ xnx }: TwinFeatures, descriptor: bigint, params: S2Params, acc: AccessDescriptor, device: boolean): boolean {
  const r = bit(descriptor, 6);
  const w = bit(descriptor, 7) || (params.hd && bit(descriptor, 51));
  const xn = bit(descriptor, 54);
  // XN[1:0] is bits 54:53: 00 all, 01 EL0 alone, 10 none, 11 EL1 alone. Without FEAT_XNX bit 53 is ignored.
  const one = xnx && bit(descriptor, 53);
  const ux = !xn;
  const px = xn === one;
  if (acc.acctype === 'ttw' && params.ptw && device) return true;
  if (acc.acctype === 'ifetch') return !(acc.el === 0 ? ux : px);
  return acc.write ? !w : !r;
}
