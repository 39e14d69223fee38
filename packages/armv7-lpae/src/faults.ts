import type { Abort, AbortedAccess, FaultCodec, FaultValue } from '@granule/contract';
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

/** The 64-bit PAR: with F = 1 F, FST, S2WLK, FSTAGE and LPAE, with F = 0 SH, NS, LPAE, PA and ATTR (DDI 0406C B4.1, PAR). */
const PAR = { f: 1n, fstLsb: 1n, s2wlk: 1n << 8n, fstage: 1n << 9n, ns: 1n << 9n, lpae: 1n << 11n, shLsb: 7n, attrLsb: 56n } as const;

/** HSR and the ISS of aborts (DDI 0406C B3.13.6): the exception class of an abort from Hyp mode itself is one more. */
const HSR = {
  ecLsb: 26n,
  il: 1n << 25n,
  isv: 1n << 24n,
  sasLsb: 22n,
  sse: 1n << 21n,
  srtLsb: 16n,
  cm: 1n << 8n,
  s1ptw: 1n << 7n,
  wnr: 1n << 6n,
} as const;
const EC = { fetch: 0x20, data: 0x24 } as const;
/** DFSR and IFSR in the long-descriptor format (DDI 0406C B4.1, DFSR). */
const FSR = { cm: 1n << 13n, wnr: 1n << 11n, lpae: 1n << 9n } as const;

function instruction(fault: FaultValue, { transfer }: AbortedAccess): bigint {
  if (transfer === undefined || fault.stage !== 2 || fault.s1ptw) return 0n;
  return HSR.isv | (BigInt(transfer.sas) << HSR.sasLsb) | (transfer.signed ? HSR.sse : 0n) | (BigInt(transfer.register) << HSR.srtLsb);
}

function hypSyndrome(fault: FaultValue, access: AbortedAccess): bigint {
  const fetch = fault.access === 'fetch';
  const ec = (fetch ? EC.fetch : EC.data) + (access.from === access.to ? 1 : 0);
  const common = (BigInt(ec) << HSR.ecLsb) | HSR.il | (fault.s1ptw ? HSR.s1ptw : 0n) | BigInt(statusCode(fault));
  if (fetch) return common;
  const maintenance = access.maintenance === true;
  return common | (maintenance ? HSR.cm : 0n) | (access.write || maintenance ? HSR.wnr : 0n) | instruction(fault, access);
}

function faultStatus(fault: FaultValue, access: AbortedAccess): bigint {
  const common = FSR.lpae | BigInt(statusCode(fault));
  if (fault.access === 'fetch') return common;
  const maintenance = access.maintenance === true;
  return common | (maintenance ? FSR.cm : 0n) | (access.write || maintenance ? FSR.wnr : 0n);
}

/** The syndrome in HSR (taken to Hyp mode) or in DFSR or IFSR; HPFAR where DDI 0406C B3.13.5 defines it. */
function abort(fault: FaultValue, access: AbortedAccess): Abort {
  const { to, va } = access;
  if (to !== 2) return { el: to, esr: faultStatus(fault, access), far: va };
  const { type, stage, s1ptw, ipa } = fault;
  const defined = type === 'translation' || type === 'access-flag' || type === 'address-size' || (type === 'permission' && s1ptw);
  const page = stage === 2 && ipa !== undefined && defined ? { hpfar: (BigInt(ipa) >> 12n) << 4n } : {};
  return { el: to, esr: hypSyndrome(fault, access), far: va, ...page };
}

export const faults: FaultCodec = {
  par(fault) {
    const s2wlk = fault.s1ptw ? PAR.s2wlk : 0n;
    const fstage = fault.stage === 2 ? PAR.fstage : 0n;
    return PAR.f | (BigInt(statusCode(fault)) << PAR.fstLsb) | s2wlk | fstage | PAR.lpae;
  },
  parSuccess({ output, attributes, shareability }) {
    const page = (BigInt(output) >> 12n) << 12n;
    return (BigInt(attributes) << PAR.attrLsb) | page | PAR.lpae | PAR.ns | (BigInt(shareability) << PAR.shLsb);
  },
  statusCode,
  abort,
};
