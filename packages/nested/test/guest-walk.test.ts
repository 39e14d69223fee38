import type { NestedGuest, NestedState } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { GuestWalker, type GuestEntry } from '../src/index.js';
import { GUEST, RWX, stateOf, vtcr, Words } from './support.js';

const BASE = 0x8000_0000;
const TABLE = (address: number): bigint => BigInt(address) | 3n;
const PAGE = (address: number): bigint => BigInt(address) | RWX | 3n;
const BLOCK = (address: number): bigint => BigInt(address) | RWX | 1n;
const VTTBR = (1n << 48n) | BigInt(BASE);

/** Three levels of 4K tables that map IPA 0x1000_0000 to 0x9000_0000 by a page. */
function tables(end?: number): Words {
  return new Words(end).set(BASE, TABLE(0x8000_2000)).set(0x8000_2000 + 8 * 0x80, TABLE(0x8000_3000)).set(0x8000_3000, PAGE(0x9000_0000));
}

const IPA = 0x1000_0000;

function walk(memory: Words, ipa = IPA, state: Partial<NestedState> = {}, guest: Partial<NestedGuest> = {}) {
  return new GuestWalker({ ...GUEST, ...guest }, memory).walk({ ...stateOf(VTTBR), ...state }, ipa);
}

/** What KVM's walk answers, check by check (Linux walk_nested_s2_pgd); the level is that of the fault status code. */
const FAULTS: readonly (readonly [name: string, code: number, error: boolean, Parameters<typeof walk>])[] = [
  ['T0SZ above 39: address size, level 0', 0x00, true, [tables(), IPA, { vtcr: vtcr({ ia: 24, sl0: 1 }) }]],
  ['T0SZ below 16: address size, level 0', 0x00, true, [tables(), IPA, { vtcr: vtcr({ ia: 49, sl0: 2 }) }, { paBits: 48 }]],
  ['4K from level -1: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 40, sl0: 3 }) }]],
  ['4K from level 0 with 42-bit addresses: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 42, sl0: 2 }) }, { paBits: 42 }]],
  ['16K from level 1 with 40-bit addresses: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 40, sl0: 2, tg0: 2 }) }]],
  ['64K from level 1 with 42-bit addresses: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 42, sl0: 2, tg0: 1 }) }, { paBits: 42 }]],
  ['an IPA larger than a physical address: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 41, sl0: 1 }) }]],
  ['more than 16 entry tables: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 40, sl0: 0 }) }]],
  ['no bit for the start level: translation, level 0', 0x04, true, [tables(), IPA, { vtcr: vtcr({ ia: 30, sl0: 1 }) }]],
  ['a base beyond PS: address size, level 0', 0x00, false, [tables(), IPA, { vttbr: 0x11_0000_0000n, vtcr: vtcr({ ia: 40, sl0: 1, ps: 0 }) }]],
  ['a table outside memory: external abort on the walk, its level', 0x16, true, [tables(2 ** 39).set(BASE, TABLE(0x80_0000_0000))]],
  ['an invalid entry: translation, its level', 0x06, false, [tables().set(0x8000_2400, 2n)]],
  ['a block encoding at level 3: translation, level 3', 0x07, false, [tables().set(0x8000_3000, BLOCK(0x9000_0000))]],
  ['a next table beyond PS: address size, its level', 0x01, false, [tables().set(BASE, TABLE(0x1_0000_0000)), IPA, { vtcr: vtcr({ ia: 40, sl0: 1, ps: 0 }) }]],
  ['a page beyond PS: address size, level 3', 0x03, false, [tables().set(0x8000_3000, PAGE(0x1_0000_0000)), IPA, { vtcr: vtcr({ ia: 40, sl0: 1, ps: 0 }) }]],
  ['a block of level 0: translation, level 0', 0x04, false, [tables().set(BASE, BLOCK(0)), IPA, { vtcr: vtcr({ ia: 44, sl0: 2, ps: 5 }) }, { paBits: 48, ipaLimit: 48 }]],
  ['a 16K block of level 1: translation, level 1', 0x05, false, [tables().set(BASE, BLOCK(0)), IPA, { vtcr: vtcr({ ia: 44, sl0: 2, tg0: 2, ps: 5 }) }, { paBits: 48, ipaLimit: 48 }]],
  ['a clear access flag: access flag, its level', 0x0b, false, [tables().set(0x8000_3000, PAGE(0x9000_0000) - 0x400n)]],
];

describe("KVM's walk of a guest hypervisor's stage 2", () => {
  it('maps by page', () => {
    expect(walk(tables(), IPA + 0x123)).toEqual({
      kind: 'mapped', output: 0x9000_0123, level: 3, blockBytes: 4096, read: true, write: true, executeEl1: true, executeEl0: true,
    });
  });

  it.each(FAULTS)('%s', (_, statusCode, error, args) => {
    expect(walk(...args)).toMatchObject({ kind: 'fault', statusCode, error });
  });

  it('lists what it read', () => {
    const entries: GuestEntry[] = [];
    new GuestWalker(GUEST, tables()).walk(stateOf(VTTBR), IPA, entries);
    expect(entries).toEqual([
      { level: 1, at: BASE, descriptor: TABLE(0x8000_2000) },
      { level: 2, at: 0x8000_2400, descriptor: TABLE(0x8000_3000) },
      { level: 3, at: 0x8000_3000, descriptor: PAGE(0x9000_0000) },
    ]);
  });

  it('does not look at bits of the IPA above the input size (a quirk: hardware faults)', () => {
    expect(walk(tables(), 2 ** 40 + IPA, {}, { paBits: 48, ipaLimit: 48 })).toMatchObject({ kind: 'mapped', output: 0x9000_0000 });
  });

  it('reads concatenated entry tables as one', () => {
    expect(walk(new Words().set(BASE + 8 * 1023, BLOCK(0x4000_0000)), 1023 * 2 ** 30 + 5)).toMatchObject({ output: 0x4000_0005, level: 1, blockBytes: 2 ** 30 });
  });

  it('takes a reserved granule as 64K', () => {
    // 64K, 40 bits from level 2 (SL0 1): 2048 entries of 512 MiB.
    expect(walk(new Words().set(BASE, BLOCK(0)), 7, { vtcr: vtcr({ ia: 40, sl0: 1, tg0: 3 }) })).toMatchObject({ level: 2, blockBytes: 2 ** 29 });
  });

  it('takes a granule that the guest does not have as the page size of the host', () => {
    const features = { ...GUEST.features, granules2: ['16K', '4K'] } as const;
    const answer = walk(new Words().set(BASE, BLOCK(0)), 7, { vtcr: vtcr({ ia: 40, sl0: 1, tg0: 1 }) }, { hostGranule: '16K', features });
    expect(answer).toMatchObject({ level: 2, blockBytes: 2 ** 25 });
  });

  it.each([
    ['4K, level 3', { ia: 40, sl0: 1 }, 0x1_5000, 0x9000_0000, 0x9000_5000, 4096],
    ['64K, level 2', { ia: 40, sl0: 1, tg0: 1 }, 3 * 2 ** 29 + 1, 0, 3 * 2 ** 29 + 1, 2 ** 29],
  ])('lets CONT align the output and not the block: %s', (_, fields, ipa, address, output, blockBytes) => {
    const cont = 1n << 52n;
    const memory = 'tg0' in fields
      ? new Words().set(BASE + 8 * 3, BLOCK(address) | cont)
      : new Words().set(BASE, TABLE(0x8000_2000)).set(0x8000_2000, TABLE(0x8000_3000)).set(0x8000_3000 + 8 * 0x15, PAGE(address) | cont);
    expect(walk(memory, ipa, { vtcr: vtcr(fields) })).toMatchObject({ output, blockBytes });
  });

  it('sets the access flag in the guest memory with VTCR_EL2.HA', () => {
    const memory = tables().set(0x8000_3000, PAGE(0x9000_0000) - 0x400n);
    expect(walk(memory, IPA, { vtcr: vtcr({ ia: 40, sl0: 1, ha: 1 }) })).toMatchObject({ kind: 'mapped' });
    expect(memory.words.get(0x8000_3000)).toBe(PAGE(0x9000_0000));
  });

  it('asks for another try where the descriptor changes meanwhile, and aborts where memory is read-only', () => {
    const ha = { vtcr: vtcr({ ia: 40, sl0: 1, ha: 1 }) };
    const memory = tables().set(0x8000_3000, PAGE(0x9000_0000) - 0x400n);
    memory.exchange = () => 'changed';
    expect(walk(memory, IPA, ha)).toEqual({ kind: 'retry' });
    const readOnly = { read: memory.read.bind(memory) };
    expect(new GuestWalker(GUEST, readOnly).walk({ ...stateOf(VTTBR), ...ha }, IPA)).toMatchObject({ kind: 'fault', statusCode: 0x17, error: true });
  });

  it('reads big-endian tables where SCTLR_EL2.EE says so, and sets their access flag', () => {
    const swapped = (word: bigint): bigint => BigInt(`0x${word.toString(16).padStart(16, '0').match(/../g)?.reverse().join('') ?? ''}`);
    const memory = new Words();
    for (const [at, word] of tables().words) memory.set(at, swapped(at === 0x8000_3000 ? word - 0x400n : word));
    expect(walk(memory, IPA, { bigEndian: true, vtcr: vtcr({ ia: 40, sl0: 1, ha: 1 }) })).toMatchObject({ kind: 'mapped', output: 0x9000_0000 });
    expect(memory.words.get(0x8000_3000)).toBe(swapped(PAGE(0x9000_0000)));
  });

  it.each([
    [0n, true, true], [1n, true, false], [2n, false, false], [3n, false, true],
  ])('reads XN[1:0] = %d as execution at EL0 and EL1', (xn, executeEl0, executeEl1) => {
    // DDI 0487, stage 2 leaf descriptors, XN[1:0] with FEAT_XNX: 00 both, 01 EL0 alone, 10 none, 11 EL1 alone.
    expect(walk(tables().set(0x8000_3000, PAGE(0x9000_0000) | (xn << 53n)))).toMatchObject({ executeEl0, executeEl1 });
  });
});
