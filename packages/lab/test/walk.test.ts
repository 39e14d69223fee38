import { ENTRY } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { walkAddress } from '../src/index.js';
import { block, HandmadeMemory, openBytes, page, ROOT, STAGE2, table, valueOf } from './support.js';

const L2 = ROOT + 0x1000;
const L3 = ROOT + 0x2000;
const memory = new HandmadeMemory()
  .set(ROOT, 0, table(L2))
  .set(L2, 1, table(L3))
  .set(L3, 2, page(0x8040_2000))
  .set(L3, 3, page(0x8040_3000) - 0x400n)
  .set(ROOT, 2, block(0x1_4000_0000));
const stage2 = openBytes(memory, { registers: STAGE2 });

describe('a walk of one stage', () => {
  it('tells every descriptor with its address, index, value and fields', () => {
    const { stages: [{ steps }], end } = valueOf(walkAddress(stage2, 's2', 0x20_2345n));
    expect(steps.map(({ level, index, address, lo, kind, output }) => ({ level, index, address, lo, kind, output }))).toEqual([
      { level: 1, index: 0, address: ROOT, lo: L2 + 3, kind: ENTRY.table, output: L2 },
      { level: 2, index: 1, address: L2 + 8, lo: L3 + 3, kind: ENTRY.table, output: L3 },
      { level: 3, index: 2, address: L3 + 16, lo: 0x8040_27ff, kind: ENTRY.leaf, output: 0x8040_2000 },
    ]);
    expect(steps[2].fields.find(({ name }) => name === 'S2AP')).toMatchObject({ msb: 7, lsb: 6, value: 3n, meaning: 'read/write' });
    expect(end).toMatchObject({ kind: 'translated', output: 0x8040_2345, level: 3 });
  });

  it('adds the offset within a block', () => {
    expect(valueOf(walkAddress(stage2, 's2', 0x8765_4321n)).end).toMatchObject({ kind: 'translated', output: 0x1_4765_4321, level: 1 });
  });

  it('ends at a zero entry in a translation fault of that level', () => {
    const { end } = valueOf(walkAddress(stage2, 's2', 0x20_0000n));
    expect(end.kind === 'fault' && end.sentence).toBe('Translation fault, stage 2, level 3: the entry is zero.');
  });

  it('goes through a leaf whose access flag is clear, and tells so', () => {
    const { end } = valueOf(walkAddress(stage2, 's2', 0x20_3000n));
    expect(end.kind === 'translated' && [end.output, end.leaf.accessed]).toEqual([0x8040_3000, false]);
  });

  it('beyond the input size is a translation fault of the start level', () => {
    const { stages, end } = valueOf(walkAddress(stage2, 's2', 0x80_0000_0000n));
    expect(stages).toEqual([]);
    expect(end.kind === 'fault' && [end.fault.type, end.fault.level]).toEqual(['translation', 1]);
  });

  it('of an IPA with more than 52 bits is refused', () => {
    expect(walkAddress(stage2, 's2', 1n << 52n)).toMatchObject({ kind: 'refused', id: 'walk.address-beyond-input' });
  });

  it('of a regime that is not in force is refused', () => {
    expect(walkAddress(stage2, 'el20', 0n)).toMatchObject({ kind: 'refused', id: 'registers.not-in-force' });
  });
});

describe('a walk of two stages', () => {
  // Stage 1: T0SZ = T1SZ = 25, 4K, TBI1 (bit 38); its tables at IPA 0x8000_0000, which stage 2 maps to 0x1_4000_0000.
  const S1 = 0x1_4000_0000;
  const TCR = (1n << 38n) + (5n << 32n) + (2n << 30n) + (25n << 16n) + 25n;
  const registers = { ...STAGE2, TCR_EL1: TCR, TTBR0_EL1: 0x8000_0000n, TTBR1_EL1: 0x8000_1000n, SCTLR_EL1: 1n, MAIR_EL1: 0xffn };
  memory
    .set(S1, 0, 0x701n)
    .set(S1, 1, 0x7_0000_0701n)
    .set(S1, 2, table(0x8000_2000))
    .set(S1, 3, table(0x7_0000_0000))
    .set(S1 + 0x1000, 511, 0x8000_0701n)
    .set(S1 + 0x2000, 0, 0n);
  const image = openBytes(memory, { registers });

  it('goes on with stage 2 at the IPA that stage 1 gives', () => {
    const { stages, end } = valueOf(walkAddress(image, 'el10', 0x20_2345n));
    expect(stages.map(({ tables, address }) => [tables.format.stage, address])).toEqual([[1, 0x20_2345], [2, 0x20_2345]]);
    expect(end).toMatchObject({ kind: 'translated', output: 0x8040_2345 });
  });

  it('tells for each stage-1 descriptor where stage 2 finds it', () => {
    const { stages: [{ steps: [step] }] } = valueOf(walkAddress(image, 'el10', 0n));
    expect(step.address).toBe(0x8000_0000);
    expect(step.through?.end).toMatchObject({ kind: 'translated', output: S1 });
  });

  it('ends in a stage-2 fault where the output is not mapped', () => {
    const { end } = valueOf(walkAddress(image, 'el10', 0x4000_0000n));
    expect(end.kind === 'fault' && [end.fault.stage, end.fault.s1ptw, end.fault.ipa]).toEqual([2, false, 0x7_0000_0000]);
  });

  it('ends in a stage-2 fault on a table walk where a table is not mapped', () => {
    const { end } = valueOf(walkAddress(image, 'el10', 0xc000_0000n));
    expect(end.kind === 'fault' && [end.fault.stage, end.fault.s1ptw, end.fault.ipa]).toEqual([2, true, 0x7_0000_0000]);
  });

  it('takes addresses with all top bits set to the upper range, and the top byte only where TBI says that it does not count', () => {
    const high = 0xffff_ffff_c000_0000n;
    expect(valueOf(walkAddress(image, 'el10', high)).end).toMatchObject({ kind: 'translated', output: 0x1_4000_0000 });
    expect(valueOf(walkAddress(image, 'el10', high - (0xaan << 56n))).end).toMatchObject({ kind: 'translated', output: 0x1_4000_0000 });
    expect(valueOf(walkAddress(image, 'el10', 0xaa00_0000_0000_0000n)).stages).toEqual([]);
  });
});
