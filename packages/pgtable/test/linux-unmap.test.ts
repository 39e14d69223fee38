import { stage2Geometry } from '@granule/geometry';
import { describe, expect, it } from 'vitest';
import type { Bench } from './support.js';
import { G, M, PAGE, RW, answer, at, bench, effects, kinds, shown, stage2, value } from './support.js';

const LINUX = { mode: 'linux' } as const;
const QUIET = { fwb: true, dic: true };
const RANGES = { ttl: true, tlbirange: true };

/** Count of the table page that holds the entry for `ia`. */
const countAt = (b: Bench, ia: number): number => b.memory.counts[Math.floor(at(b.table, ia).word / 2 ** (b.memory.pageShift - 2))];

describe('unmap', () => {
  it('of part of a block removes all of it; the rest faults again', () => {
    const b = bench();
    value(b.table.map(2 * M, 4 * M, 2 * M, RW, LINUX));
    value(b.table.unmap(4 * M - PAGE, PAGE, LINUX));
    expect([shown(b.table, 2 * M), shown(b.table, 4 * M)]).toEqual(['level 2 zero', 'level 2 leaf 0x400000 RW-']);
    value(b.table.unmap(4 * M, PAGE, LINUX));
    expect(shown(b.table, 4 * M)).toBe('level 1 zero');
  });

  it('needs no page for that', () => {
    const b = bench({ pages: 3 });
    value(b.table.map(2 * M, 2 * M, 2 * M, RW, LINUX));
    expect(answer(b.table.unmap(2 * M, PAGE))).toBe('refused pool.exhausted');
    expect(answer(b.table.unmap(2 * M, PAGE, LINUX))).toBe('done');
  });

  it('stage 2 by IPA, DSB, then all stage 1 of the VMID; then the cache maintenance of the whole leaf', () => {
    const b = bench({ features: RANGES });
    value(b.table.map(2 * M, 4 * M, 6 * M, RW, LINUX));
    b.log.drain();
    value(b.table.unmap(2 * M + PAGE, PAGE, LINUX));
    expect(effects(b).slice(1)).toEqual([
      'dsb ishst',
      'tlbi IPAS2E1IS 0x200000 level 2',
      'dsb ish',
      'tlbi VMALLE1IS',
      'dsb ish',
      'isb',
      'cmo dc-civac 0x600000 bytes 2097152 to poc',
    ]);
  });

  it('an emptied table is invalidated without level hint and freed at once', () => {
    const b = bench({ features: RANGES, coherence: QUIET });
    value(b.table.map(0, PAGE, 0, RW, LINUX));
    b.log.drain();
    value(b.table.unmap(0, PAGE, LINUX));
    const lines = effects(b).filter((line) => !line.startsWith('write') && !line.startsWith('dsb') && line !== 'isb');
    expect(lines).toEqual([
      'tlbi IPAS2E1IS 0x0 level 3',
      'tlbi VMALLE1IS',
      'tlbi IPAS2E1IS 0x0',
      'tlbi VMALLE1IS',
      'free 0x40003000 pages 1',
      'tlbi IPAS2E1IS 0x0',
      'tlbi VMALLE1IS',
      'free 0x40002000 pages 1',
    ]);
  });

  it('deferral never covers freed tables: the leaves are one range at the end, each table its own invalidation', () => {
    const b = bench({ features: RANGES, coherence: QUIET });
    value(b.table.map(0, 3 * PAGE, 0, RW, LINUX));
    b.log.drain();
    value(b.table.unmap(0, 3 * PAGE, { ...LINUX, tlbi: 'deferred' }));
    const lines = effects(b).filter((line) => line.startsWith('tlbi'));
    expect(lines).toEqual([
      'tlbi IPAS2E1IS 0x0',
      'tlbi VMALLE1IS',
      'tlbi IPAS2E1IS 0x0',
      'tlbi VMALLE1IS',
      'tlbi RIPAS2E1IS 0x0 bytes 12288',
      'tlbi VMALLE1IS',
    ]);
  });

  it.each([
    ['without S2FWB', { features: RANGES }],
    ['without FEAT_TLBIRANGE', { features: { ttl: true }, coherence: QUIET }],
  ])('deferral needs S2FWB and FEAT_TLBIRANGE: %s every leaf is invalidated', (_, options) => {
    const b = bench(options);
    value(b.table.map(0, 4 * PAGE, 0, RW, LINUX));
    value(b.table.map(8 * PAGE, PAGE, 0, RW, LINUX));
    b.log.drain();
    value(b.table.unmap(0, 4 * PAGE, { ...LINUX, tlbi: 'deferred' }));
    expect(effects(b).filter((line) => line.startsWith('tlbi IPA') && line.endsWith('level 3'))).toHaveLength(4);
    expect(b.log.effects).toEqual([]);
  });

  it("tlbi 'none' skips the leaves' invalidations, never those of freed tables", () => {
    const b = bench({ coherence: QUIET });
    value(b.table.map(0, PAGE, 0, RW, LINUX));
    b.log.drain();
    value(b.table.unmap(0, PAGE, { ...LINUX, tlbi: 'none' }));
    expect(kinds(b).filter((each) => each === 'tlbi IPAS2E1IS')).toHaveLength(2);
  });

  it('skip.cmo skips the cache maintenance and nothing else', () => {
    const lines = (skip: { readonly cmo?: boolean }): readonly string[] => {
      const b = bench();
      value(b.table.map(0, PAGE, 0, RW, LINUX));
      b.log.drain();
      value(b.table.unmap(0, PAGE, { ...LINUX, skip }));
      return kinds(b);
    };
    expect(lines({}).filter((line) => line.startsWith('cmo'))).toEqual(['cmo dc-civac']);
    expect(lines({ cmo: true })).toEqual(lines({}).filter((line) => !line.startsWith('cmo')));
  });

  it('cleans exactly Normal Write-Back memory (stage2_pte_cacheable is an exact MemAttr match)', () => {
    const cleaned = [0b1111, 0b1110, 0b0101, 0b0001].map((attrIndex) => {
      const b = bench();
      value(b.table.map(0, PAGE, 0, { ...RW, attrIndex }, LINUX));
      b.log.drain();
      value(b.table.flush(0, PAGE));
      return kinds(b).length;
    });
    expect(cleaned).toEqual([1, 0, 0, 0]);
  });
});

describe('flush', () => {
  it('acts on whole leaves, outside the range if the block sticks out', () => {
    const b = bench();
    value(b.table.map(2 * M, 2 * M, 6 * M, RW, LINUX));
    b.log.drain();
    value(b.table.flush(3 * M, PAGE));
    expect(effects(b)).toEqual(['cmo dc-civac 0x600000 bytes 2097152 to poc']);
  });

  it('does nothing with S2FWB', () => {
    const b = bench({ coherence: { fwb: true } });
    value(b.table.map(0, PAGE, 0, RW, LINUX));
    b.log.drain();
    value(b.table.flush(0, 1 * G));
    expect(effects(b)).toEqual([]);
  });
});

describe('reference counts', () => {
  it('count non-zero entries, not valid ones: annotations keep a table alive', () => {
    const b = bench();
    value(b.table.map(0, 2 * PAGE, 0, RW, LINUX));
    value(b.table.annotate(5 * PAGE, PAGE, 2, 42n));
    expect(countAt(b, 0)).toBe(3);
    expect(b.memory.taken).toBe(4);
    value(b.table.unmap(0, 2 * PAGE, LINUX));
    expect([countAt(b, 0), b.memory.taken, shown(b.table, 5 * PAGE)]).toEqual([1, 4, 'level 3 annotated']);
    value(b.table.unmap(5 * PAGE, PAGE, LINUX));
    expect([b.memory.taken, shown(b.table, 0)]).toEqual([2, 'level 1 zero']);
  });

  it('an annotation is cleared without an invalidation of its own', () => {
    const b = bench();
    value(b.table.map(0, PAGE, 0, RW, LINUX));
    value(b.table.annotate(5 * PAGE, PAGE, 2, 42n));
    b.log.drain();
    value(b.table.unmap(5 * PAGE, PAGE, LINUX));
    expect(kinds(b)).toEqual(['write']);
  });

  it('annotating unmaps what was there', () => {
    const b = bench();
    value(b.table.map(0, PAGE, 0, RW, LINUX));
    b.log.drain();
    value(b.table.annotate(0, PAGE, 2, 42n));
    expect(shown(b.table, 0)).toBe('level 3 annotated');
    expect(kinds(b).slice(0, 3)).toEqual(['write', 'dsb ishst', 'tlbi IPAS2E1IS']);
  });

  it.each([
    ['type 0', 0, 0n],
    ['a value beyond bit 59', 2, 1n << 59n],
  ])('an annotation with %s is refused', (_, type, note) => {
    expect(bench().table.annotate(0, PAGE, type, note).kind).toBe('refused');
  });

  it('sit on the page that contains the entry: each page of concatenated entry tables has its own, and unmap never frees one', () => {
    const b = bench({ geometry: stage2('4K', 41, 1) });
    expect(b.format.geometry.entryTables).toBe(4);
    value(b.table.map(0, 2 * G, 0, RW, LINUX));
    value(b.table.map(1536 * G, 1 * G, 0, RW, LINUX));
    expect([0, 512 * G, 1024 * G, 1536 * G].map((ia) => countAt(b, ia))).toEqual([2, 0, 0, 1]);
    value(b.table.unmap(0, 2 ** 41, LINUX));
    expect([0, 512 * G, 1024 * G, 1536 * G].map((ia) => countAt(b, ia))).toEqual([0, 0, 0, 0]);
    expect(b.memory.taken).toBe(4);
  });

  it('a range over the boundary of concatenated tables is walked through', () => {
    const b = bench({ geometry: stage2('4K', 41, 1) });
    value(b.table.map(512 * G - PAGE, 2 * PAGE, 0, RW, LINUX));
    expect([shown(b.table, 512 * G - PAGE), shown(b.table, 512 * G)]).toEqual(['level 3 leaf 0x0 RW-', 'level 3 leaf 0x1000 RW-']);
    value(b.table.unmap(512 * G - PAGE, 2 * PAGE, LINUX));
    expect(b.memory.taken).toBe(4);
  });
});

describe('destroy', () => {
  it('frees everything, annotations included, without TLB or cache maintenance', () => {
    const b = bench();
    value(b.table.map(0, 1 * G + 2 * M + PAGE, 0, RW, LINUX));
    value(b.table.annotate(8 * G, PAGE, 2, 1n));
    b.log.drain();
    b.table.destroy();
    expect(b.memory.taken).toBe(0);
    expect(b.memory.words.every((word) => word === 0)).toBe(true);
    expect(kinds(b).filter((each) => each !== 'free')).toEqual([]);
  });
});

describe('concatenation is maximal and not monotone, and the core takes what the geometry says', () => {
  it.each([
    ['4K', 34, 2, 16, 65536],
    ['4K', 35, 1, 1, 256],
    ['16K', 52, 0, 1, 256],
    ['64K', 52, 1, 1, 8192],
  ] as const)('%s, IPA %i: level %i, %i tables, %i bytes', (granule, ipaBits, startLevel, entryTables, entryBytes) => {
    const geometry = value(stage2Geometry({ granule, ipaBits, features: { lpa: true, lpa2: true } }));
    expect({ startLevel: geometry.startLevel, entryTables: geometry.entryTables, bytes: geometry.rootEntries * 8 }).toEqual({
      startLevel,
      entryTables,
      bytes: entryBytes,
    });
    const b = bench({ geometry, pages: 40 });
    expect(b.memory.taken).toBe(entryTables);
    const last = 2 ** ipaBits - 2 ** geometry.pageShift;
    value(b.table.map(last, 1, 0, RW, LINUX));
    expect(at(b.table, last).level).toBe(3);
    expect(b.memory.taken).toBe(entryTables + 3 - startLevel);
  });
});
