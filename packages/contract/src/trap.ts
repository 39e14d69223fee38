import type { FaultValue } from './fault.js';

/** What software at EL2 (PL2) is told when a PE takes an exception to it. */
export type Trap =
  /** An access that stage 2 does not let through. */
  | { readonly kind: 'abort'; readonly fault: FaultValue; readonly write: boolean; readonly bytes: number; readonly value?: bigint }
  /** An instruction of EL1 that HCR traps: by Arm's name of the instruction or register, with its operand. */
  | { readonly kind: 'operation'; readonly name: string; readonly operand?: bigint };

/**
 * `retry`: the instruction is executed again. `skip`: the handler did its work, and execution goes on behind it; a load gets `value`. `deliver`: the guest is
 * to see the exception.
 */
export type TrapAnswer = { readonly kind: 'retry' } | { readonly kind: 'skip'; readonly value?: bigint } | { readonly kind: 'deliver' };

/** The hypervisor as a PE sees it. */
export interface TrapHandler {
  /** @param pe number of the PE that took the exception, from 0 */
  trap(pe: number, trap: Trap): TrapAnswer;
}
