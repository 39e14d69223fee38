import type { FaultType } from '@granule/contract';

/**
 * Fault status codes of the long-descriptor format (DDI 0406C B3.13, Fault status register encodings; the address size fault is ARMv8's,
 * DDI 0487 G8.2, DFSR): the first level that has a code and the code at level 0, or the one code of a fault that has no level.
 */
interface Status {
  readonly type?: FaultType;
  readonly text: string;
  /** Levels `first`…3 are this code plus the level. */
  readonly level0?: number;
  readonly first?: 0 | 1;
  readonly single?: number;
}

export const FAULT_STATUS: readonly Status[] = [
  { type: 'address-size', text: 'address size fault', level0: 0x00, first: 0 },
  { type: 'translation', text: 'translation fault', level0: 0x04, first: 1 },
  { type: 'access-flag', text: 'access flag fault', level0: 0x08, first: 1 },
  { type: 'permission', text: 'permission fault', level0: 0x0c, first: 1 },
  { type: 'external-abort', text: 'synchronous external abort', single: 0x10 },
  { text: 'asynchronous external abort', single: 0x11 },
  { type: 'external-abort-on-walk', text: 'synchronous external abort on a table walk', level0: 0x14, first: 1 },
  { text: 'synchronous parity error', single: 0x18 },
  { text: 'asynchronous parity error', single: 0x19 },
  { text: 'synchronous parity error on a table walk', level0: 0x1c, first: 1 },
  { type: 'alignment', text: 'alignment fault', single: 0x21 },
  { text: 'debug event', single: 0x22 },
  { type: 'tlb-conflict', text: 'TLB conflict abort', single: 0x30 },
];

/** A 6-bit status code in words. */
export function describeFaultStatus(code: number): string {
  for (const { text, level0, first, single } of FAULT_STATUS) {
    if (code === single) return text;
    if (level0 !== undefined && code >= level0 + first! && code <= level0 + 3) return `${text}, level ${code - level0}`;
  }
  return `status 0x${code.toString(16).padStart(2, '0')}`;
}
