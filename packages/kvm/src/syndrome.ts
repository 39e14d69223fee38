import type { InputAddress } from '@granule/geometry/bits';
import { fieldOf } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';

export type AbortCause = 'translation' | 'access-flag' | 'permission' | 'address-size' | 'external' | 'exclusive' | 'other';

/** Registers of a stage-2 abort. */
export interface AbortRegisters {
  readonly esr: bigint;
  readonly far: bigint;
  /** The faulting IPA with its low 12 bits zero: HPFAR_EL2.FIPA << 12. */
  readonly ipa: InputAddress;
  readonly pc?: bigint;
  /** PSTATE.M of the guest: whose access it was; absent: EL1's. */
  readonly pstate?: bigint;
}

/** A stage-2 abort, decoded. */
export interface Abort {
  /** IPA with the page offset of FAR. */
  readonly ipa: InputAddress;
  readonly cause: AbortCause;
  /** Level that the syndrome reports; undefined where the cause has none. */
  readonly level: Level | undefined;
  /** An instruction abort. */
  readonly fetch: boolean;
  /** An instruction fetch itself, not the walk for one (kvm_vcpu_trap_is_exec_fault). */
  readonly execute: boolean;
  /** As kvm_is_write_fault sees it. */
  readonly write: boolean;
  /** Made at EL1, not at EL0. */
  readonly privileged: boolean;
  readonly s1ptw: boolean;
  readonly cacheMaintenance: boolean;
  /** ISV: the syndrome describes the access; bytes of it. */
  readonly access: { readonly bytes: number } | undefined;
  readonly registers: AbortRegisters;
}

/** EC values of aborts from a lower exception level (DDI 0487, ESR_EL2.EC). */
const IABT_LOW = 0x20;

/** External aborts and parity or ECC errors, on accesses and on walks of level −1 to 3 (Linux esr_fsc_is_sea). */
const EXTERNAL: ReadonlySet<number> = new Set([0x10, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f]);

function causeOf(fsc: number): { readonly cause: AbortCause; readonly level: Level | undefined } {
  const level = (fsc % 4) as Level;
  switch (fsc >>> 2) {
    case 0:
      return { cause: 'address-size', level };
    case 1:
      return { cause: 'translation', level };
    case 2:
      return { cause: 'access-flag', level };
    case 3:
      return { cause: 'permission', level };
    default:
  }
  if (fsc === 0x29 || fsc === 0x2b) {
    return { cause: fsc === 0x29 ? 'address-size' : 'translation', level: -1 };
  }
  const external = EXTERNAL.has(fsc);
  return { cause: external ? 'external' : fsc === 0x35 ? 'exclusive' : 'other', level: undefined };
}

/**
 * ESR_EL2 of a stage-2 abort, with the address registers. A write on a stage-1 walk (S1PTW: hardware updates a stage-1 descriptor) counts as a write only
 * where it is a permission fault. Source: DDI 0487 ESR_EL2, ISS encodings for Instruction and Data Aborts; Linux kvm_is_write_fault.
 */
export function decodeAbort(registers: AbortRegisters): Abort {
  const syndrome = Number(registers.esr & 0xffff_ffffn);
  const bit = (n: number): boolean => ((syndrome >>> n) & 1) === 1;
  const fetch = syndrome >>> 26 === IABT_LOW;
  const { cause, level } = causeOf(syndrome % 64);
  const s1ptw = bit(7);
  return {
    ipa: registers.ipa + Number(registers.far & 0xfffn),
    cause,
    level,
    fetch,
    execute: fetch && !s1ptw,
    // M[3:0] of EL0t is 0 (DDI 0487 SPSR_EL2).
    privileged: registers.pstate === undefined || (registers.pstate & 0xfn) !== 0n,
    write: s1ptw ? cause === 'permission' : !fetch && bit(6),
    s1ptw,
    cacheMaintenance: !fetch && bit(8),
    access: !fetch && bit(24) ? { bytes: 2 ** fieldOf(syndrome, 22, 2) } : undefined,
    registers,
  };
}
