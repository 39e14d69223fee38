import { describe, expect, it } from 'vitest';
import {
  alignDown, alignUp, bigintHigh, bigintLow, checkAddress, fieldOf, formatSize, fromHalves, hex, high32, isAligned, low32, MAX_ADDRESS,
  parseAddress, parseSize, parseWord, pow2, shiftDown, toBigint,
} from '../src/bits/index.js';
import { random } from './random.js';

const CASES = 100_000;
const SEED = 0x9e3779b9;

const EDGES = [
  0, 1, 0xfff, 0x1000, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 2 ** 40 + 0x123000, 2 ** 48 - 1,
  2 ** 48, 2 ** 50, 2 ** 51 + 2 ** 31, 2 ** 52 - 4096, 2 ** 52 - 1, 2 ** 52,
];

/** Addresses of every magnitude, 10^5 at random and the edges. */
function* addresses(): Generator<number> {
  yield* EDGES;
  const below = random(SEED);
  for (let i = 0; i < CASES; i += 1) yield below(2 ** (1 + (i % 52)));
}

type Fast = (...numbers: number[]) => unknown;
type Twin = (...numbers: bigint[]) => unknown;

/** Says the first case in which two functions differ. */
function differs(cases: Iterable<readonly number[]>, fast: Fast, twin: Twin): string | undefined {
  for (const each of cases) {
    const got = fast(...each);
    const want = twin(...each.map(BigInt));
    const equal = typeof got === 'number' ? BigInt(got) === want : got === want;
    if (!equal) return `(${each.join(', ')}): ${String(got)}, its twin says ${String(want)} (seed ${SEED})`;
  }
  return undefined;
}

function* withShifts(): Generator<readonly number[]> {
  for (const edge of EDGES) for (let shift = 0; shift <= 52; shift += 1) yield [edge, shift];
  let shift = 0;
  for (const address of addresses()) yield [address, (shift = (shift + 7) % 53)];
}

function* withFields(): Generator<readonly number[]> {
  for (const edge of EDGES) {
    for (let shift = 0; shift <= 52; shift += 1) for (const bits of [1, 9, 11, 13, 16, 30, 31]) yield [edge, shift, bits];
  }
  const below = random(SEED + 1);
  for (const address of addresses()) yield [address, below(53), 1 + below(31)];
}

function* withHalves(): Generator<readonly number[]> {
  for (const lo of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) for (const hi of [0, 1, 0xf_ffff, 0x1f_ffff]) yield [lo, hi];
  const below = random(SEED + 2);
  for (let i = 0; i < CASES; i += 1) yield [below(2 ** 32), below(2 ** 21)];
}

const single = () => Array.from(addresses(), (address) => [address]);

describe('each function agrees with its bigint twin', () => {
  it('low32', () => {
    expect(differs(single(), low32, (a) => a & 0xffff_ffffn)).toBeUndefined();
  });
  it('high32', () => {
    expect(differs(single(), high32, (a) => a >> 32n)).toBeUndefined();
  });
  it('fromHalves', () => {
    expect(differs(withHalves(), fromHalves, (lo, hi) => (hi << 32n) | lo)).toBeUndefined();
  });
  it('alignDown', () => {
    expect(differs(withShifts(), alignDown, (a, shift) => (a >> shift) << shift)).toBeUndefined();
  });
  it('alignUp', () => {
    expect(differs(withShifts(), alignUp, (a, shift) => ((a + (1n << shift) - 1n) >> shift) << shift)).toBeUndefined();
  });
  it('isAligned', () => {
    expect(differs(withShifts(), isAligned, (a, shift) => a % (1n << shift) === 0n)).toBeUndefined();
  });
  it('shiftDown', () => {
    expect(differs(withShifts(), shiftDown, (a, shift) => a >> shift)).toBeUndefined();
  });
  it('fieldOf', () => {
    expect(differs(withFields(), fieldOf, (a, shift, bits) => (a >> shift) & ((1n << bits) - 1n))).toBeUndefined();
  });
  it('pow2', () => {
    const exponents = Array.from({ length: 53 }, (_, n) => [n]);
    expect(differs(exponents, pow2, (n) => 1n << n)).toBeUndefined();
  });
  it('toBigint, bigintLow, bigintHigh', () => {
    const below = random(SEED + 3);
    for (let i = 0; i < CASES; i += 1) {
      const [lo, hi] = [below(2 ** 32), below(2 ** 32)];
      const word = BigInt(`0x${hi.toString(16).padStart(8, '0')}${lo.toString(16).padStart(8, '0')}`);
      if (toBigint(lo, hi) !== word || bigintLow(word) !== lo || bigintHigh(word) !== hi) expect.fail(`word ${word} (seed ${SEED + 3})`);
    }
  });
  it('hex and parseAddress', () => {
    for (const address of addresses()) {
      const text = `0x${BigInt(address).toString(16).padStart(16, '0')}`;
      const equal = hex(address) === text && parseAddress(text) === address && parseAddress(`${address}`) === address;
      if (!equal) expect.fail(`${text} (seed ${SEED})`);
    }
  });
});

describe('the traps of 32-bit operators', () => {
  it('shifting 2^40 + 0x123000 right by 12 keeps the high bits, where >> answers 291', () => {
    expect((2 ** 40 + 0x123000) >> 12).toBe(291);
    expect(shiftDown(2 ** 40 + 0x123000, 12)).toBe(2 ** 28 + 291);
  });
  it('aligning down keeps what is above bit 31, where & ~0xfff drops it', () => {
    expect((2 ** 40 + 0x123456) & ~0xfff).toBe(0x123000);
    expect(alignDown(2 ** 40 + 0x123456, 12)).toBe(2 ** 40 + 0x123000);
  });
  it('a half with bit 31 set is unsigned, where | makes it negative', () => {
    expect(0 | 0x8000_0000).toBe(-(2 ** 31));
    expect(low32(2 ** 40 + 0x8000_0000)).toBe(0x8000_0000);
    expect(fromHalves(-1, 0)).toBe(0xffff_ffff);
    expect(toBigint(-1, -1)).toBe(0xffff_ffff_ffff_ffffn);
  });
  it('2^53 + 1 is refused at the edge, where Number rounds it', () => {
    expect(Number(2n ** 53n + 1n)).toBe(2 ** 53);
    expect(parseAddress('0x20000000000001')).toBeUndefined();
    expect(checkAddress(Number(2n ** 53n + 1n))).toBe(false);
  });
});

describe('checkAddress', () => {
  it('takes the integers from 0 to 2^52, the end of a 52-bit space included', () => {
    expect([0, 1, 2 ** 52 - 1, MAX_ADDRESS].map(checkAddress)).toEqual([true, true, true, true]);
    expect([-1, 0.5, 2 ** 52 + 1, NaN, Infinity].map(checkAddress)).toEqual([false, false, false, false, false]);
    expect(MAX_ADDRESS).toBe(2 ** 52);
  });
});

describe('text', () => {
  it('prints 16 digits or as many as asked for, and never cuts', () => {
    expect(hex(0)).toBe('0x0000000000000000');
    expect(hex(0xffff_8000_0000_0000n)).toBe('0xffff800000000000');
    expect(hex(0x12345, 3)).toBe('0x12345');
  });
  it('reads hexadecimal and decimal, grouped by single underscores', () => {
    expect(parseAddress('0x70_0000_0000')).toBe(0x7000000000);
    expect(parseAddress('1_000')).toBe(1000);
    expect(parseAddress('0XFF')).toBe(255);
    const bad = ['', ' 1', '0x', '_1', '1_', '1__0', '0x_1', '-1', '1.5', '1e3', 'ff', '4K'];
    for (const each of bad) expect(parseAddress(each)).toBeUndefined();
    expect(parseAddress('0x10000000000000')).toBe(2 ** 52);
    expect(parseAddress('0x10000000000001')).toBeUndefined();
  });
  it('reads words of 64 bits', () => {
    expect(parseWord('0xffff_8000_0000_0000')).toBe(0xffff_8000_0000_0000n);
    expect(parseWord('18446744073709551615')).toBe(2n ** 64n - 1n);
    expect(parseWord('18446744073709551616')).toBeUndefined();
  });
  it('reads and prints sizes in the largest binary unit that divides them', () => {
    const sizes = [
      ['0', 0], ['1', 1], ['1536', 1536], ['4K', 4096], ['2M', 2097152], ['1G', 1073741824], ['512G', 549755813888], ['4096T', 2 ** 52],
    ] as const;
    for (const [text, bytes] of sizes) {
      expect(parseSize(text)).toBe(bytes);
      expect(formatSize(bytes)).toBe(text);
    }
    expect(parseSize('2m')).toBe(2097152);
    expect(parseSize('0x1000')).toBe(4096);
    for (const bad of ['K', '0x1K', '1KB', '1.5G', '4097T', '1P']) expect(parseSize(bad)).toBeUndefined();
  });
});
