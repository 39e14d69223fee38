import type { Abort } from '@granule/contract';
import type { TwinMachine } from './machine.js';
import { bit } from './bits.js';

/** AccessDescriptor, as far as translation looks at it. */
export interface AccessDescriptor {
  readonly acctype: 'gpr' | 'ifetch' | 'at' | 'ttw';
  /** With whose rights. */
  readonly el: 0 | 1 | 2;
  readonly read: boolean;
  readonly write: boolean;
  /** PSTATE.PAN applies to it. */
  readonly pan: boolean;
}

export type FaultType = 'address-size' | 'translation' | 'access-flag' | 'permission' | 'external';

/** FaultRecord. It is thrown rather than handed back, which is all that departs from the pseudocode's way. */
export class Fault extends Error {
  constructor(
    readonly type: FaultType,
    readonly level: number,
    readonly secondstage = false,
    readonly s2fs1walk = false,
    readonly ipa = 0n,
  ) {
    super(type);
  }
}

/** EncodeLDFSC (DDI 0487 J1.3, Shared pseudocode). */
export function encodeLDFSC({ type, level }: Fault): bigint {
  if (level < 0) {
    if (type === 'external') return 0b010011n;
    return type === 'address-size' ? 0b101001n : 0b101011n;
  }
  const base = { 'address-size': 0b000000n, translation: 0b000100n, 'access-flag': 0b001000n, permission: 0b001100n, external: 0b010100n }[type];
  return base | BigInt(level);
}

/** AArch64.EncodePAR of a fault; the same in the long-descriptor format of AArch32. */
export function faultPAR(fault: Fault): bigint {
  return 1n | (encodeLDFSC(fault) << 1n) | (fault.s2fs1walk ? 1n << 8n : 0n) | (fault.secondstage ? 1n << 9n : 0n) | (1n << 11n);
}

/** The syndrome of an AT instruction that takes the external abort of its walk: CM and WnR are set, the exception level is the same. */
export function instructionSyndrome(fault: Fault): bigint {
  return (0x25n << 26n) | (1n << 25n) | (1n << 8n) | (fault.s2fs1walk ? 1n << 7n : 0n) | (1n << 6n) | encodeLDFSC(fault);
}

/** IPAValid: when HPFAR_EL2 is written. */
function ipaValid({ type, secondstage, s2fs1walk }: Fault): boolean {
  if (type === 'external') return false;
  return s2fs1walk || (secondstage && type !== 'permission');
}

/** AArch64.Abort, AArch64.FaultSyndrome, of a byte access with W0 or of a fetch at `el`. */
export function abortOf(machine: TwinMachine, fault: Fault, acc: AccessDescriptor, el: number, va: bigint): Abort {
  const hcr = machine.reg('HCR_EL2');
  const tea = machine.features.ras && bit(hcr, 37) && fault.type === 'external';
  const routeToEL2 = el < 2 && ((bit(hcr, 27) && el === 0) || fault.secondstage || tea);
  const target = routeToEL2 || el === 2 ? 2 : 1;
  const fetch = acc.acctype === 'ifetch';
  const ec = (fetch ? 0x20n : 0x24n) + (target === el ? 1n : 0n);
  const isv = !fetch && fault.secondstage && !fault.s2fs1walk;
  const iss = (isv ? 1n << 24n : 0n) | (fault.s2fs1walk ? 1n << 7n : 0n) | (!fetch && acc.write ? 1n << 6n : 0n) | encodeLDFSC(fault);
  const hpfar = ipaValid(fault) ? { hpfar: (fault.ipa >> 12n) << 4n } : {};
  return { el: target, esr: (ec << 26n) | (1n << 25n) | iss, far: va, ...hpfar };
}
