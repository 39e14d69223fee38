import { armv8 } from '@granule/armv8';
import { DONE, refused, type Outcome } from '@granule/contract';
import { stage1Geometry } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { createPageTable, type GranulePageTable } from '@granule/pgtable';
import { describe, expect, it } from 'vitest';
import {
  DownwardVa, errnoOf, HYP_POLICIES, hypAddress, type HypLayout, hypLayout, type HypMapCall, HypMappings, type HypPolicy, SharedPages, stackOverflowed, UpwardVa,
} from '../src/index.js';
import { G, valueOf } from './support.js';

const RAM = G;
const linear = { start: 0, end: 2 * G };

describe('the hyp VA layout', () => {
  it('puts the linear map into the half that the identity map is not in', () => {
    const tag = (idmap: number): number => valueOf(hypLayout({ vaBits: 48, idmap, linear })).tag;
    expect([tag(0x4072_2000), tag(2 ** 47 + 0x4072_2000)]).toEqual([2 ** 47, 0]);
  });

  it('keeps as many bits of a linear address as the linear map has, and randomises those between', () => {
    const layout = valueOf(hypLayout({ vaBits: 48, idmap: 0x4072_2000, linear, random: 0xffff / 0x1_0000 }));
    expect(layout).toMatchObject({ tagLsb: 31, tag: 2 ** 48 - 2 ** 31 });
    expect(hypAddress(layout, 0x72_2000)).toBe(layout.tag + 0x72_2000);
  });

  it('refuses an identity map inside the hyp linear range, with EINVAL', () => {
    // A linear map that takes all bits leaves the tag none.
    const refusedLayout = hypLayout({ vaBits: 39, idmap: 0x4072_2000, linear: { start: 0, end: 2 ** 39 } });
    expect(refusedLayout).toMatchObject({ kind: 'refused', id: 'hyp.idmap-conflict' });
    expect(refusedLayout.kind !== 'done' && errnoOf(refusedLayout)).toBe(-22);
  });
});

describe('private hyp addresses', () => {
  it('go downwards from the identity map in nVHE, as a recorded boot took them: a stack with its guard, then two pages of vectors', () => {
    const va = new DownwardVa({ idmap: 0x4072_2000, vaBits: 48 }, 12);
    expect(valueOf(va.allocateAligned(0x2000))).toBe(0x4072_0000);
    expect(valueOf(va.allocate(0x1800))).toBe(0x4071_e000);
  });

  it('end where the top bit would flip, with ENOMEM', () => {
    const va = new DownwardVa({ idmap: 2 ** 47 + 0x2000, vaBits: 48 }, 12);
    expect(va.allocate(0x2000).kind).toBe('done');
    const outcome = va.allocate(1);
    expect(outcome).toMatchObject({ id: 'hyp.va-exhausted' });
    expect(outcome.kind !== 'done' && errnoOf(outcome)).toBe(-12);
    expect(new DownwardVa({ idmap: 0x1000, vaBits: 48 }, 12).allocate(0x2000).kind).toBe('refused');
  });

  it('go upwards in pKVM, up to the page structures', () => {
    const va = new UpwardVa(0x10_1000, 0x11_0000, 12);
    expect([va.allocate(1), va.allocateAligned(0x2000), va.allocate(0xa000)].map(valueOf)).toEqual([0x10_1000, 0x10_2000, 0x10_4000]);
    expect(va.allocate(0x2001)).toMatchObject({ id: 'hyp.va-exhausted' });
    expect(va.allocate(0x2000).kind).toBe('done');
  });
});

interface HypBench {
  readonly hyp: HypMappings;
  readonly calls: HypMapCall[];
  readonly table: GranulePageTable;
  readonly boot: GranulePageTable;
  readonly layout: HypLayout;
}

function hypBench(policy: HypPolicy): HypBench {
  const geometry = valueOf(stage1Geometry({ granule: '4K', vaBits: 48 }));
  const make = (): GranulePageTable =>
    valueOf(createPageTable({ format: valueOf(armv8.format('el2', { geometry, mair: 0xff04n })), memory: createTableArena({ pageShift: 12 }) }));
  const [table, boot] = [make(), make()];
  const calls: HypMapCall[] = [];
  const layout = valueOf(hypLayout({ vaBits: 48, idmap: 0x4072_2000, linear }));
  const hyp = new HypMappings({
    policy, layout, linearOffset: RAM, table, privateVa: new DownwardVa(layout, 12), trace: (call) => calls.push(call),
    ...(policy.separateBootTable ? { bootTable: boot } : {}),
  });
  return { hyp, calls, table, boot, layout };
}

describe('hyp mappings', () => {
  it('of an object go page by page in nVHE, each with the physical address of the same offset', () => {
    const { hyp, calls, layout } = hypBench(HYP_POLICIES.nvhe);
    valueOf(hyp.mapObject(0x4072_2e10, 0x4072_5000, 'code'));
    const at = layout.tag + 0x72_2000;
    expect(calls.map(({ addr, phys }) => [addr - at, phys])).toEqual([[0, 0x4072_2e10], [0x1000, 0x4072_3e10], [0x2000, 0x4072_4e10]]);
  });

  it('of memory go up front and by blocks in pKVM, and objects need none', () => {
    const { hyp, calls, table, layout } = hypBench(HYP_POLICIES.pkvm);
    valueOf(hyp.mapLinear(RAM, RAM + 2 * G));
    valueOf(hyp.mapObject(0x4080_0000, 0x4080_3000, 'data'));
    expect(calls).toHaveLength(1);
    expect(table.query(layout.tag, 2 * G).map(({ level }) => level)).toEqual([1, 1]);
  });

  it('of the identity map had a table of its own in 2016', () => {
    const count = (policy: HypPolicy): number[] => {
      const { hyp, table, boot } = hypBench(policy);
      valueOf(hyp.mapIdmap(0x4072_2000, 0x4072_2e10));
      return [table, boot].map((each) => each.query(0x4072_2000, 4096).length);
    };
    expect([count(HYP_POLICIES['per-object-2016']), count(HYP_POLICIES.nvhe)]).toEqual([[0, 1], [1, 0]]);
  });

  it('of a stack leave its lower half unmapped, and one bit of an address tells the overflow', () => {
    const { hyp, table, calls } = hypBench(HYP_POLICIES.nvhe);
    expect(valueOf(hyp.createStack(0x4138_c000, 4096))).toBe(0x4072_2000);
    expect(calls).toEqual([{ addr: 0x4072_1000, size: 0x1000, phys: 0x4138_c000, kind: 'data' }]);
    expect(table.query(0x4072_0000, 0x2000).map(({ start }) => start)).toEqual([0x4072_1000]);
    expect([0x4072_1ff0, 0x4072_1000, 0x4072_0ff8].map((sp) => stackOverflowed(sp, 4096))).toEqual([false, false, true]);
  });

  it('at private addresses keep the offset in the page', () => {
    const { hyp, calls } = hypBench(HYP_POLICIES.nvhe);
    expect(valueOf(hyp.mapPrivate(0x0801_0f80, 0x100, 'device'))).toBe(0x4072_0f80);
    expect(calls).toEqual([{ addr: 0x4072_0000, size: 0x2000, phys: 0x0801_0f80, kind: 'device' }]);
  });

  it('are unmapped by pKVM alone', () => {
    const unmapped = (policy: HypPolicy): number => {
      const { hyp } = hypBench(policy);
      const at = valueOf(hyp.mapPrivate(0x4100_0000, 0x3000, 'data'));
      return valueOf(hyp.unmap(at, 0x3000));
    };
    expect([HYP_POLICIES['per-object-2016'], HYP_POLICIES.nvhe, HYP_POLICIES.pkvm].map(unmapped)).toEqual([0, 0, 0x3000]);
  });
});

describe('the policies of hyp mappings', () => {
  const LINEAR = 0x100_0000;

  it('differ in where a device goes: at the kernel\'s address within vmalloc in 2016, privately today, nowhere with pKVM, where it is with VHE', () => {
    const io = (name: HypPolicy['name'], vmalloc = true): unknown => {
      const { hyp, layout } = hypBench(HYP_POLICIES[name]);
      const outcome = hyp.mapIo(LINEAR, 0x0801_0000, 0x1000, { vmalloc });
      return outcome.kind === 'done' ? outcome.value - (name === 'per-object-2016' ? layout.tag : 0) : outcome.kind === 'refused' && outcome.id;
    };
    expect([io('per-object-2016'), io('per-object-2016', false), io('nvhe'), io('pkvm'), io('vhe')]).toEqual([LINEAR, 'hyp.not-vmalloc', 0x4072_1000, 'hyp.io-protected', LINEAR]);
  });

  it('with VHE map no object', () => {
    const { hyp, calls } = hypBench(HYP_POLICIES.vhe);
    valueOf(hyp.mapObject(RAM, RAM + G, 'code'));
    expect(calls).toEqual([]);
  });

  it('cost a call a page and tables as objects lie about, or one call and one table where all of memory is mapped up front', () => {
    const cost = (name: HypPolicy['name']): { readonly calls: number; readonly tables: number } => {
      const { hyp, calls, table } = hypBench(HYP_POLICIES[name]);
      if (HYP_POLICIES[name].linearMap === 'up-front') {
        valueOf(hyp.mapLinear(RAM, RAM + 2 * G));
      }
      for (let object = 0; object < 64; object += 1) {
        valueOf(hyp.mapObject(RAM + object * 32 * 2 ** 20, RAM + object * 32 * 2 ** 20 + 0x3000, 'data'));
      }
      return { calls: calls.length, tables: table.memory.taken };
    };
    // Three pages each; one table of level 0, one of level 1, two of level 2, 64 of level 3.
    expect(cost('nvhe')).toEqual({ calls: 192, tables: 68 });
    expect(cost('nvhe-linear')).toEqual({ calls: 1, tables: 2 });
  });

  it('free every table at teardown', () => {
    const { hyp, table, boot } = hypBench(HYP_POLICIES['per-object-2016']);
    valueOf(hyp.mapIdmap(0x4072_2000, 0x4072_2e10));
    valueOf(hyp.mapObject(RAM, RAM + 0x3000, 'code'));
    hyp.teardown();
    expect([table.memory.taken, boot.memory.taken]).toEqual([0, 0]);
  });

  it('refuse identity-mapped code that crosses a page, and one beyond their table', () => {
    const { hyp } = hypBench(HYP_POLICIES.nvhe);
    expect(hyp.mapIdmap(0x4072_2f00, 0x4072_3010)).toMatchObject({ kind: 'refused', id: 'hyp.idmap-crosses-page' });
    expect(hyp.mapIdmap(2 ** 48, 2 ** 48 + 16)).toMatchObject({ kind: 'not-modelled', id: 'hyp.merged-table' });
  });
});

describe('pages shared with a protected hypervisor', () => {
  const shared = (refuseAt?: number) => {
    const calls: string[] = [];
    const call = (name: string) => (pfn: number): Outcome<undefined> => {
      calls.push(`${name} ${pfn}`);
      return pfn === refuseAt && name === 'share' ? refused('pool.exhausted', 'no pages', 'test') : DONE;
    };
    return { pages: new SharedPages({ share: call('share'), unshare: call('unshare') }, 12), calls };
  };

  it('call EL2 for the first user of a frame and for the last', () => {
    const { pages, calls } = shared();
    valueOf(pages.share(0x1800, 0x3000));
    valueOf(pages.share(0x2000, 0x2010));
    valueOf(pages.unshare(0x1800, 0x3000));
    valueOf(pages.unshare(0x2000, 0x2010));
    expect(calls).toEqual(['share 1', 'share 2', 'unshare 1', 'unshare 2']);
  });

  it('that EL2 refuses undo the frames before them', () => {
    const { pages, calls } = shared(3);
    expect(pages.share(0x1000, 0x5000)).toMatchObject({ kind: 'refused', id: 'pool.exhausted' });
    expect(calls).toEqual(['share 1', 'share 2', 'share 3', 'unshare 1', 'unshare 2']);
    expect([1, 2, 3].map((pfn) => pages.count(pfn))).toEqual([0, 0, 0]);
  });

  it('are of the linear map, not of vmalloc', () => {
    expect(shared().pages.share(0x1000, 0x2000, { vmalloc: true })).toMatchObject({ id: 'hyp.vmalloc' });
  });

  it('that were never shared are refused', () => {
    expect(shared().pages.unshare(0x1000, 0x2000)).toMatchObject({ id: 'hyp.not-shared' });
  });
});
