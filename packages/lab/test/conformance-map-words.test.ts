import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { legalAttributes } from '@granule/conformance';
import type { Backend, Format, Registers } from '@granule/contract';
import { armv7Stage1Geometry, stage1Geometry, stage2Geometry, type Granule, type Result } from '@granule/geometry';
import { bigintHigh, bigintLow } from '@granule/geometry/bits';
import { createTableArena } from '@granule/memory';
import { context, createTranslation, mapWords, tableMemory, translateWords, type Access, type Context, type DescriptorMemory, type Mapped } from '@granule/mmu';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

// The entry point that gives address and rights alone agrees with the whole translation: on live tables, where it reads the arena itself, and on any other memory.

function value<T>(outcome: Result<T> | { readonly kind: string; readonly value?: T }): T {
  expect(outcome).toMatchObject({ kind: 'done' });
  return (outcome as { readonly value: T }).value;
}

const MAIR = 0x0c_08_04_00_bb_44_ffn;
const FEATURES = { paBits: 48, xnx: true, pan: true, haf: true, hdbs: true } as const;
const TG0: Readonly<Record<Granule, bigint>> = { '4K': 0n, '64K': 1n, '16K': 2n };

interface Setup {
  readonly stage1: GranulePageTable;
  readonly stage2: GranulePageTable;
  readonly context: Context;
  /** The arena, and the same words behind a function. */
  readonly memories: readonly DescriptorMemory[];
}

function tableOf(backend: Backend, regime: string, format: Result<Format['geometry']>, arena: ReturnType<typeof createTableArena>): GranulePageTable {
  const made = value(backend.format(regime, { geometry: value(format), features: FEATURES, ...(regime === 's2' ? {} : { mair: MAIR }) }));
  return value(createPageTable({ format: made, memory: arena }));
}

function setup(granule: Granule, extra: Registers = {}): Setup {
  const pageShift = { '4K': 12, '16K': 14, '64K': 16 }[granule];
  const arena = createTableArena({ pageShift, base: 0x1_0000_0000, maxPages: 200, initialPages: 200 });
  const stage1 = tableOf(armv8, 'el10', stage1Geometry({ granule, vaBits: 39 }), arena);
  const stage2 = tableOf(armv8, 's2', stage2Geometry({ granule, ipaBits: 40 }), arena);
  value(stage2.map(0x1_0000_0000, 200 * 2 ** pageShift, 0x1_0000_0000, { read: true, write: true, memory: 'normal' }));
  const { vtcr, vttbr } = value(armv8.registers.encodeStage2({ geometry: stage2.format.geometry, features: FEATURES, root: stage2.root }));
  const registers = { SCTLR_EL1: 0x1005n, TCR_EL1: (5n << 32n) | (TG0[granule] << 14n) | (1n << 23n) | 25n, TTBR0_EL1: BigInt(stage1.root), MAIR_EL1: MAIR };
  const decoded = value(context(armv8, FEATURES, { ...registers, HCR_EL2: (1n << 31n) | 1n, VTCR_EL2: vtcr, VTTBR_EL2: vttbr, ...extra }));
  const live = tableMemory(arena);
  return { stage1, stage2, context: decoded, memories: [live, { load: (pa, into, stage, level) => live.load(pa, into, stage, level) }] };
}

const ACCESSES: readonly Access[] = (['read', 'write', 'fetch', 'at-read'] as const).flatMap((type) =>
  [true, false].flatMap((privileged) => (['one', 'both'] as const).map((stages): Access => ({ regime: 'el10', type, privileged, stages, pan: stages === 'one' }))),
);

/** Both entry points say the same of an address, whatever the memory. */
function agree({ context: decoded, memories }: Setup, va: bigint): void {
  const out = createTranslation();
  for (const access of ACCESSES) {
    for (const memory of memories) {
      const mapped: Mapped = { output: -1, permissions: -1, shift: -1 };
      const whole = translateWords(decoded, memory, bigintLow(va), bigintHigh(va), access, out);
      const quick = mapWords(decoded, memory, bigintLow(va), bigintHigh(va), access, mapped);
      expect(quick).toBe(whole && out.updates.count === 0);
      if (quick) expect(mapped).toEqual({ output: out.output, permissions: out.permissions, shift: out.shift });
    }
  }
}

const LEVELS: readonly (1 | 2 | 3)[] = [1, 2, 3];

function random(granule: Granule, extra?: Registers): void {
  const made = setup(granule, extra);
  const { pageShift, stride } = made.stage1.format.geometry;
  const spans = LEVELS.filter((level) => made.stage1.format.numbers.leafType[level + 1] >= 0).map((level) => 2 ** (pageShift + stride * (3 - level)));
  const leaf = fc.record({
    span1: fc.constantFrom(...spans.filter((span) => span < 2 ** 36)),
    span2: fc.constantFrom(...spans.filter((span) => span < 2 ** 36)),
    request1: legalAttributes(made.stage1.format),
    request2: legalAttributes(made.stage2.format),
    offset: fc.integer({ min: 0, max: 2 ** 30 }),
    va: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  });
  fc.assert(
    fc.property(leaf, ({ span1, span2, request1, request2, offset, va }) => {
      const ia = 2 ** 37;
      const ipa = 2 ** 38;
      const once = { contiguous: false };
      value(made.stage1.map(ia, span1, ipa, { ...request1, ...once }));
      value(made.stage2.map(ipa, span2, 2 ** 40, { ...request2, ...once }));
      for (const at of [0, offset % Math.min(span1, span2), span1 - 1, span2 - 1, span1]) agree(made, BigInt(ia + at));
      agree(made, va);
      value(made.stage1.unmap(ia, span1));
      value(made.stage2.unmap(ipa, span2));
    }),
    { numRuns: 60 },
  );
}

describe('address and rights alone', () => {
  it.each(['4K', '16K', '64K'] as const)('agree with the whole translation, %s', (granule) => random(granule));

  it('agree where hardware keeps access flag and dirty state', () => {
    random('4K', { TCR_EL1: (3n << 39n) | (5n << 32n) | (1n << 23n) | 25n, VTCR_EL2: 0x8065_3558n });
  });

  it('agree where stage 1 is big-endian, and where stage-1 tables may not lie in Device memory', () => {
    random('4K', { SCTLR_EL1: 0x1005n | (1n << 25n) });
    random('4K', { HCR_EL2: (1n << 31n) | 5n });
  });

  it('agree for ARMv7', () => {
    const arena = createTableArena({ pageShift: 12, base: 0x8000_0000, maxPages: 64, initialPages: 64 });
    const format = value(armv7Lpae.format('pl2', { geometry: value(armv7Stage1Geometry({ vaBits: 32 })), mair: MAIR }));
    const table = value(createPageTable({ format, memory: arena }));
    const decoded = value(context(armv7Lpae, {}, { HSCTLR: 0x1005n, HTCR: 1n << 31n, HTTBR: BigInt(table.root), HMAIR0: MAIR & 0xffff_ffffn, HMAIR1: MAIR >> 32n }));
    value(table.map(0x4000_0000, 2 ** 21, 0x12_4000_0000, { write: false }));
    const out = createTranslation();
    const mapped: Mapped = { output: -1, permissions: -1, shift: -1 };
    const access: Access = { regime: 'pl2', type: 'read', privileged: true };
    const memory = tableMemory(arena);
    expect(translateWords(decoded, memory, 0x4012_3456, 0, access, out)).toBe(true);
    expect(mapWords(decoded, memory, 0x4012_3456, 0, access, mapped)).toBe(true);
    expect(mapped).toEqual({ output: 0x12_4012_3456, permissions: out.permissions, shift: 21 });
    expect(mapWords(decoded, memory, 0x4012_3456, 0, { ...access, type: 'write' }, mapped)).toBe(false);
    expect(mapWords(decoded, memory, 0x4020_0000, 0, access, mapped)).toBe(false);
  });
});
