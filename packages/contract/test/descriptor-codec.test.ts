import { describe, expect, it } from 'vitest';
import {
  CommonLeaf,
  decodeAnnotation,
  encodeAnnotation,
  LOCKED,
  layoutOf,
  leafDefaults,
  mairByte,
  OutputCodec,
  plainMairMemory,
  SHAREABILITY,
  Stage1Memory,
  STAGE2_MEMORY,
  stage2MemAttr,
} from '../src/codec/index.js';
import type { AttributeRequest, FormatNumbers, Outcome } from '../src/index.js';

/** The value of an outcome, or its id. */
const answer = <T>(outcome: Outcome<T>): T | string => (outcome.kind === 'done' ? outcome.value : outcome.id);
const clause = 'BOOK';

describe('annotations (Linux KVM_INVALID_PTE_TYPE_MASK, KVM_INVALID_PTE_ANNOT_MASK)', () => {
  it('hold a type of 4 bits and a value of 59, and leave bit 0 clear', () => {
    expect(answer(encodeAnnotation(15, (1n << 59n) - 1n))).toEqual({ lo: 0xffff_fffe, hi: 0xffff_ffff });
    expect(answer(encodeAnnotation(2, 0x1234n))).toEqual({ lo: 0x2468, hi: 0x2000_0000 });
    expect(decodeAnnotation(0x2468, 0x2000_0000)).toEqual({ type: 2, value: 0x1234n });
  });

  it('come back as they went', () => {
    for (let type = 1; type <= 15; type += 1) {
      for (const value of [0n, 1n, 0x7fff_ffffn, 0x8000_0000n, (1n << 59n) - 1n]) {
        const words = answer(encodeAnnotation(type, value)) as { lo: number; hi: number };
        expect(decodeAnnotation(words.lo, words.hi)).toEqual({ type, value });
      }
    }
  });

  it('say that an entry is locked by type 1', () => {
    expect(decodeAnnotation(LOCKED.lo, LOCKED.hi)).toEqual({ type: 1, value: 0n });
  });

  it('are refused where they do not fit', () => {
    expect([0, 16, 1.5].map((type) => answer(encodeAnnotation(type, 0n)))).toEqual(Array(3).fill('annotation.type'));
    expect([-1n, 1n << 59n].map((value) => answer(encodeAnnotation(1, value)))).toEqual(Array(2).fill('annotation.value'));
  });
});

describe('output addresses', () => {
  const codec = (oaPlainBits: number, oaTopLsb: number, oaTopBits: number, oaBits: number) =>
    new OutputCodec({ oaPlainBits, oaTopLsb, oaTopBits } as FormatNumbers, oaBits, clause);

  it('stand at their own place where the format has plain bits alone (DDI 0406C B3.6.1)', () => {
    const armv7 = codec(40, 12, 0, 40);
    expect(answer(armv7.encode(0xff_ffff_f000, 12))).toEqual({ lo: 0xffff_f000, hi: 0xff });
    expect(armv7.decode(0xffff_f7ff, 0x60_00ff, 0xffff_f000, 0xff)).toBe(0xff_ffff_f000);
  });

  it('have bits 51:48 in [15:12] with 64K and FEAT_LPA (DDI 0487 D8.3.1)', () => {
    const lpa = codec(48, 12, 4, 52);
    expect(answer(lpa.encode(0xa_bcde_f012_0000, 16))).toEqual({ lo: 0xf012_a000, hi: 0xbcde });
    expect(lpa.decode(0xf012_a403, 0xbcde, 0xffff_0000, 0xffff)).toBe(0xa_bcde_f012_0000);
  });

  it('have bits 51:50 in [9:8] with DS = 1 (DDI 0487 D8.3.1)', () => {
    const lpa2 = codec(50, 8, 2, 52);
    expect(answer(lpa2.encode(0xa_bcde_f012_3000, 12))).toEqual({ lo: 0xf012_3200, hi: 0x2_bcde });
    expect(lpa2.decode(0xf012_3603, 0x42_bcde, 0xffff_f000, 0x3_ffff)).toBe(0xa_bcde_f012_3000);
  });

  it('are refused where they are no integer, too large or not aligned', () => {
    const small = codec(48, 12, 0, 40);
    expect([-4096, 0.5, 2 ** 53].map((address) => answer(small.encode(address, 12)))).toEqual(Array(3).fill('oa.not-integer'));
    expect(answer(small.encode(2 ** 40, 12))).toBe('oa.too-large');
    expect(answer(small.encode(2 ** 40 - 2048, 12))).toBe('oa.not-aligned');
  });
});

describe('memory types', () => {
  it('of stage 2 are 16, three reserved (DDI 0487 D8.6.5, MemAttr[3:2] outer, [1:0] inner)', () => {
    expect(STAGE2_MEMORY).toEqual([
      'device-nGnRnE', 'device-nGnRE', 'device-nGRE', 'device-GRE',
      'reserved', 'normal-nc', 'normal-nc-wt', 'normal-nc-wb',
      'reserved', 'normal-wt-nc', 'normal-wt', 'normal-wt-wb',
      'reserved', 'normal-wb-nc', 'normal-wb-wt', 'normal',
    ]);
  });

  it.each([
    [0x00, 'device-nGnRnE'],
    [0x0c, 'device-GRE'],
    [0x01, 'reserved'],
    [0x44, 'normal-nc'],
    [0x40, 'reserved'],
    [0xbb, 'normal-wt'],
    [0x33, 'normal-wt'],
    [0xff, 'normal'],
    [0x77, 'normal'],
    [0x4f, 'normal-nc-wb'],
    [0xf4, 'normal-wb-nc'],
  ])('of the MAIR byte %i is %s (DDI 0487 D24.2, MAIR_EL1.Attr<n>)', (byte, memory) => {
    expect(plainMairMemory(byte)).toBe(memory);
  });

  it('of stage 1 are found in the MAIR: the index asked for, the first that is of the type, or Normal Write-Back', () => {
    const memory = new Stage1Memory(0xff_44_04_ffn << 8n, plainMairMemory, { where: 'the MAIR', source: clause });
    expect(mairByte(0xff_44_04_ffn << 8n, 2)).toBe(0x04);
    expect(memory.types.slice(0, 5)).toEqual(['device-nGnRnE', 'normal', 'device-nGnRE', 'normal-nc', 'normal']);
    const requests = [{}, { attrIndex: 4 }, { memory: 'normal-nc' }] as const;
    expect(requests.map((request) => answer(memory.indexOf(request)))).toEqual([1, 4, 3]);
    expect(answer(memory.indexOf({ attrIndex: 8 }))).toBe('attributes.attr-index');
    expect(answer(memory.indexOf({ memory: 'device-GRE' }))).toBe('attributes.memory-type');
    expect([memory.key(1) === memory.key(4), memory.key(1) === memory.key(2)]).toEqual([true, false]);
  });

  it('of stage 1 are unknown without a MAIR, each index like itself alone', () => {
    const memory = new Stage1Memory(undefined, plainMairMemory, { where: 'the MAIR', source: clause });
    expect(memory.types).toEqual(Array(8).fill('unknown'));
    expect([answer(memory.indexOf({})), answer(memory.indexOf({ attrIndex: 3 }))]).toEqual([0, 3]);
    expect(answer(memory.indexOf({ memory: 'normal' }))).toBe('attributes.no-mair');
    expect(new Set([0, 1, 2, 3, 4, 5, 6, 7].map((index) => memory.key(index))).size).toBe(8);
  });

  it('of stage 2 are asked for by name or MemAttr, or both where they agree', () => {
    const words = { where: '', source: clause };
    const ask = (request: AttributeRequest) => answer(stage2MemAttr(STAGE2_MEMORY, request, words));
    expect([ask({}), ask({ memory: 'device-nGnRE' }), ask({ attrIndex: 5 })]).toEqual([15, 1, 5]);
    expect(ask({ attrIndex: 5, memory: 'normal-nc' })).toBe(5);
    expect(ask({ attrIndex: 16 })).toBe('attributes.attr-index');
    expect(ask({ attrIndex: 5, memory: 'normal' })).toBe('attributes.memory-conflict');
    expect([ask({ memory: 'reserved' }), ask({ memory: 'as-stage1' })]).toEqual(Array(2).fill('attributes.memory-type'));
  });
});

describe('the fields that every leaf has', () => {
  const rows = [
    { name: 'Software', msb: 58, lsb: 55, clause },
    { name: 'Contiguous', msb: 52, lsb: 52, clause },
    { name: 'AF', msb: 10, lsb: 10, clause },
  ];
  const clauses = { software: clause, shareability: clause };
  const want = leafDefaults('normal', 0, 'inner');

  it('are where the layout has them', () => {
    const all = [...rows, { name: 'SH', msb: 9, lsb: 8, clause }, { name: 'DBM', msb: 51, lsb: 51, clause }];
    const leaf = new CommonLeaf(layoutOf(all, undefined, clause), clauses);
    const request = { ...want, software: 9, dbm: true, contiguous: true, shareability: 'outer' } as const;
    expect(answer(leaf.encode(request))).toEqual({ lo: 0x600, hi: 0x0498_0000 });
    expect([leaf.af(0x600, 0), leaf.dbm(0, 0x8_0000), leaf.contiguous(0, 0x10_0000), leaf.software(0, 0x0480_0000)]).toEqual([true, true, true, 9]);
    expect([0, 1, 2, 3].map((sh) => leaf.shareability(sh << 8, 0))).toEqual(SHAREABILITY);
    expect(answer(leaf.encode({ ...want, software: 16 }))).toBe('attributes.software');
  });

  it('have one shareability where the layout has no SH, and no dirty bit where it has no DBM', () => {
    const leaf = new CommonLeaf(layoutOf(rows, undefined, clause), clauses, 'outer');
    expect([leaf.defaultShareability, leaf.shareability(0x300, 0), leaf.dbm(0xffff_ffff, 0xffff_ffff)]).toEqual(['outer', 'outer', false]);
    expect(answer(leaf.encode(want))).toBe('attributes.shareability');
    expect(answer(leaf.encode({ ...want, shareability: 'outer' }))).toEqual({ lo: 0x400, hi: 0 });
  });
});
