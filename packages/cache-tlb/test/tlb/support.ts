import type { Outcome, TlbEntry, TlbQuery } from '@granule/contract';
import type { TlbiIssuer } from '../../src/tlb/scope.js';

export function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') throw new Error(`${outcome.id}: ${outcome.sentence}`);
  return outcome.value;
}

/** A host hypervisor at EL2 without VHE, VMID 1 current. */
export const HOST: TlbiIssuer = { el: 2, vmid: 1, e2h: false, tge: false, lpa2: false };

/** A 4K page of guest VMID 1, ASID 3, unless told otherwise. */
export function entry(changes: Partial<TlbEntry> = {}): TlbEntry {
  return {
    regime: 'el10',
    stage: 'stage1',
    kind: 'leaf',
    vmid: 1,
    asid: 3,
    level: 3,
    pageShift: 12,
    input: 0x40_0000,
    shift: 12,
    ipa: -1,
    output: 0x8000_0000,
    attributes: 0xff,
    shareability: 3,
    permissions: 3,
    contiguous: false,
    ...changes,
  };
}

export function query(changes: Partial<TlbQuery> = {}): TlbQuery {
  return { regime: 'el10', stage: 'stage1', kind: 'leaf', vmid: 1, asid: 3, address: 0x40_0000, ...changes };
}
