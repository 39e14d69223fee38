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

  it('faults at a leaf whose access flag is clear, and tells where it leads', () => {
    const { end } = valueOf(walkAddress(stage2, 's2', 0x20_3000n));
    // DFSC 0b001011: access flag fault, level 3 (DDI 0487 ESR_EL2).
    expect(end).toMatchObject({
      kind: 'fault',
      fault: { type: 'access-flag', stage: 2, level: 3 },
      cause: { descriptor: { physical: L3 + 24, lo: 0x8040_33ff, hi: 0 }, field: { name: 'AF', lsb: 10, value: 0n }, statusCode: 0x0b },
      past: { output: 0x8040_3000, level: 3, leaf: { accessed: false } },
    });
  });

  it('lets hardware set the access flag with VTCR_EL2.HA, and tells what it writes', () => {
    // VTCR_EL2.HA is bit 21 (DDI 0487 VTCR_EL2).
    const managed = openBytes(memory, { registers: { ...STAGE2, VTCR_EL2: STAGE2.VTCR_EL2 + (1n << 21n) } });
    const { end, updates } = valueOf(walkAddress(managed, 's2', 0x20_3000n));
    expect(end).toMatchObject({ kind: 'translated', output: 0x8040_3000 });
    expect(updates).toEqual([{ stage: 2, level: 3, address: L3 + 24, from: 0x8040_33ffn, to: 0x8040_37ffn }]);
  });

  // DDI 0487 AArch64.S2Translate: an IPA beyond the input size is a level 0 fault, whatever the start level.
  it('beyond the input size is a translation fault of level 0, by the registers', () => {
    const { stages, end } = valueOf(walkAddress(stage2, 's2', 0x80_0000_0000n));
    expect(stages).toEqual([]);
    expect(end).toMatchObject({ kind: 'fault', fault: { type: 'translation', level: 0 }, cause: { registers: 'VTTBR_EL2/VTCR_EL2', statusCode: 4 } });
  });

  it('of an exception level that the regime does not have is refused', () => {
    expect(walkAddress(stage2, 's2', 0n, { el: 2 })).toMatchObject({ kind: 'refused', id: 'walk.no-such-level' });
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

  // Attr0 0xff in both stages, SH inner; PAR_EL1 layout DDI 0487 PAR_EL1: ATTR 63:56, NS bit 9, RES1 bit 11, SH 8:7.
  it('combines both stages: rights, memory and the smaller leaf', () => {
    const { result } = valueOf(walkAddress(openBytes(memory, { registers: { ...registers, SCTLR_EL1: 0x1005n } }), 'el10', 0x20_2345n));
    expect(result).toEqual({
      permissions: 'EL0/--X EL1/RWX',
      mair: 0xff,
      memory: 'normal',
      shareability: 'inner shareable',
      size: 4096,
      par: 0xff00_0000_8040_2b80n,
    });
  });

  it('with the data cache off (SCTLR_EL1.C) is Non-cacheable, Outer Shareable', () => {
    const { result } = valueOf(walkAddress(image, 'el10', 0x20_2345n));
    expect(result).toMatchObject({ mair: 0x44, shareability: 'outer shareable' });
  });

  it('tells how stage 2 fails for a descriptor that could not be read', () => {
    const { stages: [{ steps, unread }], end } = valueOf(walkAddress(image, 'el10', 0xc000_0000n));
    expect(steps).toHaveLength(1);
    expect(unread).toMatchObject({ address: 0x7_0000_0000, steps: [{ level: 1, index: 28, kind: ENTRY.zero }] });
    expect(end.kind === 'fault' && end.cause.descriptor).toMatchObject({ stage: 2, level: 1, physical: ROOT + 28 * 8 });
  });

  it('goes past an access flag that is clear in stage 2 of a table', () => {
    // The stage-1 tables at IPA 0x8000_0000 by the leaf of index 2, its AF (bit 10) clear.
    const old = new HandmadeMemory().set(ROOT, 2, block(S1) - 0x400n).set(S1, 0, 0x8000_0701n);
    const { end } = valueOf(walkAddress(openBytes(old, { registers }), 'el10', 0x1234n));
    expect(end).toMatchObject({
      kind: 'fault',
      fault: { type: 'access-flag', stage: 2, s1ptw: true, ipa: 0x8000_0000 },
      cause: { descriptor: { physical: ROOT + 16, lo: 0x4000_03fd, hi: 1 } },
      past: { output: S1 + 0x1234 },
    });
  });
});

/**
 * A write, a read at EL0 and fetches against one right taken away each: descriptor bits of DDI 0487 D8.3.1, clause by clause D8.4. Stage 1 alone, a block of
 * level 1 under no table, or under a table of level 1 with hierarchical attributes.
 */
describe('the field that takes a right away', () => {
  const TCR = (5n << 32n) + (1n << 23n) + 25n;
  const common = { TCR_EL1: TCR, TTBR0_EL1: BigInt(ROOT), SCTLR_EL1: 1n, MAIR_EL1: 0xffn, ID_AA64MMFR0_EL1: 5n };
  const open1 = (leaf: bigint, above = 0n, more: Record<string, bigint> = {}) =>
    openBytes(new HandmadeMemory().set(ROOT, 0, table(L2) + above).set(L2, 0, leaf), { registers: { ...common, ...more } });
  const EL0 = 1n << 6n;
  const READ_ONLY = 1n << 7n;
  const LEAF = 0x8000_0701n;

  it.each<[string, bigint, bigint, 'read' | 'write' | 'fetch', 0 | 1, string, number]>([
    ['AP[2]: read-only', LEAF + READ_ONLY, 0n, 'write', 1, 'AP[2]', 2],
    ['AP[1]: not for EL0', LEAF, 0n, 'read', 0, 'AP[1]', 2],
    ['APTable[0]: no EL0 access below', LEAF + EL0, 1n << 61n, 'read', 0, 'APTable', 1],
    ['APTable[1]: no write below', LEAF, 2n << 61n, 'write', 1, 'APTable', 1],
    ['PXN', LEAF + (1n << 53n), 0n, 'fetch', 1, 'PXN', 2],
    ['UXN', LEAF + EL0 + (1n << 54n), 0n, 'fetch', 0, 'UXN', 2],
    ['PXNTable', LEAF, 1n << 59n, 'fetch', 1, 'PXNTable', 1],
    ['UXNTable', LEAF + EL0, 1n << 60n, 'fetch', 0, 'UXNTable', 1],
    ['writable at EL0, so not executable at EL1', LEAF + EL0, 0n, 'fetch', 1, 'AP[1]', 2],
  ])('%s', (_, leaf, above, type, el, field, level) => {
    const { end } = valueOf(walkAddress(open1(leaf, above), 'el10', 0x1234n, { type, el }));
    expect(end).toMatchObject({ kind: 'fault', fault: { type: 'permission', stage: 1, level: 2 }, cause: { field: { name: field }, descriptor: { level } } });
  });

  it('SCTLR_EL1.WXN: what may be written is not executable', () => {
    const { end } = valueOf(walkAddress(open1(LEAF, 0n, { SCTLR_EL1: 1n + (1n << 19n) }), 'el10', 0n, { type: 'fetch' }));
    expect(end.kind === 'fault' && end.sentence).toContain('SCTLR.WXN');
  });

  it.each<['read' | 'write' | 'fetch', bigint, string]>([
    ['read', 0x8000_073dn, 'S2AP'],
    ['write', 0x8000_077dn, 'S2AP'],
    ['fetch', 0x8000_07fdn + (1n << 54n), 'XN'],
  ])('stage 2, %s', (type, leaf, field) => {
    const image = openBytes(new HandmadeMemory().set(ROOT, 0, leaf), { registers: STAGE2 });
    const { end } = valueOf(walkAddress(image, 's2', 0n, { type }));
    expect(end).toMatchObject({ kind: 'fault', fault: { type: 'permission', stage: 2, level: 1 }, cause: { field: { name: field } } });
  });

  it('names the bits of an output address that are too many', () => {
    const image = openBytes(new HandmadeMemory().set(ROOT, 0, block(0x1_4000_0000)), { registers: { ...STAGE2, VTCR_EL2: STAGE2.VTCR_EL2 - (5n << 16n) } });
    const { end } = valueOf(walkAddress(image, 's2', 0n));
    expect(end).toMatchObject({ kind: 'fault', fault: { type: 'address-size' }, cause: { field: { name: 'OA[47:30]' }, statusCode: 1 } });
  });
});
