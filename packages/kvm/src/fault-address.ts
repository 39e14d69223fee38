import { done, type Outcome, retry } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { AbortRegisters } from './syndrome.js';
import { decodeAbort } from './syndrome.js';

/** Registers of an exception to EL2, as hardware leaves them. */
export interface SyndromeRegisters {
  readonly esr: bigint;
  readonly far: bigint;
  /** HPFAR_EL2 or HPFAR; absent: not told, which only a fault that leaves it UNKNOWN allows. */
  readonly hpfar?: bigint;
  readonly pc?: bigint;
}

/** HPFAR_EL2.FIPA, bits 43:4: IPA[51:12]. ARMv7's HPFAR has IPA[39:12] in 31:4. */
const FIPA_LSB = 4n;
const FIPA_MASK = (1n << 40n) - 1n;

/**
 * The registers of an abort with its IPA. HPFAR is valid for translation, access flag and address size faults, and for permission faults on a stage-1 walk;
 * for any other the address is translated again, by stage 1 alone (AT S1E1R). Where that fails the guest has changed its tables meanwhile: it is just entered
 * again. Retry: `abort.retranslated`. Source: Linux __get_fault_info, __hpfar_valid (kvm/hyp/include/hyp/fault.h).
 *
 * @param translate the IPA of a VA by the guest's stage 1, as it is now; undefined where it has none
 * @throws RangeError where HPFAR is valid and was not given
 */
export function abortRegisters(registers: SyndromeRegisters, translate: (va: bigint) => InputAddress | undefined): Outcome<AbortRegisters> {
  const { esr, far, hpfar, pc } = registers;
  const { cause, s1ptw } = decodeAbort({ esr, far, ipa: 0 });
  const rest = pc === undefined ? {} : { pc };
  if (['translation', 'access-flag', 'address-size'].includes(cause) || (cause === 'permission' && s1ptw)) {
    if (hpfar === undefined) {
      throw new RangeError('an abort for which HPFAR is valid comes without it');
    }
    return done({ esr, far, ipa: pageOf(hpfar), ...rest });
  }
  if (cause === 'external') {
    return done({ esr, far, ipa: 0, ...rest });
  }
  const ipa = translate(far);
  if (ipa === undefined) {
    return retry('abort.retranslated', `Stage 1 no longer translates VA 0x${far.toString(16)}; the guest is entered again.`, 'Linux __translate_far_to_hpfar');
  }
  return done({ esr, far, ipa: ipa - (ipa % 4096), ...rest });
}

function pageOf(hpfar: bigint): InputAddress {
  return Number((hpfar >> FIPA_LSB) & FIPA_MASK) * 4096;
}
