import { armv8 } from '@granule/armv8';
import { describe, expect, it } from 'vitest';
import { ccsidr, clidr, ctr, dczid, shapeOfCcsidr } from '../../src/cache/geometry.js';
import { invalidateInstructionLine, invalidateInstructions, maintainData } from '../../src/cache/maintenance.js';
import { machine, NC, WB } from './support.js';

const CODE = 0x200;

/** Old code cached for instructions, new code stored as data. */
function modified(changes: Parameters<typeof machine>[0] = {}) {
  const all = machine(changes);
  all.ram[CODE] = 1;
  all.fetch(0, CODE, CODE);
  all.fetch(1, CODE, CODE);
  all.store(0, CODE, 2);
  return { ...all, fetched: (pe: number) => all.fetch(pe, CODE, CODE) };
}

describe('modified code', () => {
  it('needs the data cleaned to the point of unification and the instruction line invalidated, both', () => {
    const { caches, fetched } = modified();
    expect(fetched(0)).toBe(1);
    invalidateInstructionLine(caches, 0, CODE, CODE, WB);
    expect(fetched(0)).toBe(1);
    maintainData(caches, 0, 'CVAU', CODE, WB);
    expect(fetched(0)).toBe(1);
    invalidateInstructionLine(caches, 0, CODE, CODE, WB);
    expect([fetched(0), fetched(1)]).toEqual([2, 2]);
  });

  it('with IDC needs the invalidation alone', () => {
    const { caches, fetched } = modified({ idc: true });
    expect(fetched(0)).toBe(1);
    invalidateInstructionLine(caches, 0, CODE, CODE, WB);
    expect([fetched(0), fetched(1)]).toEqual([2, 2]);
  });

  it('with DIC needs the clean alone, with both nothing', () => {
    const { caches, fetched } = modified({ dic: true });
    expect(fetched(0)).toBe(1);
    const cleaned = modified({ dic: true });
    maintainData(cleaned.caches, 0, 'CVAU', CODE, WB);
    expect([cleaned.fetched(0), cleaned.fetched(1)]).toEqual([2, 2]);
    expect(modified({ dic: true, idc: true }).fetched(1)).toBe(2);
    expect(caches.config.dic).toBe(true);
  });

  it('IC IALLU is local, IC IALLUIS and IC IVAU reach the inner domain', () => {
    const { caches, fetched } = modified({ idc: true });
    invalidateInstructions(caches, 0, false);
    expect([fetched(0), fetched(1)]).toEqual([2, 1]);
    invalidateInstructions(caches, 0, true);
    expect(fetched(1)).toBe(2);
  });

  it('in a virtually indexed cache a second mapping keeps its copy until it is named', () => {
    const instruction = { sets: 128, ways: 1, replacement: 'lru', index: 'virtual' } as const;
    const { caches, fetch, ram } = machine({ instruction, idc: true });
    const [one, other] = [0x1_0200, 0x1_1200];
    ram[CODE] = 1;
    expect([fetch(0, one, CODE), fetch(0, other, CODE)]).toEqual([1, 1]);
    ram[CODE] = 2;
    maintainData(caches, 0, 'CIVAC', CODE, WB);
    invalidateInstructionLine(caches, 0, one, CODE, WB);
    expect([fetch(0, one, CODE), fetch(0, other, CODE)]).toEqual([2, 1]);
    invalidateInstructions(caches, 0, true);
    expect(fetch(0, other, CODE)).toBe(2);
  });

  it('uncached fetches see memory', () => {
    const { caches, fetch } = modified();
    expect(fetch(0, CODE, CODE, NC)).toBe(1);
    maintainData(caches, 0, 'CVAC', CODE, WB);
    expect(fetch(0, CODE, CODE, NC)).toBe(2);
  });
});

/** DDI 0487 D24.2, through the backend's register layouts. */
describe('identification', () => {
  const facts = { lineBytes: 64, zeroBytes: 64, instructionIndex: 'virtual', outer: true, idc: false, dic: true } as const;
  const fields = (name: string, value: bigint): Readonly<Record<string, bigint>> => {
    const decoded = armv8.registers.decode(name, value);
    if (decoded.kind !== 'done') throw new Error(decoded.sentence);
    return decoded.value;
  };

  it('CLIDR_EL1 names separate caches at level 1, a unified one at level 2, and where coherency is reached', () => {
    expect(fields('CLIDR_EL1', clidr(facts))).toMatchObject({ Ctype1: 3n, Ctype2: 4n, Ctype3: 0n, LoC: 2n, LoUU: 1n, LoUIS: 1n });
    expect(fields('CLIDR_EL1', clidr({ ...facts, outer: false, idc: true }))).toMatchObject({ Ctype2: 0n, LoC: 1n, LoUU: 0n, LoUIS: 0n });
  });

  it('CTR_EL0 has the line sizes, the index policy and what maintenance is needed', () => {
    expect(fields('CTR_EL0', ctr(facts))).toMatchObject({ DminLine: 4n, IminLine: 4n, L1Ip: 2n, IDC: 0n, DIC: 1n });
    expect(fields('CTR_EL0', ctr({ ...facts, instructionIndex: 'physical' }))).toMatchObject({ L1Ip: 3n });
  });

  /** The example of Cortex-A53: 32 KiB, 4 ways, 64-byte lines. */
  it('CCSIDR_EL1 of 128 sets of 4 lines of 64 bytes is 0xfe01a without its attribute bits', () => {
    expect(ccsidr({ sets: 128, ways: 4 }, 64)).toBe(0xf_e01an);
    expect(shapeOfCcsidr(0x700f_e01an)).toEqual({ sets: 128, ways: 4, lineBytes: 64 });
  });

  it('DCZID_EL0 counts words', () => {
    expect(dczid(facts)).toBe(4n);
  });
});
