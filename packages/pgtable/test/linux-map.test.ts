import { armv8 } from '@granule/armv8';
import { ENTRY } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import type { Bench, BenchOptions } from './support.js';
import { G, M, PAGE, RO, RW, RX, answer, at, bench, effects, kinds, shown, snapshot, stage2, value } from './support.js';

const LINUX = { mode: 'linux' } as const;
const TTL = { ttl: true, tlbirange: true };

/** 2 MiB mapped at 2 MiB, and the recorder emptied. */
function withBlock(options: BenchOptions = {}): Bench {
  const b = bench({ features: TTL, ...options });
  value(b.table.map(2 * M, 2 * M, 2 * M, RW, LINUX));
  b.log.drain();
  return b;
}

describe('map over the same mapping, or one differing only in permissions, writes nothing and returns EAGAIN', () => {
  it.each([
    ['the same', RW],
    ['read-only', RO],
    ['executable', RX],
  ])('%s', (_, attributes) => {
    const b = withBlock();
    const before = snapshot(b.memory);
    expect(answer(b.table.map(2 * M, 2 * M, 2 * M, attributes, LINUX))).toBe('retry map.already-mapped');
    expect(snapshot(b.memory)).toEqual(before);
    expect(kinds(b)).toEqual(['dsb ishst']);
  });

  it('stops the walk there: what comes before is mapped, what comes after is not', () => {
    const { table } = bench();
    value(table.map(PAGE, PAGE, PAGE, RW, LINUX));
    expect(table.map(0, 3 * PAGE, 0, RW, LINUX)).toMatchObject({ kind: 'retry', id: 'map.already-mapped', progress: PAGE });
    expect([shown(table, 0), shown(table, 2 * PAGE)]).toEqual(['level 3 leaf 0x0 RW-', 'level 3 zero']);
  });

  it('relaxing is the only way to change permissions in place; it only adds, and it invalidates on this PE alone', () => {
    const b = bench({ features: TTL });
    value(b.table.map(0, PAGE, 0, RO, LINUX));
    b.log.drain();
    value(b.table.relaxPermissions(0x123, { write: true }));
    expect(shown(b.table, 0)).toBe('level 3 leaf 0x0 RW-');
    expect(kinds(b)).toEqual(['write', 'dsb nshst', 'tlbi IPAS2E1', 'dsb nsh', 'tlbi VMALLE1', 'dsb nsh', 'isb']);
    value(b.table.relaxPermissions(0, { read: true }));
    expect(shown(b.table, 0)).toBe('level 3 leaf 0x0 RW-');
    value(b.table.relaxPermissions(0, { px: true, ux: true }));
    expect(shown(b.table, 0)).toBe('level 3 leaf 0x0 RWX');
    value(b.table.relaxPermissions(0, { px: false, ux: false }));
    expect(shown(b.table, 0)).toBe('level 3 leaf 0x0 RW-');
  });

  it('relaxing what is not mapped is EAGAIN, and invalidates on this PE all the same', () => {
    const b = bench();
    expect(answer(b.table.relaxPermissions(5 * PAGE, { write: true }))).toBe('retry leaf.none');
    expect(kinds(b)).toEqual(['dsb nshst', 'tlbi IPAS2E1', 'dsb nsh', 'tlbi VMALLE1', 'dsb nsh', 'isb']);
  });
});

describe('a change of software bits alone', () => {
  const tagged = { ...RW, software: 3 };

  it('is written in place where the walk is not shared', () => {
    const b = withBlock();
    value(b.table.map(2 * M, 2 * M, 2 * M, tagged, { ...LINUX, shared: false }));
    expect(kinds(b)).toEqual(['write', 'dsb ishst']);
  });

  it('is made by break-before-make where it is shared', () => {
    const b = withBlock();
    value(b.table.map(2 * M, 2 * M, 2 * M, tagged, LINUX));
    expect(kinds(b).slice(0, 3)).toEqual(['write', 'dsb ishst', 'tlbi IPAS2E1IS']);
    const { lo, hi } = at(b.table, 2 * M);
    expect(b.format.decodeLeaf(lo, hi, 2).software).toBe(3);
  });
});

describe('blocks and tables', () => {
  it('a block needs size, input and output alignment', () => {
    const { table } = bench();
    value(table.map(0, 4 * M, PAGE, RW, LINUX));
    expect(at(table, 0).level).toBe(3);
    value(table.map(1 * G, 1 * G, 2 * G, RW, LINUX));
    expect(at(table, 1 * G).level).toBe(1);
    value(table.map(4 * G, 2 * M, 0, RW, { ...LINUX, pages: true }));
    expect(at(table, 4 * G).level).toBe(3);
  });

  it.each([
    ['4K', 48, 1, 512 * G],
    ['16K', 47, 2, 64 * G],
    ['64K', 48, 2, 4096 * G],
  ] as const)(
    '%s: no block above level %i although the architecture may have one (KVM_PGTABLE_MIN_BLOCK_LEVEL)',
    (granule, ipaBits, level, span) => {
      const { table } = bench({ geometry: stage2(granule, ipaBits), pages: 200 });
      value(table.map(0, Math.min(span, 2 ** ipaBits), 0, RW, LINUX));
      expect(at(table, 0).level).toBe(level);
    },
  );

  it('block to table: mapping one page inside a block unmaps the other 511, which fault again', () => {
    const b = withBlock();
    value(b.table.map(2 * M + PAGE, PAGE, 2 * M + PAGE, { ...RO }, LINUX));
    expect([shown(b.table, 2 * M), shown(b.table, 2 * M + PAGE), shown(b.table, 4 * M - PAGE)]).toEqual([
      'level 3 zero',
      'level 3 leaf 0x201000 R--',
      'level 3 zero',
    ]);
  });

  it('block to table: locked, invalidated by IPA and level, then all of stage 1, then the empty table', () => {
    const b = withBlock({ coherence: { fwb: true, dic: true } });
    value(b.table.map(2 * M, PAGE, 2 * M, RO, LINUX));
    const lines = effects(b);
    expect(lines.map((line) => line.replace(/ level 2 ia .*/, ''))).toEqual([
      'take 0x40003000 pages 1',
      expect.stringMatching(/^write 0x40002000\[1\]$/),
      'dsb ishst',
      'tlbi IPAS2E1IS 0x200000 level 2',
      'dsb ish',
      'tlbi VMALLE1IS',
      'dsb ish',
      'isb',
      expect.stringMatching(/^write 0x40002000\[1\]$/),
      expect.stringMatching(/^write 0x40003000\[0\] level 3/),
      'dsb ishst',
    ]);
  });

  it('table to block: the child is freed after a grace period, after its whole span was invalidated by range', () => {
    const b = bench({ features: TTL, coherence: { fwb: true, dic: true } });
    value(b.table.map(2 * M, PAGE, 2 * M, RW, LINUX));
    b.log.drain();
    value(b.table.map(2 * M, 2 * M, 2 * M, RW, LINUX));
    expect(shown(b.table, 2 * M)).toBe('level 2 leaf 0x200000 RW-');
    expect(effects(b).map((line) => line.replace(/^write.*/, 'write'))).toEqual([
      'write',
      'dsb ishst',
      'tlbi RIPAS2E1IS 0x200000 bytes 2097152',
      'dsb ish',
      'tlbi VMALLE1IS',
      'dsb ish',
      'isb',
      'write',
      'free 0x40003000 pages 1 deferred',
      'dsb ishst',
    ]);
  });

  it('without FEAT_TLBIRANGE the whole VMID is flushed, even for one table', () => {
    const b = bench({ coherence: { fwb: true, dic: true } });
    value(b.table.map(2 * M, PAGE, 2 * M, RW, LINUX));
    b.log.drain();
    value(b.table.map(2 * M, 2 * M, 2 * M, RW, LINUX));
    expect(kinds(b)).toEqual(['write', 'dsb ishst', 'tlbi VMALLS12E1IS', 'dsb ish', 'isb', 'write', 'free', 'dsb ishst']);
  });

  it('a smaller mapping below a table leaves its neighbours', () => {
    const { table } = bench();
    value(table.map(0, 2 * PAGE, 0, RW, LINUX));
    value(table.map(PAGE, PAGE, 7 * PAGE, RW, LINUX));
    expect([shown(table, 0), shown(table, PAGE)]).toEqual(['level 3 leaf 0x0 RW-', 'level 3 leaf 0x7000 RW-']);
  });

  it('an annotated entry is mapped without an invalidation, and counted once', () => {
    const b = bench({ coherence: { fwb: true, dic: true } });
    value(b.table.annotate(0, PAGE, 2, 6n));
    b.log.drain();
    value(b.table.map(0, PAGE, 0, RW, LINUX));
    expect(kinds(b)).toEqual(['write', 'dsb ishst']);
    expect(b.memory.counts[3]).toBe(1);
  });

  it('the page offset of the output is dropped', () => {
    const { table } = bench();
    value(table.map(0, PAGE, PAGE + 0x123, RW, LINUX));
    expect(shown(table, 0)).toBe('level 3 leaf 0x1000 RW-');
  });
});

describe('break-before-make with named flags', () => {
  const replaced = (skip: { readonly tlbi?: boolean; readonly cmo?: boolean }): readonly string[] => {
    const b = bench({ features: TTL });
    value(b.table.map(0, PAGE, PAGE, RX, LINUX));
    b.log.drain();
    value(b.table.map(0, PAGE, 2 * PAGE, RX, { ...LINUX, skip }));
    return kinds(b);
  };
  const tlbi = ['dsb ishst', 'tlbi IPAS2E1IS', 'dsb ish', 'tlbi VMALLE1IS', 'dsb ish', 'isb'];
  const cmo = ['cmo dc-civac', 'cmo ic-ivau'];

  it.each([
    ['nothing skipped', {}, ['write', ...tlbi, ...cmo, 'write', 'dsb ishst']],
    ['skip.tlbi skips the invalidation and nothing else', { tlbi: true }, ['write', ...cmo, 'write', 'dsb ishst']],
    ['skip.cmo skips the cache maintenance and nothing else', { cmo: true }, ['write', ...tlbi, 'write', 'dsb ishst']],
    ['both', { tlbi: true, cmo: true }, ['write', 'write', 'dsb ishst']],
  ])('%s', (_, skip, expected) => {
    expect(replaced(skip)).toEqual(expected);
  });

  it('the broken entry is the locked marker, and the new one is stored with release', () => {
    const b = bench();
    value(b.table.map(0, PAGE, PAGE, RW, LINUX));
    b.log.drain();
    value(b.table.map(0, PAGE, 2 * PAGE, RW, LINUX));
    const [broken, made] = b.log.effects.flatMap((each) => (each.type === 'write' ? [each] : []));
    expect([broken.new[0], broken.new[1]]).toEqual([b.format.locked.lo, b.format.locked.hi]);
    expect([...broken.new]).toEqual([...made.old]);
    expect([broken.release, made.release]).toEqual([false, true]);
  });

  it.each([
    ['with S2FWB no data-cache maintenance', { fwb: true }, ['cmo ic-ivau']],
    ['with DIC no instruction-cache maintenance', { dic: true }, ['cmo dc-civac']],
    ['with both none', { fwb: true, dic: true }, []],
  ])('%s', (_, coherence, expected) => {
    const b = bench({ coherence });
    value(b.table.map(0, PAGE, PAGE, RX, LINUX));
    expect(kinds(b).filter((each) => each.startsWith('cmo'))).toEqual(expected);
  });

  it('a device or non-executable leaf owes no maintenance of that kind', () => {
    const b = bench();
    value(b.table.map(0, PAGE, PAGE, { ...RW, memory: 'device-nGnRE' }, LINUX));
    expect(kinds(b).filter((each) => each.startsWith('cmo'))).toEqual([]);
  });
});

describe('running out of pages half-way', () => {
  it('keeps what is done and tells how far (-ENOMEM)', () => {
    const b = bench({ pages: 4 });
    const outcome = b.table.map(2 * M - 2 * PAGE, 4 * PAGE, 0, RW, LINUX);
    expect(outcome).toMatchObject({ kind: 'refused', id: 'pool.exhausted', progress: 2 * PAGE });
    expect([shown(b.table, 2 * M - PAGE), shown(b.table, 2 * M)]).toEqual(['level 3 leaf 0x1000 RW-', 'level 2 zero']);
  });

  it('does not break a block before it has the page', () => {
    const b = withBlock({ pages: 3 });
    expect(answer(b.table.map(2 * M, PAGE, 2 * M, RO, LINUX))).toBe('refused pool.exhausted');
    expect(shown(b.table, 2 * M)).toBe('level 2 leaf 0x200000 RW-');
  });
});

describe('the offset is dropped before the size is added', () => {
  it('map of 0x1000 bytes at 0x1800 touches page 0x1000 alone', () => {
    const { table } = bench();
    value(table.map(0x1800, 0x1000, 0x1000, RW, LINUX));
    expect([shown(table, 0), shown(table, PAGE), shown(table, 2 * PAGE)]).toEqual([
      'level 3 zero',
      'level 3 leaf 0x1000 RW-',
      'level 3 zero',
    ]);
    value(table.unmap(0x1800, 0x1000, LINUX));
    expect(shown(table, PAGE)).toBe('level 1 zero');
  });

  it('a walk may end at 2^40 and not beyond (-ERANGE)', () => {
    const { table } = bench();
    const end = 2 ** 40;
    expect(answer(table.map(end - PAGE, PAGE, 0, RW, LINUX))).toBe('done');
    expect(answer(table.map(end - PAGE, 2 * PAGE, 0, RW, LINUX))).toBe('refused range.beyond-ia');
    expect(answer(table.unmap(end, PAGE, LINUX))).toBe('refused range.beyond-ia');
    expect(answer(table.unmap(0, end, LINUX))).toBe('done');
    expect(answer(table.writeProtect(end - PAGE, PAGE + 1))).toBe('refused range.beyond-ia');
  });
});

describe('creating an unlinked subtree', () => {
  it('maps its whole span, is linked nowhere, and tells no TLB', () => {
    const b = bench();
    const unlinked = value(b.table.createUnlinked(3, 6 * M, RO));
    expect(b.memory.taken).toBe(3);
    expect(kinds(b)).toEqual(['take', ...Array.from({ length: 512 }, () => 'write')]);
    const word = b.memory.wordOf(unlinked.table, PAGE);
    const { words } = b.memory;
    expect(b.format.kind(words[word + 1022], words[word + 1023], 3)).toBe(ENTRY.leaf);
    expect(b.format.leafOutput(words[word + 1022], words[word + 1023], 3)).toBe(8 * M - PAGE);
    expect(shown(b.table, 6 * M)).toBe('level 1 zero');
    value(b.table.freeUnlinked(unlinked));
    expect(b.memory.taken).toBe(2);
    expect(effects(b)).toEqual(['free 0x40002000 pages 1 deferred']);
  });

  it('the output must be aligned to the span', () => {
    expect(answer(bench().table.createUnlinked(3, 6 * M + PAGE, RO))).toBe('refused unlinked.misaligned');
  });

  it('takes 513 pages for a gigabyte of pages, or is refused with nothing changed', () => {
    const b = bench({ pages: 514 });
    const before = snapshot(b.memory);
    expect(answer(b.table.createUnlinked(2, 1 * G, RW))).toBe('refused pool.exhausted');
    expect(snapshot(b.memory)).toEqual(before);
    const roomy = bench({ pages: 515, recorded: false, backend: armv8 });
    value(roomy.table.createUnlinked(2, 1 * G, RW));
    expect(roomy.memory.taken).toBe(515);
  });
});

describe('a range mapped as a call for each page', () => {
  const EACH = { ...LINUX, pages: true, eachPage: true } as const;
  /** Over the end of two page tables, at odd addresses; whole pages of 16K too. */
  const [from, size, output] = [2 * M - 12 * PAGE, 2 * M + 20 * PAGE, 6 * M + 4 * PAGE];

  /** The same, call by call, to the first failure. */
  function calls(b: Bench): string {
    for (let done = 0; done < size; done += 2 ** b.format.geometry.pageShift) {
      const outcome = b.table.map(from + done, 2 ** b.format.geometry.pageShift, output + done, RW, { ...LINUX, pages: true });
      if (outcome.kind !== 'done') return answer(outcome);
    }
    return 'done';
  }

  it.each<[string, BenchOptions, (b: Bench) => void]>([
    ['into nothing', {}, () => {}],
    ['of Normal memory, which is cleaned for', { coherence: {} }, () => {}],
    ['over a block', { features: TTL }, (b) => value(b.table.map(2 * M, 2 * M, 2 * M, RO, LINUX))],
    ['over pages that map something else', {}, (b) => value(b.table.map(2 * M, 9 * PAGE, 32 * M, RO, { ...LINUX, pages: true }))],
    ['over an annotation', {}, (b) => value(b.table.annotate(2 * M + 7 * PAGE, 2 * PAGE, 2, 5n))],
    ['up to a page that is there already', {}, (b) => value(b.table.map(2 * M + 8 * PAGE, PAGE, output + 20 * PAGE, RO, LINUX))],
    ['until no page is left', { pages: 5 }, () => {}],
    ['of a table with 16K pages', { geometry: stage2('16K', 40), pages: 40 }, () => {}],
  ])('%s emits what the calls emit', (_, options, prepare) => {
    const [one, each] = [bench(options), bench(options)];
    [one, each].forEach((b) => {
      prepare(b);
      b.log.drain();
    });
    const outcome = one.table.map(from, size, output, RW, EACH);
    expect(answer(outcome)).toBe(calls(each));
    expect(effects(one)).toEqual(effects(each));
    expect(snapshot(one.memory)).toEqual(snapshot(each.memory));
  });
});
