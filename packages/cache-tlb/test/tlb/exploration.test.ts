import type { DsbDomain, TlbEntry, Words } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { AdversarialTlb } from '../../src/tlb/adversarial.js';
import { TlbOrder } from '../../src/tlb/order.js';
import { scopeOf } from '../../src/tlb/scope.js';
import { entry, HOST, must, query } from './support.js';

/**
 * Every choice of the pending layer, of the TLB and of the walker of the PE that looks in the end, over a table of one descriptor. Steps
 * happen in the order given; between any two of them pending invalidations may take effect and that PE may walk ahead.
 */
type Step =
  | { readonly pe: number; readonly do: 'write'; readonly value: number }
  | { readonly pe: number; readonly do: 'tlbi'; readonly op: string }
  | { readonly pe: number; readonly do: 'dsb'; readonly domain: DsbDomain }
  | { readonly pe: number; readonly do: 'isb' }
  /** An access; the output it got is part of the outcome, 0: a translation fault. */
  | { readonly pe: number; readonly do: 'access' };

const write = (value: number, pe = 0): Step => ({ pe, do: 'write', value });
const tlbi = (op = 'VAAE1IS', pe = 0): Step => ({ pe, do: 'tlbi', op });
const dsb = (domain: DsbDomain = 'ish', pe = 0): Step => ({ pe, do: 'dsb', domain });
const isb = (pe = 0): Step => ({ pe, do: 'isb' });
const access = (pe: number): Step => ({ pe, do: 'access' });

const DESCRIPTOR = 0x8000;
const PAGE = query();
const [OLD, NEW] = [1, 2];

/** One run: `choose(n)` answers 0 … n − 1. Returns what the accesses got. TLBs begin with what the first descriptor says. */
function run(first: number, steps: readonly Step[], choose: (count: number) => number): string {
  const tlbs = [new AdversarialTlb(), new AdversarialTlb()];
  const order = new TlbOrder(tlbs.map((tlb) => ({ tlb })));
  const observer = steps[steps.length - 1].pe;
  const entryOf = ({ lo }: Readonly<Words>): TlbEntry[] => (lo === 0 ? [] : [entry({ output: lo * 4096 })]);
  let memory: Words = { lo: first, hi: 0 };
  for (const tlb of tlbs) entryOf(memory).forEach((each) => tlb.insert(each));
  const walk = (pe: number): readonly TlbEntry[] => {
    const values = [memory, ...order.descriptors(pe, DESCRIPTOR)];
    const made = entryOf(values[choose(values.length)]);
    made.forEach((each) => tlbs[pe].insert(each));
    return made;
  };
  const translate = (pe: number): number => {
    const held: TlbEntry[] = [];
    tlbs[pe].matches(PAGE, held);
    const usable = [...held, ...order.unsynchronised(pe, PAGE)];
    const early = order.early(pe, DESCRIPTOR);
    // After the entries that it holds: walks begun too early, and a walk now, since nobody must use an entry.
    const pick = choose(usable.length + early.length + 1);
    if (pick < usable.length) return usable[pick].output / 4096;
    const found = pick < usable.length + early.length ? entryOf(early[pick - usable.length]) : walk(pe);
    return found.length === 0 ? 0 : found[0].output / 4096;
  };
  const between = (): void => {
    for (const each of order.choices()) if (each.pe === observer && choose(2) === 1) order.take(each);
    if (choose(2) === 1) walk(observer);
  };
  const got: number[] = [];
  for (const step of steps) {
    between();
    switch (step.do) {
      case 'write':
        order.write(step.pe, DESCRIPTOR, memory);
        memory = { lo: step.value, hi: 0 };
        break;
      case 'tlbi': {
        const scope = must(scopeOf(step.op, { VA: BigInt(PAGE.address) }, HOST));
        order.invalidate(step.pe, scope, step.op.endsWith('IS') ? 'inner' : 'local');
        break;
      }
      case 'dsb':
        order.dsb(step.pe, step.domain);
        break;
      case 'isb':
        order.isb(step.pe);
        break;
      case 'access':
        got.push(translate(step.pe));
    }
  }
  return got.join(' ');
}

/** Every outcome, by trying each choice after the last one taken before (depth first). */
function outcomes(steps: readonly Step[], first = OLD): string[] {
  const seen = new Set<string>();
  let path: { at: number; readonly count: number }[] = [];
  for (;;) {
    let depth = 0;
    const outcome = run(first, steps, (count) => {
      if (depth === path.length) path.push({ at: 0, count });
      const { at } = path[depth];
      depth += 1;
      return at;
    });
    seen.add(outcome);
    while (path.length > 0 && path[path.length - 1].at === path[path.length - 1].count - 1) path = path.slice(0, -1);
    if (path.length === 0) return [...seen].sort();
    path[path.length - 1].at += 1;
  }
}

/** DDI 0487 D8.17.1 and B2.6.9 (DSB): unmapping a page, and what each missing step lets through. */
describe('an unmapped page, over all choices', () => {
  const whole = [write(0), dsb('ishst'), tlbi(), dsb(), isb()];

  it('is gone for both PEs after DSB, TLBI, DSB, ISB', () => {
    expect(outcomes([...whole, access(0)])).toEqual(['0']);
    expect(outcomes([...whole, access(1)])).toEqual(['0']);
  });

  it('may be there at any moment before', () => {
    expect(outcomes([write(0), access(1)])).toEqual(['0', '1']);
    expect(outcomes([write(0), dsb('ishst'), tlbi(), access(1)])).toEqual(['0', '1']);
  });

  it('without the DSB before the TLBI a walk may bring the old entry back', () => {
    expect(outcomes([write(0), tlbi(), dsb(), isb(), access(1)])).toEqual(['0', '1']);
  });

  it('without the DSB after the TLBI, or with one of stores, the old entry may stay', () => {
    expect(outcomes([write(0), dsb('ishst'), tlbi(), isb(), access(1)])).toEqual(['0', '1']);
    expect(outcomes([write(0), dsb('ishst'), tlbi(), dsb('ishst'), isb(), access(1)])).toEqual(['0', '1']);
  });

  it('without the ISB the PE itself may still use it, another may not', () => {
    const noIsb = whole.slice(0, -1);
    expect(outcomes([...noIsb, access(0)])).toEqual(['0', '1']);
    expect(outcomes([...noIsb, access(1)])).toEqual(['0']);
  });

  it('a local TLBI, or a DSB of this PE alone, is not enough for the other', () => {
    const local = [write(0), dsb('ishst'), tlbi('VAAE1'), dsb(), isb()];
    expect(outcomes([...local, access(0)])).toEqual(['0']);
    expect(outcomes([...local, access(1)])).toEqual(['0', '1']);
    expect(outcomes([write(0), dsb('ishst'), tlbi(), dsb('nsh'), isb(), access(1)])).toEqual(['0', '1']);
  });

  it('without any TLBI it may stay for good', () => {
    expect(outcomes([write(0), dsb(), isb(), access(0)])).toEqual(['0', '1']);
  });
});

describe('a page that comes or moves, over all choices', () => {
  it('with break-before-make is absent or new once the invalidation is complete', () => {
    const moved = [write(0), dsb('ishst'), tlbi(), dsb(), write(NEW)];
    expect(outcomes([...moved, access(1)])).toEqual(['0', '2']);
    expect(outcomes([...moved, dsb('ishst'), access(1)])).toEqual(['2']);
  });

  it('that appears may fault until its DSB, and on the PE that made it until its ISB', () => {
    expect(outcomes([write(NEW), access(1)], 0)).toEqual(['0', '2']);
    expect(outcomes([write(NEW), dsb('ishst'), access(1)], 0)).toEqual(['2']);
    expect(outcomes([write(NEW), dsb('ishst'), access(0)], 0)).toEqual(['0', '2']);
    expect(outcomes([write(NEW), dsb('ishst'), isb(), access(0)], 0)).toEqual(['2']);
    expect(outcomes([write(NEW), isb(), access(0)], 0)).toEqual(['0', '2']);
  });

  it('without the break both entries may be held, and either may answer even after the other did', () => {
    expect(outcomes([write(NEW), access(1), access(1)])).toContain('2 1');
  });
});
