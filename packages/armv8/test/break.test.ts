import { ENTRY } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CASES, formatOf, geometryOf, halves, LEVELS, MAIR } from './support.js';

const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const anyCase = fc.constantFrom(...CASES);

const S2 = formatOf('s2', { geometry: geometryOf(2, '4K', false), features: { xnx: true } });
const EL10 = formatOf('el10', { geometry: geometryOf(1, '4K', false), mair: MAIR });
const bbm = (level: number) => formatOf('s2', { geometry: geometryOf(2, '4K', false), features: { bbm: level } });

/** The rule for a change of one entry, words as bigint. */
function ruleOf(format: typeof S2, from: bigint, to: bigint, level: -1 | 0 | 1 | 2 | 3): string | undefined {
  const [a, b] = [halves(from), halves(to)];
  return format.mustBreak(a.lo, a.hi, b.lo, b.hi, level)?.id;
}

describe('mustBreak (DDI 0487 D8.17.1)', () => {
  const page = 0x0040_0000_4077_27ffn;

  it('is total, and silent where the old or the new entry is invalid or nothing changes', () => {
    fc.assert(
      fc.property(anyCase, word64, word64, fc.constantFrom(...LEVELS), ({ format }, from, to, level) => {
        const [a, b] = [halves(from), halves(to)];
        const rule = format.mustBreak(a.lo, a.hi, b.lo, b.hi, level);
        const valid = format.kind(a.lo, a.hi, level) >= ENTRY.leaf && format.kind(b.lo, b.hi, level) >= ENTRY.leaf;
        if (!valid) expect(rule).toBeUndefined();
        if (rule !== undefined)
          expect(rule).toMatchObject({
            id: expect.stringMatching(/^bbm\./) as string,
            clause: expect.stringContaining('DDI 0487') as string,
          });
        expect(format.mustBreak(a.lo, a.hi, a.lo, a.hi, level)).toBeUndefined();
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['the output address', page ^ 0x1000n, 'bbm.output-address'],
    ['the memory type', page ^ 0x8n, 'bbm.memory-type'],
    ['the shareability', page ^ 0x100n, 'bbm.shareability'],
    ['the Contiguous bit', page ^ (1n << 52n), 'bbm.contiguous'],
    ['read permission', page ^ 0x40n, undefined],
    ['write permission', page ^ 0x80n, undefined],
    ['execute permission', page ^ (1n << 54n), undefined],
    ['the access flag', page ^ 0x400n, undefined],
    ['DBM', page ^ (1n << 51n), undefined],
    ['software bits', page ^ (0xfn << 55n), undefined],
    ['everything: it becomes invalid', 0n, undefined],
    ['everything: it becomes locked', 1n << 60n, undefined],
  ])('for a stage-2 page that changes %s', (_, to, rule) => {
    expect(ruleOf(S2, page, to, 3)).toBe(rule);
  });

  it('does not let a block become a table, or a table a block, without FEAT_BBM', () => {
    expect(ruleOf(S2, 0x4000_07fdn, 0x5000_0003n, 2)).toBe('bbm.block-size');
    expect(ruleOf(S2, 0x5000_0003n, 0x4000_07fdn, 2)).toBe('bbm.block-size');
  });

  it.each([
    [0, 'bbm.block-size', 'bbm.block-size', 'bbm.contiguous'],
    [1, 'bbm.block-size', undefined, undefined],
    [2, undefined, undefined, undefined],
  ])('with FEAT_BBM level %i: block to table, with nT to table, Contiguous (DDI 0487 D8.17.2)', (level, plain, withNt, contiguous) => {
    const block = 0x4000_07fdn;
    expect(ruleOf(bbm(level), block, 0x5000_0003n, 2)).toBe(plain);
    expect(ruleOf(bbm(level), block | (1n << 16n), 0x5000_0003n, 2)).toBe(withNt);
    expect(ruleOf(bbm(level), 0x5000_0003n, block | (1n << 16n), 2)).toBe(withNt);
    expect(ruleOf(bbm(level), block, block | (1n << 52n), 2)).toBe(contiguous);
  });

  it('does not let a table entry point elsewhere, but lets its permissions change', () => {
    expect(ruleOf(EL10, 0x5000_0003n, 0x5000_1003n, 1)).toBe('bbm.table-address');
    expect(ruleOf(EL10, 0x5000_0003n, 0x5000_0003n | (0b1111n << 59n), 1)).toBeUndefined();
    expect(ruleOf(EL10, 0x5000_0003n, 0x5000_0003n | (1n << 63n), 1)).toBe('bbm.physical-space');
  });

  it('does not let a non-global leaf become global, but the other way round', () => {
    expect(ruleOf(EL10, page | 0x800n, page & ~0x800n, 3)).toBe('bbm.global');
    expect(ruleOf(EL10, page & ~0x800n, page | 0x800n, 3)).toBeUndefined();
  });

  it('does not take another index of the same memory type for another memory type', () => {
    const same = formatOf('el10', { geometry: geometryOf(1, '4K', false), mair: 0xff_ffn });
    expect(ruleOf(same, 0x703n, 0x707n, 3)).toBeUndefined();
    expect(ruleOf(EL10, 0x703n, 0x707n, 3)).toBe('bbm.memory-type');
    expect(ruleOf(formatOf('el10', { geometry: geometryOf(1, '4K', false) }), 0x703n, 0x707n, 3)).toBe('bbm.memory-type');
  });
});

describe('TLB maintenance (Linux __kvm_tlb_flush_vmid_ipa)', () => {
  const text = (steps: readonly { type: string; op?: string; domain?: string; takes?: string }[]): string =>
    steps.map(({ type, op, domain, takes }) => [type, op ?? domain ?? '', takes ?? ''].filter((part) => part !== '').join(' ')).join('; ');

  it('of stage 2 goes by IPA, waits, and then drops all of stage 1 of the VMID', () => {
    const { tlbi } = formatOf('s2', { geometry: geometryOf(2, '4K', false), features: { ttl: true, tlbirange: true } });
    expect(text(tlbi.leaf)).toBe('dsb ishst; tlbi IPAS2E1IS address-and-level; dsb ish; tlbi VMALLE1IS nothing; dsb ish; isb');
    expect(text(tlbi.leafLocal)).toBe('dsb nshst; tlbi IPAS2E1 address; dsb nsh; tlbi VMALLE1 nothing; dsb nsh; isb');
    expect(text(tlbi.table)).toBe('dsb ishst; tlbi IPAS2E1IS address; dsb ish; tlbi VMALLE1IS nothing; dsb ish; isb');
    expect(text(tlbi.range)).toBe('dsb ishst; tlbi RIPAS2E1IS range; dsb ish; tlbi VMALLE1IS nothing; dsb ish; isb');
    expect(text(tlbi.all)).toBe('dsb ishst; tlbi VMALLS12E1IS nothing; dsb ish; isb');
  });

  it('without FEAT_TTL gives no level, without FEAT_TLBIRANGE drops the VMID for any range', () => {
    expect(text(S2.tlbi.leaf)).toContain('IPAS2E1IS address;');
    expect(S2.tlbi.range).toBe(S2.tlbi.all);
  });

  it('of EL2 is by last level for leaves and by any level for tables', () => {
    const { tlbi } = formatOf('el2', { geometry: geometryOf(1, '4K', false), features: { ttl: true } });
    expect(text(tlbi.leaf)).toBe('dsb ishst; tlbi VALE2IS address-and-level; dsb ish; isb');
    expect(text(tlbi.table)).toBe('dsb ishst; tlbi VAE2IS address; dsb ish; isb');
    expect(text(tlbi.all)).toBe('dsb ishst; tlbi ALLE2IS nothing; dsb ish; isb');
  });
});
