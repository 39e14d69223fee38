import { describe, expect, it } from 'vitest';
import { dump, parseFilter, parseRange } from '../src/index.js';
import { block, dumped, HandmadeMemory, openBytes, page, ROOT, STAGE2, table, valueOf } from './support.js';

const XN = 0x40_0000_0000_0000n;
const L2 = ROOT + 0x1000;
const L3 = ROOT + 0x2000;

/** Two adjoining blocks, four pages of which two adjoin with equal attributes, and a device page. */
const memory = new HandmadeMemory()
  .set(ROOT, 0, table(L2))
  .set(L2, 0, block(0x8000_0000))
  .set(L2, 1, block(0x8020_0000))
  .set(L2, 2, table(L3))
  .set(L3, 0, page(0x8040_0000))
  .set(L3, 1, page(0x8040_1000))
  .set(L3, 2, page(0x8040_2000) + XN)
  .set(L3, 3, page(0x9000_0000) + XN)
  // MemAttr 0b0001 (Device-nGnRE), read-only, AF clear: DDI 0487 D8.6.5, D8.4.2.
  .set(L3, 511, 0x0900_0000n + 0x347n + XN);
const tables = valueOf(openBytes(memory, { registers: STAGE2 }).tables('s2'));
const rows = (text: string): readonly string[] => text.trim().split('\n').slice(1);
const csv = (options: object = {}): readonly string[] => rows(dumped(tables, { format: 'csv', ...options }).text);

describe('a dump', () => {
  it('joins neighbours of one level with equal attributes whose outputs adjoin', () => {
    expect(csv()).toEqual([
      '0x0000000000000000,0x0000000000400000,2,0x0000000080000000,RWX,normal,AF SH-inner BLK,0x00000000800007fd',
      '0x0000000000400000,0x0000000000402000,3,0x0000000080400000,RWX,normal,AF SH-inner,0x00000000804007ff',
      '0x0000000000402000,0x0000000000403000,3,0x0000000080402000,RW-,normal,AF SH-inner,0x00400000804027ff',
      '0x0000000000403000,0x0000000000404000,3,0x0000000090000000,RW-,normal,AF SH-inner,0x00400000900007ff',
      '0x00000000005ff000,0x0000000000600000,3,0x0000000009000000,R--,device-nGnRE,SH-inner,0x0040000009000347',
    ]);
  });

  it('has one row a leaf without merging', () => {
    expect(csv({ merge: false })).toHaveLength(7);
    expect(csv({ merge: false })[1]).toBe(
      '0x0000000000200000,0x0000000000400000,2,0x0000000080200000,RWX,normal,AF SH-inner BLK,0x00000000802007fd',
    );
  });

  it('joins across tables', () => {
    const wide = new HandmadeMemory()
      .set(ROOT, 0, table(L2))
      .set(ROOT, 1, table(L3))
      .set(L2, 511, block(0xbfe0_0000))
      .set(L3, 0, block(0xc000_0000));
    const { text } = dumped(valueOf(openBytes(wide, { registers: STAGE2 }).tables('s2')), { format: 'csv' });
    expect(rows(text)).toEqual([
      '0x000000003fe00000,0x0000000040200000,2,0x00000000bfe00000,RWX,normal,AF SH-inner BLK,0x00000000bfe007fd',
    ]);
  });

  it.each([
    ['wx', 2],
    ['x', 2],
    ['ro', 1],
    ['dev', 1],
    ['old', 1],
    ['mem,w', 4],
    ['dev,w', 0],
  ])('with filter %s has %i rows, and counts all of them', (name, count) => {
    const { text, scans } = dumped(tables, { format: 'csv', filter: valueOf(parseFilter(name)) });
    expect(rows(text).filter((row) => row !== '')).toHaveLength(count);
    expect(scans[0].leaves).toEqual([0, 0, 0, 2, 5]);
  });

  it('of a range has the leaves that meet it, whole', () => {
    expect(csv({ range: valueOf(parseRange('0x3ff000-0x401000')), merge: false }).map((row) => row.slice(0, 18))).toEqual([
      '0x0000000000200000',
      '0x0000000000400000',
    ]);
  });

  it('of a range that the tables do not reach has no row and no scan', () => {
    const { text, scans } = dumped(tables, { format: 'csv', range: valueOf(parseRange('0x80_0000_0000+4K')) });
    expect(rows(text)).toEqual([]);
    expect(scans).toEqual([]);
  });
});

describe('formats', () => {
  it('text has a title, a heading, rows and a summary', () => {
    expect(dumped(tables, { format: 'text' }).text.split('\n').slice(0, 3)).toEqual([
      's2 (VTTBR_EL2/VTCR_EL2): 4K granule, 39-bit IPA, start level 1',
      'IPA                                      SIZE  L  LEAVES      PA                  PERM TYPE          ATTRIBUTES',
      '0x0000000000000000-0x0000000000400000      4M  2  2 blocks    0x0000000080000000  RWX  normal        AF SH-inner',
    ]);
    expect(dumped(tables, { format: 'text' }).text.trimEnd().split('\n').slice(-2)).toEqual([
      '7 leaves in 5 mappings, 4116K mapped; level 2: 2 blocks, level 3: 5 pages',
      '3 tables, 12K; level 1: 1, level 2: 1, level 3: 1',
    ]);
  });

  it('json is one object with the rows, the summary and the findings', () => {
    const {
      tables: [first],
      schema,
    } = JSON.parse(dumped(tables, { format: 'json' }).text) as {
      schema: string;
      tables: [{ mappings: Record<string, unknown>[]; summary: Record<string, unknown>; findings: unknown[] }];
    };
    expect(schema).toBe('granule-dump/1');
    expect(first.mappings[0]).toEqual({
      start: '0x0000000000000000',
      end: '0x0000000000400000',
      level: 2,
      output: '0x0000000080000000',
      permissions: 'RWX',
      type: 'normal',
      attributes: ['AF', 'SH-inner', 'BLK'],
      descriptor: '0x00000000800007fd',
      leaves: 2,
    });
    expect(first.summary).toEqual({
      mappings: 5,
      leavesByLevel: { 2: 2, 3: 5 },
      bytesMapped: 0x40_5000,
      tablesByLevel: { 1: 1, 2: 1, 3: 1 },
      bytesOfTables: 3 * 4096,
      invalidNotZero: 0,
      complete: true,
    });
    expect(first.findings).toEqual([]);
  });

  it('dot has one node a table and one edge an entry', () => {
    const { text } = dumped(tables, { format: 'dot' });
    expect(text).toContain('"t0_1_40000000" -> "t0_2_40001000" [label="0"];');
    expect(text).toContain('"t0_2_40001000" -> "t0_3_40002000" [label="2"];');
    expect(text.match(/\[label="level/g)).toHaveLength(3);
    expect(text.split('{')).toHaveLength(text.split('}').length);
  });

  it('html needs nothing from outside, and nothing from the image becomes markup', () => {
    const regimes = [
      {
        name: '</h2><script>alert(1)</script>',
        stage: 2,
        root: ROOT,
        granuleShift: 12,
        iaBits: 39,
        descriptorFormat: 'd64',
        upperRange: false,
        tableAddresses: 'physical',
        note: '"><img src=x>',
      },
    ] as const;
    const { text } = dumped(valueOf(openBytes(memory, { registers: STAGE2, regimes }).tables(regimes[0].name)), { format: 'html' });
    expect(text).not.toMatch(/<script>alert|<img|<[^>]*src=|https?:|@import/);
    expect(text).toContain('0x0000000080000000');
    const data = /<script type="application\/json" id="d0">([^]*?)<\/script>/.exec(text)!;
    expect(JSON.parse(data[1])).toHaveLength(5);
  });

  it('comes in pieces, so that a large dump is never one string', () => {
    const many = new HandmadeMemory().set(ROOT, 0, table(L2));
    for (let i = 0; i < 8; i++) {
      many.set(L2, i, table(L3 + 0x1000 * i)).fill(L3 + 0x1000 * i, (index) => page(0x8000_0000 + (511 - index) * 4096));
    }
    const pieces: string[] = [];
    dump({ tables: valueOf(openBytes(many, { registers: STAGE2 }).tables('s2')), format: 'csv' }, (piece) => pieces.push(piece));
    expect(pieces.length).toBeGreaterThan(5);
    expect(pieces.every((piece) => piece.length < 2 ** 17)).toBe(true);
    expect(pieces.join('').split('\n')).toHaveLength(8 * 512 + 2);
  });
});

describe('stage 1', () => {
  // TCR_EL1: T0SZ = T1SZ = 25, TG0 4K (0), TG1 4K (2), IPS 5 (DDI 0487 TCR_EL1); MAIR Attr0 0xff.
  const TCR = (5n << 32n) + (2n << 30n) + (25n << 16n) + 25n;
  const registers = { TCR_EL1: TCR, TTBR0_EL1: BigInt(ROOT), TTBR1_EL1: BigInt(L2), SCTLR_EL1: 1n, MAIR_EL1: 0xffn, ID_AA64MMFR0_EL1: 5n };
  /** AF, inner shareable; AP[2:1] in bits 7:6, PXN 53, UXN 54, nG 11 (DDI 0487 D8.3.1). */
  const leaf = (pa: number, ap: bigint, xn = 0n): bigint => BigInt(pa) + 0x701n + (ap << 6n) + (xn << 53n);

  it('lists the lower range, then the upper one at its addresses', () => {
    const both = new HandmadeMemory().set(ROOT, 0, leaf(0x4000_0000, 0n)).set(L2, 511, leaf(0x8000_0000, 0n));
    const { text } = dumped(valueOf(openBytes(both, { registers }).tables('el10')), { format: 'csv' });
    expect(rows(text).map((row) => row.slice(0, 38))).toEqual([
      '0x0000000000000000,0x0000000040000000,',
      '0xffffffffc0000000,0x10000000000000000',
    ]);
  });

  it.each<[string, bigint, bigint, string]>([
    ['AP 00: EL1 only; EL0 may still execute', 0n, 0n, 'EL0/--X EL1/RWX'],
    ['AP 01: writable at EL0 is not executable at EL1', 1n, 0n, 'EL0/RWX EL1/RW-'],
    ['AP 11, UXN: read-only at both', 3n, 2n, 'EL0/R-- EL1/R-X'],
    ['AP 10, PXN and UXN', 2n, 3n, 'EL0/--- EL1/R--'],
    ['AP 11, PXN and UXN: alike at both levels', 3n, 3n, 'R--'],
  ])('%s', (_, ap, xn, permissions) => {
    const both = new HandmadeMemory().set(ROOT, 0, leaf(0x4000_0000, ap, xn)).set(L2, 0, 0n);
    const { text } = dumped(valueOf(openBytes(both, { registers }).tables('el10')), { format: 'csv' });
    expect(rows(text)[0].split(',')[4]).toBe(permissions);
  });

  it('counts in what the tables above take away (APTable, UXNTable, PXNTable: DDI 0487 D8.4.1.2), and SCTLR.WXN', () => {
    const limits = (0b11n << 61n) + (1n << 60n) + (1n << 59n);
    const both = new HandmadeMemory()
      .set(ROOT, 0, table(L3) + limits)
      .set(L3, 0, leaf(0x4000_0000, 1n))
      .set(L2, 0, leaf(0x8000_0000, 0n));
    const permissions = (sctlr: bigint): readonly string[] =>
      rows(dumped(valueOf(openBytes(both, { registers: { ...registers, SCTLR_EL1: sctlr } }).tables('el10')), { format: 'csv' }).text).map(
        (row) => row.split(',')[4],
      );
    expect(permissions(1n)).toEqual(['EL0/--- EL1/R--', 'EL0/--X EL1/RWX']);
    expect(permissions(1n + (1n << 19n))).toEqual(['EL0/--- EL1/R--', 'EL0/--X EL1/RW-']);
  });
});
