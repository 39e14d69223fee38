import { describe, expect, it } from 'vitest';
import type { TlbEntry } from '@granule/contract';
import { AdversarialTlb } from '../../src/tlb/adversarial.js';
import { FiniteTlb, type TlbArray } from '../../src/tlb/finite.js';
import { conflictOf, outputOf } from '../../src/tlb/match.js';
import { entry, query } from './support.js';

const BLOCK = entry({ level: 2, shift: 21, input: 0x40_0000, output: 0x8000_0000 });

function conflict(...held: readonly TlbEntry[]) {
  const tlb = new AdversarialTlb();
  for (const each of held) tlb.insert(each);
  const into: TlbEntry[] = [];
  return conflictOf(into, tlb.matches(query(), into));
}

/** DDI 0487 D8.17.1. */
describe('entries for one address', () => {
  it.each([
    ['none', [entry()]],
    ['none', [entry(), entry()]],
    ['none', [entry(), entry({ vmid: 2, output: 0 })]],
    ['none', [entry(), entry({ asid: 4, output: 0 })]],
    ['permissions', [entry(), entry({ permissions: 1 })]],
    ['size', [BLOCK, entry()]],
    ['size', [entry(), entry({ permissions: 1 }), BLOCK]],
    ['translation', [entry(), entry({ output: 0x9000_0000 })]],
    ['translation', [entry(), entry({ attributes: 0x44 })]],
    ['translation', [entry(), BLOCK, entry({ asid: -1, shareability: 0 })]],
  ] as const)('conflict: %s', (kind, held) => {
    expect(conflict(...held)).toBe(kind);
  });

  it('a finite TLB holds a block beside a page of it, and the page answers', () => {
    const tlb = new FiniteTlb({ arrays: [{ name: 'l1', sets: 1, ways: 4, replacement: 'lru', stages: ['stage1'], kind: 'leaf' }] });
    tlb.insert(BLOCK);
    tlb.insert(entry({ output: 0x9000_0000 }));
    const into: TlbEntry[] = [];
    expect(conflictOf(into, tlb.matches(query(), into))).toBe('translation');
    expect(outputOf(tlb.lookup(query())!, 0x40_0123)).toBe(0x9000_0123);
    expect(outputOf(tlb.lookup(query({ address: 0x40_1123 }))!, 0x40_1123)).toBe(0x8000_1123);
  });
});

const L1: TlbArray = { name: 'l1', sets: 1, ways: 2, replacement: 'lru', stages: ['stage1'], kind: 'leaf' };

describe('replacement in a set of two ways', () => {
  const page = (n: number) => entry({ input: n * 4096 });
  const filled = (replacement: 'lru' | 'round-robin') => {
    const tlb = new FiniteTlb({ arrays: [{ ...L1, replacement }] });
    tlb.insert(page(1));
    tlb.insert(page(2));
    tlb.lookup(query({ address: 4096 }));
    tlb.insert(page(3));
    return tlb.entries().map(({ input }) => input / 4096).sort();
  };

  it('lru lets the one unused longest go', () => {
    expect(filled('lru')).toEqual([1, 3]);
  });

  it('round-robin lets the next in turn go, used or not', () => {
    expect(filled('round-robin')).toEqual([2, 3]);
  });

  it('round-robin goes on from where it was', () => {
    const tlb = new FiniteTlb({ arrays: [{ ...L1, replacement: 'round-robin' }] });
    for (let n = 1; n <= 5; n += 1) tlb.insert(page(n));
    expect(tlb.entries().map(({ input }) => input / 4096)).toEqual([5, 4]);
  });

  it('random repeats itself from the same seed', () => {
    const run = (seed: number) => {
      const tlb = new FiniteTlb({ arrays: [{ ...L1, ways: 8, replacement: { random: { seed } } }] });
      for (let n = 0; n < 100; n += 1) tlb.insert(page(n));
      return tlb.entries().map(({ input }) => input);
    };
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
  });

  it('an array of no power of 2 is a mistake of the caller', () => {
    expect(() => new FiniteTlb({ arrays: [{ ...L1, sets: 3 }] })).toThrow(RangeError);
  });

  it('hits are counted for the array that answered, misses once', () => {
    const tlb = new FiniteTlb({ arrays: [{ ...L1, shifts: [12] }, { ...L1, name: 'blocks' }] });
    tlb.insert(page(1));
    tlb.insert(entry({ level: 2, shift: 21 }));
    for (const address of [4096, 0x40_0000, 0x50_0000, 0x70_0000]) tlb.lookup(query({ address }));
    expect([tlb.hits, tlb.misses]).toEqual([{ l1: 1, blocks: 2 }, 1]);
  });
});
