import type { Abort, AbortedAccess, FaultCodec, FaultValue } from '@granule/contract';
import { FAULT_STATUS } from './fault-status.js';

/** @throws RangeError for a fault that cannot be: an access-flag or permission fault of level −1, which has no leaf. */
function statusCode({ type, level }: FaultValue): number {
  const { text, level0, levelMinus1, single } = FAULT_STATUS.find((status) => status.type === type)!;
  const code = single ?? (level === -1 ? levelMinus1 : level0! + level);
  if (code === undefined) throw new RangeError(`There is no ${text} of level ${level}.`);
  return code;
}

/** PAR_EL1.F, FST, PTW, S and the RES1 bit 11 (DDI 0487, PAR_EL1). */
const PAR = { f: 1n, fstLsb: 1n, ptw: 1n << 8n, s: 1n << 9n, ns: 1n << 9n, res1: 1n << 11n, shLsb: 7n, attrLsb: 56n } as const;

/** ESR_ELx and the ISS of instruction and data aborts (DDI 0487, ESR_EL2). */
const ESR = {
  ecLsb: 26n,
  il: 1n << 25n,
  isv: 1n << 24n,
  sasLsb: 22n,
  sse: 1n << 21n,
  srtLsb: 16n,
  sf: 1n << 15n,
  ar: 1n << 14n,
  cm: 1n << 8n,
  s1ptw: 1n << 7n,
  wnr: 1n << 6n,
} as const;

/** Exception classes of an abort from a lower exception level; from the same one they are one more. */
const EC = { fetch: 0x20, data: 0x24 } as const;

/** Syndrome of the instruction: there for a stage-2 abort of a load or store of one register, but for one on a stage-1 walk. */
function instruction(fault: FaultValue, { transfer }: AbortedAccess): bigint {
  if (transfer === undefined || fault.stage !== 2 || fault.s1ptw) return 0n;
  const { sas, signed, register, wide, ordered } = transfer;
  const flags = (signed ? ESR.sse : 0n) | (wide ? ESR.sf : 0n) | (ordered ? ESR.ar : 0n);
  return ESR.isv | (BigInt(sas) << ESR.sasLsb) | (BigInt(register) << ESR.srtLsb) | flags;
}

function syndrome(fault: FaultValue, access: AbortedAccess): bigint {
  const fetch = fault.access === 'fetch';
  const ec = (fetch ? EC.fetch : EC.data) + (access.from === access.to ? 1 : 0);
  const common = (BigInt(ec) << ESR.ecLsb) | ESR.il | (fault.s1ptw ? ESR.s1ptw : 0n) | BigInt(statusCode(fault));
  if (fetch) return common;
  const maintenance = access.maintenance === true ? ESR.cm | ESR.wnr : 0n;
  return common | maintenance | (access.write ? ESR.wnr : 0n) | instruction(fault, access);
}

/**
 * HPFAR_EL2 is valid for a stage-2 translation, access flag or address size fault, and on a stage-1 walk for a permission fault too; otherwise it is
 * UNKNOWN (DDI 0487 HPFAR_EL2, IPAValid).
 */
function hpfar({ stage, type, s1ptw, ipa }: FaultValue, el: number): bigint | undefined {
  if (el !== 2 || stage !== 2 || ipa === undefined) return undefined;
  const defined = type === 'translation' || type === 'access-flag' || type === 'address-size' || (type === 'permission' && s1ptw);
  return defined ? (BigInt(ipa) >> 12n) << 4n : undefined;
}

function abort(fault: FaultValue, access: AbortedAccess): Abort {
  const page = hpfar(fault, access.to);
  return { el: access.to, esr: syndrome(fault, access), far: access.va, ...(page === undefined ? {} : { hpfar: page }) };
}

export const faults: FaultCodec = {
  par(fault) {
    const ptw = fault.s1ptw ? PAR.ptw : 0n;
    const s = fault.stage === 2 ? PAR.s : 0n;
    return PAR.f | (BigInt(statusCode(fault)) << PAR.fstLsb) | ptw | s | PAR.res1;
  },
  parSuccess({ output, attributes, shareability }) {
    const page = (BigInt(output) >> 12n) << 12n;
    return (BigInt(attributes) << PAR.attrLsb) | page | PAR.res1 | PAR.ns | (BigInt(shareability) << PAR.shLsb);
  },
  statusCode,
  abort,
};
