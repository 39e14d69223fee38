import type { FaultType } from '@granule/contract';

/**
 * Fault status codes (DDI 0487, ESR_EL2.ISS for a Data Abort, DFSC): the code at level 0 for faults that have a level, the one at level −1,
 * or the one code of a fault that has none.
 */
interface Status {
  readonly type: FaultType;
  readonly text: string;
  /** Levels 0…3 are this code plus the level. */
  readonly level0?: number;
  readonly levelMinus1?: number;
  readonly single?: number;
}

export const FAULT_STATUS: readonly Status[] = [
  { type: 'address-size', text: 'address size fault', level0: 0x00, levelMinus1: 0x29 },
  { type: 'translation', text: 'translation fault', level0: 0x04, levelMinus1: 0x2b },
  { type: 'access-flag', text: 'access flag fault', level0: 0x08 },
  { type: 'permission', text: 'permission fault', level0: 0x0c },
  { type: 'external-abort', text: 'synchronous external abort', single: 0x10 },
  { type: 'external-abort-on-walk', text: 'synchronous external abort on a table walk', level0: 0x14, levelMinus1: 0x13 },
  { type: 'alignment', text: 'alignment fault', single: 0x21 },
  { type: 'tlb-conflict', text: 'TLB conflict abort', single: 0x30 },
  { type: 'unsupported-atomic-update', text: 'unsupported atomic hardware update', single: 0x31 },
];

/** A 6-bit status code in words. */
export function describeFaultStatus(code: number): string {
  for (const { text, level0, levelMinus1, single } of FAULT_STATUS) {
    if (code === single) return text;
    if (code === levelMinus1) return `${text}, level -1`;
    if (level0 !== undefined && code >= level0 && code <= level0 + 3) return `${text}, level ${code - level0}`;
  }
  return `status 0x${code.toString(16).padStart(2, '0')}`;
}
