import { ENTRY } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CASES, formatOf, halves, LEVELS, MAIR } from './support.js';

const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const S2 = formatOf('s2');
const PL10 = formatOf('pl10', { mair: MAIR });

/** The rule for a change of one entry, words as bigint. */
function ruleOf(format: typeof S2, from: bigint, to: bigint, level: 1 | 2 | 3): string | undefined {
  const [a, b] = [halves(from), halves(to)];
  return format.mustBreak(a.lo, a.hi, b.lo, b.hi, level)?.id;
}

describe('mustBreak (DDI 0406C B3.10.1)', () => {
  const page = 0x0040_0000_4077_27ffn;

  it('is total, and silent where the old or the new entry is invalid or nothing changes', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CASES), word64, word64, fc.constantFrom(...LEVELS), ({ format }, from, to, level) => {
        const [a, b] = [halves(from), halves(to)];
        const rule = format.mustBreak(a.lo, a.hi, b.lo, b.hi, level);
        if (format.kind(a.lo, a.hi, level) < ENTRY.leaf || format.kind(b.lo, b.hi, level) < ENTRY.leaf) expect(rule).toBeUndefined();
        expect(format.mustBreak(a.lo, a.hi, a.lo, a.hi, level)).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['the output address', page ^ 0x1000n, 'bbm.output-address'],
    ['bits 47:40, which are no address', page ^ (0xffn << 40n), undefined],
    ['the memory type', page ^ 0x8n, 'bbm.memory-type'],
    ['the shareability', page ^ 0x100n, 'bbm.shareability'],
    ['the Contiguous bit', page ^ (1n << 52n), 'bbm.contiguous'],
    ['read permission', page ^ 0x40n, undefined],
    ['write permission', page ^ 0x80n, undefined],
    ['execute permission', page ^ (1n << 54n), undefined],
    ['the access flag', page ^ 0x400n, undefined],
    ['software bits', page ^ (0xfn << 55n), undefined],
    ['everything: it becomes invalid', 0n, undefined],
    ['everything: it becomes locked', 1n << 60n, undefined],
  ])('for a stage-2 page that changes %s', (_, to, rule) => {
    expect(ruleOf(S2, page, to, 3)).toBe(rule);
  });

  it.each([
    ['a block to a table', 0x4000_07fdn, 0x5000_0003n, 'bbm.block-size'],
    ['a table to a block', 0x5000_0003n, 0x4000_07fdn, 'bbm.block-size'],
    ['a table to another', 0x5000_0003n, 0x5000_1003n, 'bbm.table-address'],
  ] as const)('for %s', (_, from, to, rule) => {
    expect(ruleOf(S2, from, to, 2)).toBe(rule);
  });

  it.each([
    ['from not global to global', 0xf5fn, 0x75fn, 'bbm.global'],
    ['from global to not global', 0x75fn, 0xf5fn, undefined],
    ['its NS bit', 0x75fn, 0x77fn, 'bbm.physical-space'],
    ['its AttrIndx to one of the same type', 0x70fn, 0x71fn, undefined],
  ] as const)('for a PL1&0 page that changes %s', (_, from, to, rule) => {
    expect(ruleOf(PL10, from, to, 3)).toBe(rule);
  });

  it('counts NSTable as a move to the other address space', () => {
    expect(ruleOf(PL10, 0x5000_0003n, 0x5000_0003n | (1n << 63n), 2)).toBe('bbm.physical-space');
  });
});

describe('TLB maintenance sequences (DDI 0406C B3.10)', () => {
  const steps = (format: typeof S2, kind: keyof typeof S2.tlbi): string[] =>
    format.tlbi[kind].map((step) => {
      if (step.type === 'tlbi') return `${step.op} ${step.takes}`;
      return step.type === 'dsb' ? `dsb ${step.domain}` : 'isb';
    });

  it('stage 2 has no operation by IPA: all of the VMID goes, as __kvm_tlb_flush_vmid_ipa does it', () => {
    for (const kind of ['leaf', 'table', 'range', 'all'] as const) {
      expect(steps(S2, kind)).toEqual(['dsb ishst', 'TLBIALLIS nothing', 'dsb ish', 'isb']);
    }
    expect(steps(S2, 'leafLocal')).toEqual(['dsb nshst', 'TLBIALL nothing', 'dsb nsh', 'isb']);
  });

  it('stage 1 goes by address, without level hints', () => {
    expect(steps(formatOf('pl2'), 'leaf')).toEqual(['dsb ishst', 'TLBIMVAHIS address', 'dsb ish', 'isb']);
    expect(steps(formatOf('pl2'), 'range')).toEqual(['dsb ishst', 'TLBIALLHIS nothing', 'dsb ish', 'isb']);
    expect(steps(PL10, 'table')).toEqual(['dsb ishst', 'TLBIMVAAIS address', 'dsb ish', 'isb']);
    expect(steps(PL10, 'leafLocal')).toEqual(['dsb nshst', 'TLBIMVAA address', 'dsb nsh', 'isb']);
  });
});
