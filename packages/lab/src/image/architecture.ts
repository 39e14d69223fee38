import type { Registers } from '@granule/contract';

/** Names of the backends that an image may ask for. */
export type Architecture = 'armv8' | 'armv7-lpae';

/** CPU models with the long descriptor format and no 64-bit state (an emulator's names). */
const ARMV7_CPU = /^cortex-a(?:7|15|17)(?:,|$)/;

/** Whether all names are ARMv7's: it has registers of its Hyp mode and no name with an exception level. */
function namesArmv7(registers: Registers): boolean {
  const names = Object.keys(registers);
  return (names.includes('VTCR') || names.includes('HTCR')) && !names.some((name) => /_EL\d/u.test(name));
}

/**
 * The architecture of a set of registers, from their names: TTBCR without a TCR_EL1 in force is ARMv7, and so are the registers of Hyp mode alone. An emulator may give 64-bit names
 * for a 32-bit CPU too, with the low halves: where both names are listed the CPU model decides, if it is known.
 */
export function architectureOf(registers: Registers, cpu?: string): Architecture {
  if (registers['TTBCR'] === undefined) {
    return namesArmv7(registers) ? 'armv7-lpae' : 'armv8';
  }
  if (registers['TCR_EL1'] !== undefined && cpu !== undefined) {
    return ARMV7_CPU.test(cpu) ? 'armv7-lpae' : 'armv8';
  }
  return (registers['TCR_EL1'] ?? 0n) === 0n ? 'armv7-lpae' : 'armv8';
}

/** 32-bit registers and the names of the 64-bit ones that they are the low half of. */
const SHARED_NAMES = { SCTLR: 'SCTLR_EL1', HSCTLR: 'SCTLR_EL2', HTCR: 'TCR_EL2', HMAIR0: 'MAIR_EL2', HCR: 'HCR_EL2' } as const;

/** Registers of an ARMv7 machine by their ARMv7 names, where an emulator lists them under 64-bit names alone. */
export function armv7Registers(registers: Registers): Registers {
  const missing = Object.entries(SHARED_NAMES).flatMap(([name, shared]) => {
    const value = registers[shared];
    return value === undefined || registers[name] !== undefined ? [] : [[name, BigInt.asUintN(32, value)] as const];
  });
  return { ...registers, ...Object.fromEntries(missing) };
}
