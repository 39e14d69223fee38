import type { NestedFault } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { decide, type GuestWalk } from '../src/index.js';

/** A data abort from EL1, write, level 3 permission fault (DDI 0487 ESR_EL2: EC 0x24, IL, WnR bit 6, FSC 0x0f). */
const ESR = 0x9200_004fn;
const WRITE: NestedFault = { ipa: 0x1000, esr: ESR, permission: true, fetch: false, write: true, privileged: true };
const MAPPED = {
  kind: 'mapped', output: 0x9000_1000, level: 2, blockBytes: 2 ** 21, read: true, write: true, executeEl1: true, executeEl0: true,
} as const satisfies GuestWalk;

describe('a fault of a shadow', () => {
  it('is mapped with what the guest hypervisor permits, at most its block, and its level', () => {
    expect(decide(WRITE, { ...MAPPED, executeEl0: false })).toEqual({
      did: 'map', limits: { ipa: 0x9000_1000, maxBytes: 2 ** 21, read: true, write: true, executeEl1: true, executeEl0: false, level: 2 },
    });
  });

  it.each<[string, Partial<NestedFault>, Partial<typeof MAPPED & { read: boolean; write: boolean; executeEl1: boolean; executeEl0: boolean }>]>([
    ['a write where it denies writes', {}, { write: false }],
    ['a read where it denies reads', { write: false }, { read: false }],
    ['a fetch at EL1 where it denies EL1', { write: false, fetch: true }, { executeEl1: false }],
    ['a fetch at EL0 where it denies EL0', { write: false, fetch: true, privileged: false }, { executeEl0: false }],
  ] as never)('goes to the guest hypervisor as a permission fault of its level: %s', (_, fault, walk) => {
    expect(decide({ ...WRITE, ...fault }, { ...MAPPED, ...walk })).toMatchObject({ did: 'forward', statusCode: 0x0e, level: 2, esr: 0x9200_004en });
  });

  it('is not held against permissions where it is a translation fault', () => {
    expect(decide({ ...WRITE, permission: false }, { ...MAPPED, write: false })).toMatchObject({ did: 'map', limits: { write: false } });
  });

  it('goes to the guest hypervisor with the status of its walk and the rest of the syndrome', () => {
    const walk: GuestWalk = { kind: 'fault', statusCode: 0x05, level: 1, sentence: 'The level 1 entry is invalid.', error: false };
    expect(decide(WRITE, walk)).toMatchObject({ did: 'forward', esr: 0x9200_0045n, level: 1 });
  });

  it('is tried again where the walk is', () => {
    expect(decide(WRITE, { kind: 'retry' })).toEqual({ did: 'retry' });
  });
});
