import type { ByteSource, Registers } from '@granule/contract';
import { sparseMemory } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { walkAddress } from '../src/index.js';
import { block, dumped, HandmadeMemory, openBytes, page, ROOT, STAGE2, table, valueOf, VTCR_39 } from './support.js';

const ids = (text: readonly { readonly findings: readonly { readonly id: string }[] }[]): readonly string[] => [
  ...new Set(text.flatMap(({ findings }) => findings.map(({ id }) => id))),
];

describe('tables that refer to each other', () => {
  it('a table that every entry of its own names ends in findings, within a bounded number of tables', () => {
    const memory = new HandmadeMemory().fill(ROOT, () => table(ROOT));
    const {
      scans: [scan],
    } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'text' });
    expect(scan.complete).toBe(false);
    expect(ids([scan])).toEqual(['table.loop']);
    expect(scan.moreFindings).toBeGreaterThan(0);
    // 0b11 is a page at level 3, so the loop is also full of leaves: one table of 512 for each of 1,024 revisits at most.
    expect(scan.leaves[4]).toBeLessThanOrEqual(512 * 1024);
  });

  it('a limit of one revisit stops at the second', () => {
    const memory = new HandmadeMemory().fill(ROOT, () => table(ROOT));
    const {
      scans: [scan],
    } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'text', revisits: 1 });
    expect(scan.findings.map(({ id }) => id)).toEqual(['table.loop', 'table.loop', 'table.too-many-revisits']);
  });

  it('a table that two entries name is a finding, and its leaves count at both places', () => {
    const memory = new HandmadeMemory()
      .set(ROOT, 0, table(ROOT + 0x1000))
      .set(ROOT, 1, table(ROOT + 0x1000))
      .set(ROOT + 0x1000, 3, block(0x8000_0000));
    const {
      scans: [scan],
    } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'text' });
    expect(ids([scan])).toEqual(['table.shared']);
    expect(scan.leaves).toEqual([0, 0, 0, 2, 0]);
    expect(scan.tables).toEqual([0, 0, 1, 1, 0]);
    expect(scan.complete).toBe(true);
  });

  it('two tables that name each other at every entry end in findings too', () => {
    const memory = new HandmadeMemory().fill(ROOT, () => table(ROOT + 0x1000)).fill(ROOT + 0x1000, () => table(ROOT));
    const {
      scans: [scan],
    } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'ptdump' });
    expect(scan.findings.at(-1)?.id).toMatch(/^table\./);
    expect(scan.complete).toBe(false);
  });
});

describe('tables that are not there', () => {
  const memory = new HandmadeMemory().set(ROOT, 0, table(0x7_0000_0000)).set(ROOT, 1, block(0x8000_0000));

  it('a table outside the image is a finding, and the rest is read', () => {
    const {
      text,
      scans: [scan],
    } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'text' });
    expect(scan.findings).toEqual([
      {
        id: 'table.outside-memory',
        sentence: 'The table at 0x0000000700000000, which the entry for 0x0000000000000000 (level 1) names, is not in the image.',
      },
    ]);
    expect(scan.leaves).toEqual([0, 0, 1, 0, 0]);
    expect(text).toContain('! The table at 0x0000000700000000');
  });

  it('a walk into it says so', () => {
    const { end } = valueOf(walkAddress(openBytes(memory, { registers: STAGE2 }), 's2', 0x1234n));
    expect(end).toEqual({
      kind: 'lost',
      sentence: 'The table at 0x0000000700000000, which the entry of level 1 names, is not in the image.',
    });
  });

  it('an entry table outside the image is a finding', () => {
    const registers = { ...STAGE2, VTTBR_EL2: 0x9_0000_0000n };
    const { scans } = dumped(valueOf(openBytes(memory, { registers }).tables('s2')), { format: 'csv' });
    expect(ids(scans)).toEqual(['walk.table-outside-memory']);
    expect(scans[0].complete).toBe(false);
  });

  it('the limit of loaded pages stops a scan that would load more', () => {
    const wide = new HandmadeMemory();
    for (let i = 0; i < 16; i++) {
      wide.set(ROOT, i, table(ROOT + 0x1000 * (i + 1))).set(ROOT + 0x1000 * (i + 1), 0, block(0x8000_0000));
    }
    const { scans } = dumped(valueOf(openBytes(wide, { registers: STAGE2 }, 8 * 4096).tables('s2')), { format: 'csv' });
    expect(ids(scans)).toEqual(['table.page-limit']);
    expect(scans[0].complete).toBe(false);
    expect(scans[0].leaves[3]).toBe(7);
  });
});

describe('descriptors that cannot be', () => {
  it('a valid entry of a level without such a descriptor is reserved: a finding and a row with !', () => {
    const memory = new HandmadeMemory()
      .set(ROOT, 0, table(ROOT + 0x1000))
      .set(ROOT + 0x1000, 0, table(ROOT + 0x2000))
      .set(ROOT + 0x2000, 5, 0x8000_0001n);
    const { text, scans } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'csv' });
    expect(ids(scans)).toEqual(['entry.reserved']);
    expect(text.split('\n')[1]).toBe('0x0000000000005000,0x0000000000006000,3,,!,reserved,,0x0000000080000001');
  });

  it('an invalid entry that is not zero is a row, not a finding', () => {
    const memory = new HandmadeMemory().set(ROOT, 7, 0x1000_0000_0000_0000n);
    const {
      text,
      scans: [scan],
    } = dumped(valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2')), { format: 'csv' });
    expect(scan.findings).toEqual([]);
    expect(scan.annotated).toBe(1);
    expect(text.split('\n')[1]).toBe('0x00000001c0000000,0x0000000200000000,1,,!,invalid,,0x1000000000000000');
  });

  it('a leaf beyond the output size is a finding, and a walk through it an address size fault', () => {
    // VTCR_EL2.PS = 0: 32-bit output (DDI 0487 VTCR_EL2.PS).
    const registers: Registers = { ...STAGE2, VTCR_EL2: VTCR_39 - (5n << 16n) };
    const memory = new HandmadeMemory().set(ROOT, 0, block(0x1_4000_0000));
    const image = openBytes(memory, { registers });
    expect(ids(dumped(valueOf(image.tables('s2')), { format: 'csv' }).scans)).toEqual(['leaf.beyond-output-size']);
    const { end } = valueOf(walkAddress(image, 's2', 0n));
    expect(end.kind === 'fault' && [end.fault.type, end.fault.level]).toEqual(['address-size', 1]);
  });
});

describe('registers that contradict themselves', () => {
  const open = (registers: Registers) => openBytes(new HandmadeMemory(), { registers }).tables('s2');

  it.each<[string, bigint, string]>([
    ['a start level that the IPA size does not fit (SL0 = 2, level 0)', VTCR_39 + (1n << 6n), 'registers.illegal'],
    ['a reserved granule (TG0 = 3)', VTCR_39 + (3n << 14n), 'registers.tg-reserved'],
    ['a reserved output size (PS = 7)', VTCR_39 + (2n << 16n), 'registers.ps-reserved'],
  ])('%s is refused', (_, vtcr, id) => {
    const answer = open({ ...STAGE2, VTCR_EL2: vtcr });
    expect(answer.kind === 'refused' && answer.id).toBe(id);
  });
});

describe('a sparse file of 100 GB', () => {
  /** Zeros but for one table far out; counts what is read of it. */
  class Sparse implements ByteSource {
    readonly size = 100 * 2 ** 30;
    bytesRead = 0;
    read(offset: number, into: Uint8Array): number {
      into.fill(0);
      this.bytesRead += into.length;
      const view = new DataView(into.buffer, into.byteOffset);
      const at = FAR - offset;
      if (at >= 0 && at + 8 <= into.length) {
        view.setBigUint64(at, block(0x8000_0000), true);
      }
      return into.length;
    }
  }
  const FAR = 99 * 2 ** 30;

  it('costs what its tables cost', () => {
    const source = new Sparse();
    const memory = valueOf(sparseMemory([{ pa: 0, bytes: source.size, fileBytes: source.size, source, offset: 0 }]));
    const image = openBytes(memory, { registers: { ...STAGE2, VTTBR_EL2: BigInt(FAR) } });
    const {
      scans: [scan],
    } = dumped(valueOf(image.tables('s2')), { format: 'csv' });
    expect(scan.leaves).toEqual([0, 0, 1, 0, 0]);
    expect(source.bytesRead).toBeLessThanOrEqual(3 * 4096);
  });
});

describe('stage-1 tables at IPAs', () => {
  it('a stage-1 table that stage 2 does not map ends a walk in a stage-2 fault on a table walk', () => {
    // TCR_EL1: T0SZ 25, TG0 4K, EPD1; stage 1 on (DDI 0487 TCR_EL1).
    const registers = { ...STAGE2, TCR_EL1: 0x5_0080_3519n, TTBR0_EL1: 0x10_0000n, SCTLR_EL1: 1n };
    const memory = new HandmadeMemory().set(ROOT, 1, block(0x8000_0000));
    const { end } = valueOf(walkAddress(openBytes(memory, { registers }), 'el10', 0n));
    expect(end.kind === 'fault' && [end.fault.stage, end.fault.s1ptw, end.fault.level, end.fault.ipa]).toEqual([2, true, 1, 0x10_0000]);
  });

  it('regimes whose tables are at addresses of each other are refused', () => {
    const regime = {
      stage: 2,
      root: ROOT,
      granuleShift: 12,
      iaBits: 39,
      startLevel: 1,
      descriptorFormat: 'd64',
      upperRange: false,
    } as const;
    const regimes = [
      { ...regime, name: 'a', tableAddresses: { ipaOf: 'b' } },
      { ...regime, name: 'b', tableAddresses: { ipaOf: 'a' } },
    ];
    const answer = openBytes(new HandmadeMemory().set(ROOT, 0, page(0)), { registers: STAGE2, regimes }).tables('a');
    expect(answer.kind === 'refused' && answer.id).toBe('image.regime-cycle');
  });
});
