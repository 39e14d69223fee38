import type { AccessType } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { Context } from './context.js';
import { PERMISSION } from './obligation.js';

/** Permissions of a leaf as bits; `write` also where hardware may grant it (DBM). */
function permissionsOf({ format }: Context, lo: number, hi: number, level: Level): number {
  const { read, write, px, ux, user } = format.decodeLeaf(lo, hi, level);
  const n = format.numbers;
  const writable = write || ((lo & n.writableLoMask) >>> 0 === n.writableLo >>> 0 && (hi & n.writableHiMask) >>> 0 === n.writableHi >>> 0);
  return (
    (read ? PERMISSION.read : 0) |
    (writable ? PERMISSION.write : 0) |
    (px ? PERMISSION.px : 0) |
    (ux ? PERMISSION.ux : 0) |
    (user ? PERMISSION.user : 0)
  );
}

/** Permissions that the old leaf gives and the new one does not. */
export function removedPermissions(context: Context, oldLo: number, oldHi: number, lo: number, hi: number, level: Level): number {
  const { afLo, afHi, softwareLo, softwareHi } = context.format.numbers;
  if (((oldLo ^ lo) & ~(afLo | softwareLo)) === 0 && ((oldHi ^ hi) & ~(afHi | softwareHi)) === 0) {
    return 0;
  }
  return permissionsOf(context, oldLo, oldHi, level) & ~permissionsOf(context, lo, hi, level);
}

/** The permissions of which an access needs one. */
export function neededBy(access: AccessType): number {
  switch (access) {
    case 'read':
    case 'at-read':
    case 'cache-maintenance':
      return PERMISSION.read;
    case 'write':
    case 'at-write':
      return PERMISSION.write;
    case 'fetch':
      return PERMISSION.px | PERMISSION.ux;
  }
}
