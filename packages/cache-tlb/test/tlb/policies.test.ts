import { armv8 } from '@granule/armv8';
import type { TlbEntry, TlbModel } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AdversarialTlb } from '../../src/tlb/adversarial.js';
import { FiniteTlb, type FiniteTlbConfig } from '../../src/tlb/finite.js';
import { scopeOfWord, type TlbiIssuer } from '../../src/tlb/scope.js';
import { entries, instructions, queries, vmids, type Instruction } from './arbitraries.js';
import { answering, removes, type TwinState } from './twin.js';

const states = fc
  .record({ vmid: vmids, e2h: fc.boolean(), tge: fc.boolean(), lpa2: fc.boolean(), ds: fc.boolean() })
  .map((state) => ({ ...state, ds: state.ds && state.lpa2 }));

const issuerOf = ({ vmid, e2h, tge, lpa2, ds }: TwinState): TlbiIssuer => ({ el: 2, vmid, e2h, tge, lpa2, ds1: ds, ds2: ds, dsStage2: ds });

function wordOf({ name, fields }: Instruction): bigint {
  const word = armv8.instructions.encode(name, fields);
  if (word.kind !== 'done') throw new Error(`${name}: ${word.sentence}`);
  return word.value;
}

function invalidate(tlb: TlbModel, name: string, word: bigint, state: TwinState): TlbEntry[] {
  const scope = scopeOfWord(armv8.instructions, name, word, issuerOf(state));
  if (scope.kind !== 'done') throw new Error(scope.sentence);
  const removed: TlbEntry[] = [];
  expect(tlb.invalidate(scope.value, (entry) => removed.push(entry))).toBe(removed.length);
  return removed;
}

const text = (entry: TlbEntry): string => JSON.stringify(entry);
const sorted = (list: readonly TlbEntry[]): string[] => list.map(text).sort();
const unique = (list: readonly TlbEntry[]): TlbEntry[] => [...new Map(list.map((entry) => [text(entry), entry])).values()];

const STAGES = ['stage1', 'stage2', 'combined'] as const;
const FINITE: readonly FiniteTlbConfig[] = [
  {
    arrays: [
      { name: 'unified', sets: 4, ways: 2, replacement: 'lru', stages: ['stage1', 'combined'], kind: 'leaf' },
      { name: 'ipa', sets: 1, ways: 4, replacement: 'round-robin', stages: ['stage2'], kind: 'leaf' },
      { name: 'walks', sets: 2, ways: 2, replacement: { random: { seed: 7 } }, stages: ['stage1', 'stage2', 'combined'], kind: 'table' },
    ],
  },
  {
    arrays: [
      { name: 'blocks', sets: 1, ways: 8, replacement: 'lru', stages: STAGES, kind: 'leaf', shifts: [16, 21, 25, 29, 30, 42] },
      { name: 'pages', sets: 8, ways: 2, replacement: { random: { seed: 0 } }, stages: STAGES, kind: 'leaf' },
    ],
    heedHints: true,
  },
];

describe('the adversarial TLB', () => {
  it('loses exactly the entries that the instruction names, and keeps the rest', () => {
    fc.assert(
      fc.property(fc.array(entries, { maxLength: 60 }), fc.array(fc.tuple(instructions, states), { maxLength: 4 }), (filled, script) => {
        const tlb = new AdversarialTlb();
        let twin = unique(filled);
        for (const entry of filled) tlb.insert(entry);
        for (const [aim, state] of script) {
          const instruction = aim(twin);
          const word = wordOf(instruction);
          const gone = twin.filter((entry) => removes(instruction.name, word, state, entry));
          twin = twin.filter((entry) => !gone.includes(entry));
          expect(sorted(invalidate(tlb, instruction.name, word, state))).toEqual(sorted(gone));
          expect(sorted(tlb.entries())).toEqual(sorted(twin));
          expect(tlb.size).toBe(twin.length);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it('finds every entry that could answer, and answers with the deepest, longest held', () => {
    fc.assert(
      fc.property(fc.array(entries, { maxLength: 80 }), fc.array(queries, { minLength: 10, maxLength: 30 }), (filled, asked) => {
        const tlb = new AdversarialTlb();
        for (const entry of filled) tlb.insert(entry);
        const into: TlbEntry[] = [];
        for (const query of [...asked, ...filled.map((entry) => ({ ...entry, address: entry.input, asid: Math.max(entry.asid, 3) }))]) {
          const expected = answering(unique(filled), query);
          const count = tlb.matches(query, into);
          expect(sorted(into.slice(0, count))).toEqual(sorted(expected));
          const smallest = Math.min(...expected.map(({ shift }) => shift));
          expect(tlb.lookup(query)).toEqual(expected.find(({ shift }) => shift === smallest));
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe.each(FINITE.map((config, index) => [`finite TLB ${index}`, config] as const))('the %s', (_, config) => {
  const steps = fc.oneof({ weight: 5, arbitrary: entries }, { weight: 1, arbitrary: fc.tuple(instructions, states) });
  const everything = fc.array(steps, { maxLength: 150 });

  it('never holds more than its capacity, never invents an entry, never keeps one that an instruction removes', () => {
    fc.assert(
      fc.property(everything, (script) => {
        const tlb = new FiniteTlb(config);
        let twin: TlbEntry[] = [];
        for (const step of script) {
          if (Array.isArray(step)) {
            const [aim, state] = step;
            const instruction = aim(tlb.entries());
            const word = wordOf(instruction);
            const gone = (entry: TlbEntry) => removes(instruction.name, word, state, entry, config.heedHints === true);
            const kept = tlb.entries().filter((entry) => !gone(entry));
            invalidate(tlb, instruction.name, word, state);
            expect(sorted(tlb.entries())).toEqual(sorted(kept));
            twin = twin.filter((entry) => !gone(entry));
          } else {
            tlb.insert(step);
            twin.push(step);
          }
          expect(tlb.size).toBeLessThanOrEqual(tlb.capacity);
          expect(tlb.size).toBe(tlb.entries().length);
        }
        const known = new Set(twin.map(text));
        expect(tlb.entries().filter((entry) => !known.has(text(entry)))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('answers with entries that it holds and that fit, and misses only what it does not hold', () => {
    fc.assert(
      fc.property(fc.array(entries, { maxLength: 60 }), fc.array(queries, { maxLength: 30 }), (filled, asked) => {
        const tlb = new FiniteTlb(config);
        for (const entry of filled) tlb.insert(entry);
        const into: TlbEntry[] = [];
        for (const query of [...asked, ...filled.map((entry) => ({ ...entry, address: entry.input, asid: Math.max(entry.asid, 3) }))]) {
          const expected = answering(tlb.entries(), query);
          const count = tlb.matches(query, into);
          expect(sorted(into.slice(0, count))).toEqual(sorted(expected));
          const hit = tlb.lookup(query);
          expect(hit === undefined ? [] : sorted([hit])).toEqual(sorted(expected.filter((each) => each === hit)));
          expect(hit === undefined).toBe(expected.length === 0);
          expect(hit?.shift).toBe(expected.length === 0 ? undefined : Math.min(...expected.map(({ shift }) => shift)));
        }
        const hits = Object.values(tlb.hits).reduce((sum, each) => sum + each, 0);
        expect(hits + tlb.misses).toBeGreaterThanOrEqual(asked.length + filled.length);
      }),
      { numRuns: 300 },
    );
  });
});
