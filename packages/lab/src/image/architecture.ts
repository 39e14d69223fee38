import type { Registers } from '@granule/contract';

/** Names of the backends that an image may ask for. */
export type Architecture = 'armv8' | 'armv7-lpae';

/**
 * The architecture of a set of registers, from their names: TTBCR without a TCR_EL1 in force is ARMv7. QEMU gives a few 64-bit names for a 32-bit CPU
 * too, with the low halves, and 32-bit names for a 64-bit CPU; TCR_EL1 is what a 64-bit kernel cannot do without.
 */
export function architectureOf(registers: Registers): Architecture {
  return registers['TTBCR'] !== undefined && (registers['TCR_EL1'] ?? 0n) === 0n && registers['TCR_EL2'] === undefined ? 'armv7-lpae' : 'armv8';
}
