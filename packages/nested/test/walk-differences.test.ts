import type { NestedGuest, NestedState } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { ArchitecturalWalker, GuestWalker, type GuestAccess, type GuestWalk } from '../src/index.js';
import { GUEST, RWX, stateOf, vtcr, VTCR_40, Words } from './support.js';

const BASE = 0x8000_0000;
const VTTBR = (1n << 48n) | BigInt(BASE);
const TABLE = (address: number): bigint => BigInt(address) | 3n;
const PAGE = (address: number): bigint => BigInt(address) | RWX | 3n;
const BLOCK = (address: number): bigint => BigInt(address) | RWX | 1n;
const CONT = 1n << 52n;
const NOT_READABLE = 1n << 6n;
const AF = 1n << 10n;

/** 4K pages from level 1: IPA 0 by a page, 2 MiB by a block, at level 2 and 3 of the first GiB. */
const memory = (): Words =>
  new Words(2 ** 48).set(BASE, TABLE(0x8000_2000)).set(0x8000_2000, TABLE(0x8000_3000)).set(0x8000_2008, BLOCK(0x4020_0000)).set(0x8000_3000, PAGE(0x4000_0000));

interface Case {
  readonly name: string;
  readonly memory?: (words: Words) => void;
  readonly ipa?: number;
  readonly state?: Partial<NestedState>;
  readonly guest?: Partial<NestedGuest>;
  readonly access?: GuestAccess;
  /** Outputs, or fault status codes; one where both agree. */
  readonly answers: { readonly kvm: string; readonly hardware: string } | string;
}

const only = (granules2: NestedGuest['features']['granules2']): Partial<NestedGuest> => ({ features: { ...GUEST.features, granules2 } });
/**
 * A root whose second entry is a block: at level 2 of 16K and 64K pages it is found at 32 MiB and 512 MiB, where 4K pages, which is what an unimplemented or
 * reserved granule acts as for `mmu`, have an invalid entry of level 2.
 */
const withSecond = (words: Words): void => { words.set(BASE + 8, BLOCK(0x40_0000_0000)); };

/** Linux walk_nested_s2_pgd against DDI 0487 AArch64.S2Walk, AArch64.S2InvalidSL, AArch64.S2InconsistentSL, AArch64.S2TxSZFaults. */
const CASES: readonly Case[] = [
  { name: 'a page', ipa: 0x123, answers: '0x40000123' },
  { name: 'a block', ipa: 0x20_1000, answers: '0x40201000' },
  { name: 'an invalid entry', ipa: 0x1000, answers: 'fault 0x7' },
  { name: 'a clear access flag', memory: (words) => { words.set(0x8000_3000, PAGE(0x4000_0000) - AF); }, answers: 'fault 0xb' },
  { name: 'a clear access flag, HA', memory: (words) => { words.set(0x8000_3000, PAGE(0x4000_0000) - AF); }, state: { vtcr: vtcr({ ia: 40, sl0: 1, ha: 1 }) }, answers: '0x40000000' },
  { name: 'a table beyond PS', memory: (words) => { words.set(BASE, TABLE(0x1_0000_0000)); }, state: { vtcr: vtcr({ ia: 40, sl0: 1, ps: 0 }) }, answers: 'fault 0x1' },
  { name: 'a base beyond PS', state: { vttbr: 0x11_0000_0000n, vtcr: vtcr({ ia: 40, sl0: 1, ps: 0 }) }, answers: 'fault 0x0' },
  { name: 'more than 16 entry tables', state: { vtcr: vtcr({ ia: 40, sl0: 0 }) }, answers: 'fault 0x4' },
  { name: 'a start level that 4K pages do not have', state: { vtcr: vtcr({ ia: 40, sl0: 3 }) }, answers: 'fault 0x4' },
  { name: 'permissions', memory: (words) => { words.set(0x8000_3000, PAGE(0x4000_0000) - NOT_READABLE); }, answers: { kvm: '0x40000000', hardware: 'fault 0xf' } },
  { name: 'an input size of 24 bits', state: { vtcr: vtcr({ ia: 24, sl0: 0 }) }, answers: { kvm: 'fault 0x0', hardware: 'fault 0x4' } },
  { name: 'an input size of 49 bits', state: { vtcr: vtcr({ ia: 49, sl0: 2 }) }, guest: { paBits: 48, ipaLimit: 48 }, answers: { kvm: 'fault 0x0', hardware: 'fault 0x4' } },
  { name: 'an address beyond the input size', ipa: 2 ** 39, state: { vtcr: vtcr({ ia: 39, sl0: 1 }) }, answers: { kvm: '0x40000000', hardware: 'fault 0x4' } },
  {
    name: 'a contiguous entry whose output is not aligned to the range', ipa: 0x3000, memory: (words) => { words.set(0x8000_3018, PAGE(0x4000_5000) | CONT); },
    answers: { kvm: '0x40003000', hardware: '0x40005000' },
  },
  {
    name: 'a granule that is not there, 64K asked of a guest with 4K and 16K on a 16K host', memory: withSecond, ipa: 2 ** 25,
    state: { vtcr: vtcr({ ia: 40, sl0: 1, tg0: 1 }) }, guest: { ...only(['4K', '16K']), hostGranule: '16K' }, answers: { kvm: '0x4000000000', hardware: 'fault 0x6' },
  },
  { name: 'a reserved granule', memory: withSecond, ipa: 2 ** 29, state: { vtcr: vtcr({ ia: 40, sl0: 1, tg0: 3 }) }, answers: { kvm: '0x4000000000', hardware: 'fault 0x6' } },
  { name: 'what PS allows and the host does not', guest: { ipaLimit: 36, paBits: 40 }, memory: (words) => { words.set(0x8000_3000, PAGE(2 ** 37)); }, answers: { kvm: 'fault 0x3', hardware: '0x2000000000' } },
];

function text(walk: GuestWalk): string {
  return walk.kind === 'mapped' ? `0x${walk.output.toString(16)}` : walk.kind === 'fault' ? `fault 0x${walk.statusCode.toString(16)}` : 'retry';
}

/** Both walks of a case, each of memory of its own. */
function both({ memory: change, ipa = 0, state = {}, guest = {}, access = { type: 'read', privileged: true } }: Case): { readonly kvm: string; readonly hardware: string } {
  const made = (): Words => {
    const words = memory();
    change?.(words);
    return words;
  };
  const registers = { ...stateOf(VTTBR, { vtcr: VTCR_40 }), ...state };
  const hardware = new ArchitecturalWalker({ ...GUEST, ...guest }, made()).walk(registers, ipa, access);
  if (hardware.kind !== 'done') throw new Error(hardware.sentence);
  return { kvm: text(new GuestWalker({ ...GUEST, ...guest }, made()).walk(registers, ipa)), hardware: text(hardware.value) };
}

describe("KVM's walk of a guest hypervisor's stage 2 and the hardware's", () => {
  it.each(CASES)('$name', (each) => {
    const { answers } = each;
    expect(both(each)).toEqual(typeof answers === 'string' ? { kvm: answers, hardware: answers } : answers);
  });
});
