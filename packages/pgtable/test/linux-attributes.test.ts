import { describe, expect, it } from 'vitest';
import type { Bench, BenchOptions } from './support.js';
import { G, M, PAGE, RO, RW, RX, answer, at, bench, kinds, shown, snapshot, value } from './support.js';

const LINUX = { mode: 'linux' } as const;

function mapped(size: number, options: BenchOptions = {}, attributes = RW): Bench {
  const b = bench(options);
  value(b.table.map(0, size, 0, attributes, LINUX));
  b.log.drain();
  return b;
}

const isYoung = ({ table, format }: Bench, ia: number): boolean => {
  const { lo, hi, level } = at(table, ia);
  return format.decodeLeaf(lo, hi, level).af;
};

describe('write protection', () => {
  it('keeps the block, and owes its caller the invalidation', () => {
    const b = mapped(4 * M);
    value(b.table.writeProtect(PAGE, PAGE));
    expect([shown(b.table, 0), shown(b.table, 2 * M)]).toEqual(['level 2 leaf 0x0 R--', 'level 2 leaf 0x200000 RW-']);
    expect(kinds(b)).toEqual(['write']);
  });

  it('passes over what is not mapped, annotations included', () => {
    const b = mapped(PAGE);
    value(b.table.annotate(PAGE, PAGE, 2, 7n));
    const { lo, hi } = at(b.table, PAGE);
    b.log.drain();
    value(b.table.writeProtect(0, 1 * G));
    expect(at(b.table, PAGE)).toMatchObject({ lo, hi });
    expect(kinds(b)).toEqual(['write']);
  });

  it('writes nothing where everything is read-only already', () => {
    const b = mapped(4 * M, {}, RO);
    value(b.table.writeProtect(0, 1 * G));
    expect(kinds(b)).toEqual([]);
  });
});

describe('ageing', () => {
  it('test-and-clear answers the OR of all access flags and clears them, without an invalidation', () => {
    const b = mapped(3 * PAGE);
    expect(b.table.age(0, 1 * G, true)).toEqual({ kind: 'done', value: true });
    expect(b.table.age(0, 1 * G, true)).toEqual({ kind: 'done', value: false });
    value(b.table.makeYoung(2 * PAGE));
    b.log.drain();
    expect(b.table.age(0, 1 * G, false)).toEqual({ kind: 'done', value: true });
    expect(b.table.age(0, 2 * PAGE, true)).toEqual({ kind: 'done', value: false });
    expect(b.table.age(0, 1 * G, true)).toEqual({ kind: 'done', value: true });
    expect(kinds(b)).toEqual(['write']);
  });

  it('test alone changes nothing', () => {
    const b = mapped(3 * PAGE);
    const before = snapshot(b.memory);
    value(b.table.age(0, 1 * G, false));
    expect(snapshot(b.memory)).toEqual(before);
  });

  it('mkyoung sets the access flag of one leaf and ends with DSB ISHST, no invalidation', () => {
    const b = mapped(3 * PAGE);
    value(b.table.age(0, 1 * G, true));
    b.log.drain();
    value(b.table.makeYoung(PAGE + 5));
    expect([0, PAGE, 2 * PAGE].map((ia) => isYoung(b, ia))).toEqual([false, true, false]);
    expect(kinds(b)).toEqual(['write', 'dsb ishst']);
    value(b.table.makeYoung(PAGE));
    expect(kinds(b)).toEqual(['dsb ishst']);
    expect(answer(b.table.makeYoung(9 * PAGE))).toBe('retry leaf.none');
    expect(kinds(b)).toEqual([]);
  });
});

describe('relaxing', () => {
  it('a leaf that becomes executable owes the instruction cache its content first', () => {
    const b = mapped(PAGE, {}, RO);
    value(b.table.relaxPermissions(0, { px: true, ux: true }));
    expect(kinds(b).slice(0, 2)).toEqual(['cmo ic-ivau', 'write']);
    value(b.table.relaxPermissions(0, { write: true }));
    expect(kinds(b)[0]).toBe('write');
  });

  it('changes a block as a whole', () => {
    const b = mapped(2 * M, {}, RO);
    value(b.table.relaxPermissions(5 * PAGE, { write: true }));
    expect(shown(b.table, 0)).toBe('level 2 leaf 0x0 RW-');
  });
});

describe('split', () => {
  it.each([
    [513, 1 * G, 3],
    [1, 2 * M, 3],
    [0, PAGE, 3],
  ])('needs %i pages for a leaf of %i bytes', (pages, size, level) => {
    const enough = mapped(size, { pages: 600, recorded: false });
    expect(answer(enough.table.split(0, size, { ...LINUX, budget: pages }))).toBe('done');
    expect(at(enough.table, 0).level).toBe(level);
    if (pages > 0) {
      const fewer = mapped(size, { pages: 600, recorded: false });
      expect(answer(fewer.table.split(0, size, { ...LINUX, budget: pages - 1 }))).toBe('refused split.no-pages');
    }
  });

  it('keeps all of the block: no unmapped hole, output and permissions as before', () => {
    const b = mapped(2 * M, {}, RX);
    value(b.table.split(0, 2 * M, LINUX));
    expect(b.table.query(0, 2 * M)).toHaveLength(512);
    expect([shown(b.table, 0), shown(b.table, 2 * M - 1)]).toEqual(['level 3 leaf 0x0 R-X', 'level 3 leaf 0x1fffff R-X']);
  });

  it('with too few pages for the whole subtree but at least one splits by one level, then goes on below', () => {
    const b = mapped(1 * G, { pages: 600, recorded: false });
    expect(answer(b.table.split(0, 1 * G, { ...LINUX, budget: 3 }))).toBe('refused split.no-pages');
    expect([0, 2 * M, 4 * M, 1 * G - PAGE].map((ia) => at(b.table, ia).level)).toEqual([3, 3, 2, 2]);
  });

  it('with none is -ENOMEM and changes nothing', () => {
    const b = mapped(1 * G);
    const before = snapshot(b.memory);
    expect(answer(b.table.split(0, 1 * G, { ...LINUX, budget: 0 }))).toBe('refused split.no-pages');
    expect(snapshot(b.memory)).toEqual(before);
  });

  it('builds the new tree unlinked, without invalidation or cache maintenance, then breaks the block once', () => {
    const b = mapped(2 * M, { features: { ttl: true } }, RX);
    value(b.table.split(0, 2 * M, LINUX));
    const list = kinds(b);
    expect(list[0]).toBe('take');
    expect(list.slice(1, 513).every((each) => each === 'write')).toBe(true);
    expect(list.slice(513)).toEqual(['write', 'dsb ishst', 'tlbi IPAS2E1IS', 'dsb ish', 'tlbi VMALLE1IS', 'dsb ish', 'isb', 'write']);
  });

  it('rebuilds attributes from permissions alone: a device block comes back Normal, an old one accessed; exact mode keeps them', () => {
    const attributes = { ...RW, memory: 'device-nGnRE', software: 5 } as const;
    const memoryAfter = (mode: 'linux' | 'exact'): unknown => {
      const b = mapped(2 * M, {}, attributes);
      value(b.table.age(0, 2 * M, true));
      value(b.table.split(0, 2 * M, { mode }));
      const { lo, hi } = at(b.table, PAGE);
      const { memory, af, write, software } = b.format.decodeLeaf(lo, hi, 3);
      return { memory, af, write, software };
    };
    expect(memoryAfter('linux')).toEqual({ memory: 'normal', af: true, write: true, software: 5 });
    expect(memoryAfter('exact')).toEqual({ memory: 'device-nGnRE', af: false, write: true, software: 5 });
  });
});

describe('rights and pages that run out', () => {
  it('relaxing invalidates this PE alone, but every PE where execution is named false', () => {
    const b = mapped(PAGE, {}, RX);
    value(b.table.relaxPermissions(0, { write: true }));
    const local = kinds(b).join(' ');
    b.log.drain();
    value(b.table.relaxPermissions(0, { px: false, ux: false }));
    expect(local).toContain('IPAS2E1 ');
    expect(kinds(b).join(' ')).toContain('IPAS2E1IS');
  });

  it('splitting with Linux\'s rules and no budget ends where the pool does', () => {
    const b = mapped(4 * M, { pages: 4 });
    expect(answer(b.table.split(0, 4 * M, LINUX))).toBe('refused split.no-pages');
    expect([at(b.table, 0).level, at(b.table, 2 * M).level]).toEqual([3, 2]);
  });
});
