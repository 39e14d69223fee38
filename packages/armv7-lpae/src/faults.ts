import type { FaultCodec, FaultValue } from '@granule/contract';
import { FAULT_STATUS } from './fault-status.js';

/**
 * @throws RangeError for a fault that cannot be: of level −1, of level 0 but for an address size fault of a base register, or an
 * unsupported atomic update, because there is no hardware update of descriptors
 */
function statusCode({ type, level }: FaultValue): number {
  const status = FAULT_STATUS.find((each) => each.type === type);
  if (status?.single !== undefined) return status.single;
  if (status?.level0 === undefined || level < status.first!) throw new RangeError(`ARMv7 has no ${type} fault of level ${level}.`);
  return status.level0 + level;
}

/** The 64-bit PAR when F is 1: F, FST, S2WLK, FSTAGE and LPAE (DDI 0406C B4.1, PAR). */
const PAR = { f: 1n, fstLsb: 1n, s2wlk: 1n << 8n, fstage: 1n << 9n, lpae: 1n << 11n } as const;

export const faults: FaultCodec = {
  par(fault) {
    const s2wlk = fault.s1ptw ? PAR.s2wlk : 0n;
    const fstage = fault.stage === 2 ? PAR.fstage : 0n;
    return PAR.f | (BigInt(statusCode(fault)) << PAR.fstLsb) | s2wlk | fstage | PAR.lpae;
  },
  statusCode,
};
