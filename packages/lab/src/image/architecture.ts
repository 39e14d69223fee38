import type { Registers } from '@granule/contract';

/** Names of the backends that an image may ask for. */
export type Architecture = 'armv8' | 'armv7-lpae';

/** CPU models with the long descriptor format and no 64-bit state (an emulator's names). */
const ARMV7_CPU = /^cortex-a(?:7|15|17)(?:,|$)/;

/**
 * The architecture of a set of registers, from their names: TTBCR without a TCR_EL1 in force is ARMv7. An emulator may give 64-bit names
 * for a 32-bit CPU too, with the low halves: where both names are listed the CPU model decides, if it is known.
 */
export function architectureOf(registers: Registers, cpu?: string): Architecture {
  if (registers['TTBCR'] === undefined) {
    return 'armv8';
  }
  if (registers['TCR_EL1'] !== undefined && cpu !== undefined) {
    return ARMV7_CPU.test(cpu) ? 'armv7-lpae' : 'armv8';
  }
  return (registers['TCR_EL1'] ?? 0n) === 0n ? 'armv7-lpae' : 'armv8';
}
