import type { AttributeRequest } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { hypDestroy, hypMap, hypUnmap } from '../src/hyp/index.js';
import {
  type Bench,
  type BenchOptions,
  G,
  K,
  M,
  PAGE,
  RO,
  RW,
  RX,
  answer,
  at,
  bench,
  effects,
  kinds,
  shown,
  snapshot,
  stage1,
  value,
} from './support.js';

/** Attr0 Device-nGnRnE, Attr1 Device-nGnRE, Attr2 Normal Non-cacheable, Attr4 Normal Write-Back. */
const MAIR = 0xff_0044_0400n;
const DEVICE: AttributeRequest = { write: true, memory: 'device-nGnRE' };

const hyp = (options: BenchOptions = {}): Bench =>
  bench({ regime: 'el2', geometry: stage1('4K', 48), features: { ttl: true }, config: { mair: MAIR }, ...options });

/** A hyp table with 2 MiB mapped at 2 MiB, and its recorder emptied. */
function withBlock(options: BenchOptions = {}): Bench {
  const b = hyp(options);
  value(hypMap(b.table, 2 * M, 2 * M, 2 * M, RW));
  b.log.drain();
  return b;
}

describe('hyp map', () => {
  it('maps the largest block that fits: size, input and output alignment all count (kvm_block_mapping_supported)', () => {
    const { table } = hyp();
    value(hypMap(table, 1 * G, 1 * G + 2 * M + PAGE, 1 * G, RW));
    expect([shown(table, 1 * G), shown(table, 2 * G), shown(table, 2 * G + 2 * M)]).toEqual([
      'level 1 leaf 0x40000000 RW-',
      'level 2 leaf 0x80000000 RW-',
      'level 3 leaf 0x80200000 RW-',
    ]);
    value(hypMap(table, 8 * M, 2 * M, 8 * M + PAGE, RW));
    expect(shown(table, 8 * M)).toBe('level 3 leaf 0x801000 RW-');
  });

  it('maps no block above the first block level of the granule: 16K from level 2 on', () => {
    const { table } = hyp({ geometry: stage1('16K', 47) });
    value(hypMap(table, 0, 64 * G, 0, RW));
    expect(at(table, 0).level).toBe(2);
  });

  it('is done where the identical entry stands already, and writes nothing', () => {
    const b = withBlock();
    value(hypMap(b.table, 2 * M, 2 * M, 2 * M, RW));
    expect(kinds(b)).toEqual(['dsb ishst', 'isb']);
  });

  it.each(['exact', 'linux'] as const)('rewrites an entry in place that differs in software bits alone (%s)', (mode) => {
    const b = withBlock();
    value(hypMap(b.table, 2 * M, 2 * M, 2 * M, { ...RW, software: 5 }, { mode }));
    const { lo, hi } = at(b.table, 2 * M);
    expect(b.format.decodeLeaf(lo, hi, 2).software).toBe(5);
    expect(kinds(b)).toEqual(['write', 'dsb ishst', 'isb']);
  });

  it('ends with DSB ISHST and ISB and never with a TLBI', () => {
    const b = hyp();
    value(hypMap(b.table, 0, 2 * PAGE, 0, RX));
    expect(kinds(b)).toEqual(['take', 'write', 'take', 'write', 'take', 'write', 'write', 'write', 'dsb ishst', 'isb']);
  });

  it('keeps a table that is there where a block would fit', () => {
    const { table } = hyp();
    value(hypMap(table, 2 * M, PAGE, 2 * M, RW));
    value(hypMap(table, 2 * M, 2 * M, 2 * M, RW));
    expect([shown(table, 2 * M), shown(table, 4 * M - 1)]).toEqual(['level 3 leaf 0x200000 RW-', 'level 3 leaf 0x3fffff RW-']);
  });

  it('always sets the access flag', () => {
    const { table, format } = hyp();
    value(hypMap(table, 0, PAGE, 0, { ...RW, af: false }));
    const { lo, hi } = at(table, 0);
    expect(format.decodeLeaf(lo, hi, 3).af).toBe(true);
  });

  it.each([
    ['that is not readable', { read: false }, 'refused hyp.not-readable'],
    ['that is writable and executable', { write: true, px: true, ux: true }, 'refused hyp.write-execute'],
    ['that executes device memory', { ...DEVICE, write: false, px: true, ux: true }, 'refused hyp.execute-device'],
    ['that the format refuses', { software: 16 }, 'refused attributes.software'],
  ])('refuses a mapping %s (hyp_set_prot_attr: -EINVAL)', (_, request, expected) => {
    const b = hyp();
    const before = snapshot(b.memory);
    expect(answer(hypMap(b.table, 0, PAGE, 0, request))).toBe(expected);
    expect(snapshot(b.memory)).toEqual(before);
    expect(b.log.effects).toEqual([]);
  });

  it('maps device memory that nobody executes', () => {
    const { table, format } = hyp();
    value(hypMap(table, 0, PAGE, 0x900_0000, DEVICE));
    const { lo, hi } = at(table, 0);
    expect(format.decodeLeaf(lo, hi, 3).memory).toBe('device-nGnRE');
  });

  it('is refused on a stage-2 table', () => {
    expect(answer(hypMap(bench().table, 0, PAGE, 0, RW))).toBe('refused hyp.not-stage-1');
  });

  it.each(['el10', 'el20'])('works on the two-privilege tables of %s (hVHE)', (regime) => {
    const { table } = hyp({ regime });
    value(hypMap(table, 0, PAGE, PAGE, RX));
    expect(shown(table, 0)).toBe('level 3 leaf 0x1000 R-X');
  });
});

describe('hyp map over a valid entry that says otherwise', () => {
  it.each(['exact', 'linux'] as const)('is refused at level 3, which stays as it is (%s)', (mode) => {
    const { table } = hyp();
    value(hypMap(table, PAGE, PAGE, PAGE, RW));
    expect(answer(hypMap(table, PAGE, PAGE, 5 * PAGE, RW, { mode }))).toBe('refused hyp.would-change');
    expect(answer(hypMap(table, PAGE, PAGE, PAGE, RO, { mode }))).toBe('refused hyp.would-change');
    expect(shown(table, PAGE)).toBe('level 3 leaf 0x1000 RW-');
  });

  it('linux: keeps what it mapped before the refusal and tells how many bytes that was', () => {
    const b = hyp();
    value(hypMap(b.table, 2 * PAGE, PAGE, 9 * PAGE, RW));
    const outcome = hypMap(b.table, 0, 4 * PAGE, 0, RW, { mode: 'linux' });
    expect(outcome).toMatchObject({ kind: 'refused', id: 'hyp.would-change', progress: 2 * PAGE });
    expect([shown(b.table, 0), shown(b.table, PAGE), shown(b.table, 3 * PAGE)]).toEqual([
      'level 3 leaf 0x0 RW-',
      'level 3 leaf 0x1000 RW-',
      'level 3 zero',
    ]);
    expect(kinds(b).slice(-2)).toEqual(['dsb ishst', 'isb']);
  });

  it('exact: changes nothing at all', () => {
    const b = hyp();
    value(hypMap(b.table, 2 * PAGE, PAGE, 9 * PAGE, RW));
    b.log.drain();
    const before = snapshot(b.memory);
    expect(answer(hypMap(b.table, 0, 4 * PAGE, 0, RW))).toBe('refused hyp.would-change');
    expect(snapshot(b.memory)).toEqual(before);
    expect(b.log.effects).toEqual([]);
  });

  it("linux: at an upper level a table overwrites the live block without break-before-make, and the block's rest is lost", () => {
    const b = withBlock();
    value(hypMap(b.table, 2 * M + PAGE, PAGE, 7 * PAGE, RW, { mode: 'linux' }));
    expect([shown(b.table, 2 * M), shown(b.table, 2 * M + PAGE), shown(b.table, 4 * M - 1)]).toEqual([
      'level 3 zero',
      'level 3 leaf 0x7000 RW-',
      'level 3 zero',
    ]);
    const writes = b.log.effects.flatMap((each) => (each.type === 'write' ? [each] : []));
    const [over] = writes;
    expect(b.format.kind(over.old[0], over.old[1], 2)).toBe(ENTRY.leaf);
    expect(b.format.kind(over.new[0], over.new[1], 2)).toBe(ENTRY.table);
    expect(b.format.mustBreak(over.old[0], over.old[1], over.new[0], over.new[1], 2)?.id).toBe('bbm.block-size');
    expect(kinds(b)).toEqual(['take', 'write', 'write', 'dsb ishst', 'isb']);
  });

  it('linux: the same for other attributes of a whole block', () => {
    const { table } = withBlock();
    value(hypMap(table, 2 * M, 2 * M, 2 * M, RO, { mode: 'linux' }));
    expect([shown(table, 2 * M), shown(table, 4 * M - PAGE)]).toEqual(['level 3 leaf 0x200000 R--', 'level 3 leaf 0x3ff000 R--']);
  });

  it('exact: a page inside a live block is refused', () => {
    const { table, memory } = withBlock();
    const before = snapshot(memory);
    expect(answer(hypMap(table, 2 * M + PAGE, PAGE, 7 * PAGE, RW))).toBe('refused hyp.would-change');
    expect(snapshot(memory)).toEqual(before);
  });

  it('linux: the page offset of the output is dropped, exact: refused', () => {
    const { table } = hyp();
    expect(answer(hypMap(table, 0, PAGE, PAGE + 8, RW))).toBe('refused oa.not-aligned');
    value(hypMap(table, 0, PAGE, PAGE + 8, RW, { mode: 'linux' }));
    expect(shown(table, 0)).toBe('level 3 leaf 0x1000 RW-');
  });
});

describe('hyp map with too few pages', () => {
  it('exact: is refused and changes nothing', () => {
    const { table, memory } = hyp({ pages: 3 });
    const before = snapshot(memory);
    expect(answer(hypMap(table, 0, PAGE, 0, RW))).toBe('refused pool.exhausted');
    expect(snapshot(memory)).toEqual(before);
  });

  it('linux: stops half-way (-ENOMEM) and keeps what is done', () => {
    const { table } = hyp({ pages: 4 });
    const outcome = hypMap(table, 2 * M - 2 * PAGE, 4 * PAGE, 0, RW, { mode: 'linux' });
    expect(outcome).toMatchObject({ kind: 'refused', id: 'pool.exhausted', progress: 2 * PAGE });
    expect(shown(table, 2 * M - PAGE)).toBe('level 3 leaf 0x1000 RW-');
  });
});

describe('hyp unmap', () => {
  it('clears leaves: DSB ISHST, VALE2IS with the level, DSB ISH, ISB for each; an emptied table VAE2IS without level hint', () => {
    const b = hyp();
    value(hypMap(b.table, 0, 2 * PAGE, 0, RW));
    b.log.drain();
    expect(hypUnmap(b.table, 0, 2 * PAGE)).toEqual({ kind: 'done', value: 2 * PAGE });
    const operations = effects(b).filter((line) => !line.startsWith('write'));
    const leaf = (address: string) => ['dsb ishst', `tlbi VALE2IS ${address} level 3`, 'dsb ish', 'isb'];
    const table = (pa: string) => ['dsb ishst', 'tlbi VAE2IS 0x0', 'dsb ish', 'isb', `free ${pa} pages 1`];
    expect(operations).toEqual([...leaf('0x0'), ...leaf('0x1000'), ...table('0x40003000'), ...table('0x40002000'), ...table('0x40001000')]);
    expect(b.memory.taken).toBe(1);
  });

  it("tlbi 'none' (2016) clears and frees the same and invalidates nothing", () => {
    const b = hyp();
    value(hypMap(b.table, 0, 2 * PAGE, 0, RW));
    b.log.drain();
    expect(hypUnmap(b.table, 0, 2 * PAGE, { tlbi: 'none' })).toEqual({ kind: 'done', value: 2 * PAGE });
    expect(kinds(b)).toEqual(['write', 'write', 'write', 'free', 'write', 'free', 'write', 'free']);
    expect(b.memory.taken).toBe(1);
  });

  it('stops at the first invalid entry and answers the bytes unmapped so far', () => {
    const b = hyp();
    value(hypMap(b.table, 0, 2 * PAGE, 0, RW));
    value(hypMap(b.table, 3 * PAGE, PAGE, 0, RW));
    expect(hypUnmap(b.table, 0, 4 * PAGE)).toEqual({ kind: 'done', value: 2 * PAGE });
    expect([shown(b.table, PAGE), shown(b.table, 3 * PAGE)]).toEqual(['level 3 zero', 'level 3 leaf 0x0 RW-']);
  });

  it('leaves the table in which it stopped, empty or not', () => {
    const b = hyp();
    value(hypMap(b.table, 0, PAGE, 0, RW));
    expect(hypUnmap(b.table, 0, 2 * PAGE)).toEqual({ kind: 'done', value: PAGE });
    expect(b.memory.taken).toBe(4);
    expect(hypUnmap(b.table, 2 * M, PAGE)).toEqual({ kind: 'done', value: 0 });
  });

  it('stops at a block larger than what is left of the range and never splits one', () => {
    const b = hyp();
    value(hypMap(b.table, 0, 4 * M, 0, RW));
    b.log.drain();
    expect(hypUnmap(b.table, 0, 2 * M + PAGE)).toEqual({ kind: 'done', value: 2 * M });
    expect([shown(b.table, 0), shown(b.table, 2 * M)]).toEqual(['level 2 zero', 'level 2 leaf 0x200000 RW-']);
    expect(hypUnmap(b.table, 2 * M + PAGE, PAGE)).toEqual({ kind: 'done', value: 0 });
    expect(shown(b.table, 2 * M)).toBe('level 2 leaf 0x200000 RW-');
  });

  it('a block that begins before the range goes whole and counts whole where the range is long enough', () => {
    const b = hyp();
    value(hypMap(b.table, 0, 2 * M + PAGE, 0, RW));
    expect(hypUnmap(b.table, PAGE, 2 * M)).toEqual({ kind: 'done', value: 2 * M + PAGE });
    expect(shown(b.table, 0)).toBe('level 0 zero');
  });

  it('rounds as every walk does: the page offset is dropped before the size is added', () => {
    const b = hyp();
    value(hypMap(b.table, 0, 4 * PAGE, 0, RW));
    expect(hypUnmap(b.table, 0x1800, 0x1000)).toEqual({ kind: 'done', value: PAGE });
    expect([shown(b.table, PAGE), shown(b.table, 2 * PAGE)]).toEqual(['level 3 zero', 'level 3 leaf 0x2000 RW-']);
    expect(answer(hypUnmap(b.table, 2 ** 48, PAGE))).toBe('refused range.beyond-ia');
  });

  it('does the same with nobody listening', () => {
    const b = hyp({ recorded: false });
    value(hypMap(b.table, 1 * G, 2 * M + 3 * PAGE, 1 * G, RW));
    expect(hypUnmap(b.table, 1 * G, 2 * M + 3 * PAGE)).toEqual({ kind: 'done', value: 2 * M + 3 * PAGE });
    expect(b.memory.taken).toBe(1);
    expect(b.memory.words.every((word) => word === 0)).toBe(true);
  });
});

describe('hyp destroy', () => {
  it('gives every page back and invalidates nothing', () => {
    const b = hyp();
    value(hypMap(b.table, 1 * G, 2 * M + 3 * PAGE, 64 * K, RX));
    b.log.drain();
    hypDestroy(b.table);
    expect(b.memory.taken).toBe(0);
    expect(kinds(b).filter((each) => each !== 'free')).toEqual([]);
  });
});
