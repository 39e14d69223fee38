import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { instructions, rangeParts } from '../src/index.js';
import { idOf, value } from './support.js';

const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

describe('operands', () => {
  it('name every TLBI in its six forms', () => {
    for (const name of [
      'VAE1',
      'VALE1',
      'VAAE1',
      'VAALE1',
      'VAE2',
      'VALE2',
      'ASIDE1',
      'VMALLE1',
      'VMALLS12E1',
      'ALLE1',
      'ALLE2',
      'IPAS2E1',
      'IPAS2LE1',
      'RVAE1',
      'RIPAS2E1',
    ]) {
      for (const suffix of ['', 'IS', 'OS', 'NXS', 'ISNXS', 'OSNXS']) expect(instructions.names).toContain(name + suffix);
    }
  });

  it('come back as they went in, bits outside the fields dropped', () => {
    fc.assert(
      fc.property(fc.constantFrom(...instructions.names), word64, (name, word) => {
        const fields = value(instructions.decode(name, word));
        const again = value(instructions.encode(name, fields));
        expect(value(instructions.decode(name, again))).toEqual(fields);
        expect(again & ~word).toBe(0n);
        const explained = value(instructions.explain(name, word));
        expect(explained.reduce((bits, { msb, lsb }) => bits + msb - lsb + 1, 0)).toBe(64);
        expect(explained.filter(({ meaning }) => meaning === '' || meaning.includes('undefined'))).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['VAE1IS', { VA: 0x7f_1234_5000n, ASID: 0x12, TTL: 0x7 }, 0x0012_7000_07f1_2345n],
    ['VAALE1IS', { VA: 0xffff_8000_1234_5fffn }, 0x0000_0ff8_0001_2345n],
    ['IPAS2E1IS', { IPA: 0xf_1234_5678_9000n, TTL: 0x6 }, 0x0000_60f1_2345_6789n],
    ['ASIDE1IS', { ASID: 0xffff }, 0xffff_0000_0000_0000n],
    ['VMALLE1IS', {}, 0n],
    ['RIPAS2E1IS', { TG: 1, SCALE: 1, NUM: 31, TTL: 0, BaseADDR: 0x12345 }, 0x5f80_0001_2345n],
    ['CISW', { SetWay: 0x100, Level: 1 }, 0x1002n],
    ['S12E1R', { VA: 0xffff_8000_0000_1234n }, 0xffff_8000_0000_1234n],
  ] as const)('%s %o (DDI 0487 C5)', (name, fields, operand) => {
    expect(value(instructions.encode(name, fields))).toBe(operand);
  });

  it('refuse what they do not have', () => {
    expect(idOf(instructions.encode('VAE9', {}))).toBe('instruction.unknown');
    expect(idOf(instructions.encode('VMALLE1IS', { VA: 0 }))).toBe('instruction.unknown-field');
    expect(idOf(instructions.encode('IPAS2E1IS', { IPA: 1n << 52n }))).toBe('instruction.value-too-wide');
    expect(idOf(instructions.encode('VAE1', { ASID: 0x10000 }))).toBe('instruction.value-too-wide');
    expect(idOf(instructions.encode('VAE1', { VA: -1n }))).toBe('instruction.value-too-wide');
    expect(idOf(instructions.explain('VAE1', 1n << 64n))).toBe('instruction.value-too-wide');
  });
});

describe('range invalidation (Linux __flush_tlb_range_op)', () => {
  const PAGE = { '4K': 4096, '16K': 16384, '64K': 65536 } as const;
  const ranges = fc.record({
    granule: fc.constantFrom('4K' as const, '16K' as const, '64K' as const),
    lpa2: fc.boolean(),
    first: fc.integer({ min: 0, max: 2 ** 30 }),
    pages: fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 2 ** 21 })),
  });

  it('covers the range exactly, in order, with encodable operands', () => {
    fc.assert(
      fc.property(ranges, ({ granule, lpa2, first, pages }) => {
        const page = PAGE[granule];
        let next = first * page;
        for (const { start, bytes, scale, num, base } of rangeParts(granule, lpa2, first * page, pages * page)) {
          expect(start).toBe(next);
          next += bytes;
          if (scale === undefined || num === undefined || base === undefined) {
            expect(bytes).toBe(page);
            continue;
          }
          expect(bytes).toBe((num + 1) * 2 ** (5 * scale + 1) * page);
          expect(base * (lpa2 ? 65536 : page)).toBe(start);
          expect(idOf(instructions.encode('RIPAS2E1IS', { SCALE: scale, NUM: num, BaseADDR: base }))).toBe('done');
        }
        expect(next).toBe((first + pages) * page);
      }),
    );
  });

  it('takes at most 20 operations: with LPA2 up to 15 pages come first, alone', () => {
    fc.assert(
      fc.property(ranges, ({ granule, lpa2, first, pages }) => {
        expect(rangeParts(granule, lpa2, first * PAGE[granule], pages * PAGE[granule]).length).toBeLessThanOrEqual(lpa2 ? 20 : 5);
      }),
    );
    expect(
      rangeParts('4K', true, 0x1000, 0x10_0000)
        .slice(0, 16)
        .map(({ scale }) => scale),
    ).toEqual([...new Array<undefined>(15).fill(undefined), 1]);
  });

  it('refuses a part of a page and more than 2^21 pages', () => {
    expect(() => rangeParts('16K', false, 4096, 16384)).toThrow('whole pages');
    expect(() => rangeParts('4K', false, 0, 2 ** 33 + 4096)).toThrow('2^21');
  });
});
