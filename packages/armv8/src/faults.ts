import type { FaultCodec, FaultValue } from '@granule/contract';
import { FAULT_STATUS } from './fault-status.js';

/** @throws RangeError for a fault that cannot be: an access-flag or permission fault of level −1, which has no leaf. */
function statusCode({ type, level }: FaultValue): number {
  const { text, level0, levelMinus1, single } = FAULT_STATUS.find((status) => status.type === type)!;
  const code = single ?? (level === -1 ? levelMinus1 : level0! + level);
  if (code === undefined) throw new RangeError(`There is no ${text} of level ${level}.`);
  return code;
}

/** PAR_EL1.F, FST, PTW, S and the RES1 bit 11 (DDI 0487, PAR_EL1 when F is 1). */
const PAR = { f: 1n, fstLsb: 1n, ptw: 1n << 8n, s: 1n << 9n, res1: 1n << 11n } as const;

export const faults: FaultCodec = {
  par(fault) {
    const ptw = fault.s1ptw ? PAR.ptw : 0n;
    const s = fault.stage === 2 ? PAR.s : 0n;
    return PAR.f | (BigInt(statusCode(fault)) << PAR.fstLsb) | ptw | s | PAR.res1;
  },
  statusCode,
};
