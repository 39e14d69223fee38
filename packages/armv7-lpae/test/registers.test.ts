import type { Registers } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KVM_ARM_STAGE2, registers } from '../src/index.js';
import { bits, formatOf, idOf, STAGE1, STAGE2, value } from './support.js';

const width = (name: string): number => registers.layout(name)![0].msb + 1;

describe('register codec', () => {
  it('gives each field of a register its bits, and encodes them back with RES1 set', () => {
    const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    fc.assert(
      fc.property(fc.constantFrom(...registers.names), word, (name, random) => {
        const each = BigInt.asUintN(width(name), random);
        const explained = value(registers.explain(name, each));
        expect(explained.reduce((sum, field) => sum | (field.value << BigInt(field.lsb)), 0n)).toBe(each);
        for (const field of explained) expect(Number(field.value), field.name).toBe(bits(each, field.msb, field.lsb));
        const reserved = (kind: string): bigint =>
          explained
            .filter((field) => field.name === kind)
            .reduce((sum, { msb, lsb }) => sum | (((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(lsb)), 0n);
        expect(value(registers.encode(name, value(registers.decode(name, each))))).toBe((each & ~reserved('RES0')) | reserved('RES1'));
        expect(explained.filter(({ meaning }) => meaning === '' || meaning.includes('undefined'))).toEqual([]);
      }),
      { numRuns: 1500 },
    );
  });

  it('gives every bit to exactly one field, each with its clause', () => {
    for (const name of registers.names) {
      let next = width(name) - 1;
      for (const { msb, lsb, clause } of registers.layout(name)!) {
        expect(msb, name).toBe(next);
        expect(clause).toContain('DDI 0406C B4.1');
        next = lsb - 1;
      }
      expect(next, name).toBe(-1);
    }
  });

  it('has 64 bits for base registers and PAR, 32 for all others', () => {
    expect(registers.names.filter((name) => width(name) === 64)).toEqual(['TTBR0', 'TTBR1', 'HTTBR', 'VTTBR', 'PAR']);
  });

  it('refuses what it does not know or what does not fit', () => {
    expect(idOf(registers.explain('TCR_EL1', 0n))).toBe('register.unknown');
    expect(idOf(registers.decode('TTBCR', 1n << 32n))).toBe('register.too-wide');
    expect(idOf(registers.decode('TTBR0', 1n << 64n))).toBe('register.too-wide');
    expect(idOf(registers.encode('TTBCR', { EAE: 1, T9SZ: 1 }))).toBe('register.unknown-field');
    expect(idOf(registers.encode('TTBCR', { EAE: 1, T0SZ: 8 }))).toBe('register.value-too-wide');
    expect(idOf(registers.encode('NOSUCH', {}))).toBe('register.unknown');
  });

  it('reads TTBCR by EAE, DFSR by LPAE, PAR by F and HSR by EC', () => {
    expect(value(registers.decode('TTBCR', 0xb540_3587n))).toMatchObject({ EAE: 1n, A1: 1n, T1SZ: 0n, EPD0: 1n, T0SZ: 7n, SH1: 3n });
    expect(value(registers.decode('TTBCR', 0x5n))).toEqual({ EAE: 0n, PD1: 0n, PD0: 0n, N: 5n });
    expect(value(registers.decode('DFSR', 0xa06n))).toEqual({ CM: 0n, ExT: 0n, WnR: 1n, LPAE: 1n, STATUS: 6n });
    expect(value(registers.decode('IFSR', 0x407n))).toMatchObject({ LPAE: 0n, 'FS[4]': 1n, 'FS[3:0]': 7n });
    expect(value(registers.decode('PAR', 0xff00_0040_1234_5b80n))).toMatchObject({ ATTR: 0xffn, PA: 0x4012345n, SH: 3n, F: 0n });
    expect(value(registers.decode('PAR', 0xb0fn))).toMatchObject({ F: 1n, FST: 7n, S2WLK: 1n, FSTAGE: 1n, LPAE: 1n });
    expect(value(registers.decode('HSR', 0x9200_0047n))).toMatchObject({ EC: 0x24n, IL: 1n, WnR: 1n, DFSC: 7n });
    expect(value(registers.decode('HSR', 0x8200_0087n))).toMatchObject({ EC: 0x20n, S1PTW: 1n, IFSC: 7n });
  });

  it('reads T0SZ of VTCR as signed', () => {
    const meaning = (vtcr: bigint): string => value(registers.explain('VTCR', vtcr)).find(({ name }) => name === 'T0SZ')!.meaning;
    expect(meaning(0x8000_3558n)).toBe('40-bit input: T0SZ is -8');
    expect(meaning(0x8000_3507n)).toBe('25-bit input: T0SZ is 7');
  });
});

describe('MAIR attributes (DDI 0406C B4.1, MAIR0)', () => {
  it.each([
    [0x00, 'device-nGnRnE'],
    [0x04, 'device-nGnRE'],
    [0x08, 'device-nGRE'],
    [0x02, 'reserved'],
    [0x44, 'normal-nc'],
    [0xaa, 'normal-wt'],
    [0xee, 'normal'],
    [0x4f, 'normal-nc-wb'],
    [0xf4, 'normal-wb-nc'],
    [0xf0, 'reserved'],
    [0x40, 'reserved'],
  ])('0x%s is %s', (byte, memory) => {
    expect(formatOf('pl10', { mair: BigInt(byte) }).decodeLeaf(0b11, 0, 3).memory).toBe(memory);
  });
});

describe('VTCR and VTTBR', () => {
  it("KVM's: T0SZ field 8, S 1, SL0 1, BADDR from bit 13", () => {
    const { geometry } = KVM_ARM_STAGE2;
    const made = value(registers.encodeStage2({ geometry, features: {}, root: 0x8_8000_2000, vmid: 0xab }));
    expect(made).toEqual({ vtcr: 0x8000_3558n, vttbr: 0x00ab_0008_8000_2000n });
    expect(idOf(registers.encodeStage2({ geometry, features: {}, root: 0x1000 }))).toBe('registers.root-not-aligned');
    expect(idOf(registers.encodeStage2({ geometry, features: {}, root: 2 ** 40 }))).toBe('registers.root-too-large');
    expect(idOf(registers.encodeStage2({ geometry, features: {}, vmid: 256 }))).toBe('registers.vmid');
    expect(idOf(registers.encodeStage2({ geometry, features: {}, ha: true }))).toBe('registers.no-ha');
    expect(idOf(registers.encodeStage2({ geometry: STAGE1[0], features: {} }))).toBe('registers.not-stage-2');
  });

  it('name the table that they were made for, for every IPA size and start level', () => {
    for (const geometry of STAGE2) {
      const { vtcr, vttbr } = value(registers.encodeStage2({ geometry, features: {}, root: geometry.entryAlignment * 3, vmid: 5 }));
      const [found] = value(registers.roots({ VTCR: vtcr, VTTBR: vttbr }, 's2'));
      expect(found).toMatchObject({ regime: 's2', upper: false, root: geometry.entryAlignment * 3, vmid: 5, from: 'VTTBR/VTCR' });
      expect(found.format.geometry).toEqual(geometry);
    }
  });

  it.each([
    [0x8000_3598n, 'registers.sl-reserved'], // SL0 = 2
    [0x8000_3548n, 'registers.illegal'], // S = 0 with T0SZ = -8
    [0x8000_3518n, 'registers.illegal'], // 40 bits from level 2: 512 tables
    [0x8000_3542n, 'registers.illegal'], // 30 bits from level 1
  ])('VTCR 0x%s is refused', (VTCR, id) => {
    expect(idOf(registers.roots({ VTCR, VTTBR: 0n }, 's2'))).toBe(id);
  });
});

const EAE = 1n << 31n;

describe('stage 1 of PL1&0 (DDI 0406C B3.6, Selecting between TTBR0 and TTBR1)', () => {
  const found = (registerValues: Registers): unknown[] =>
    value(registers.roots(registerValues, 'pl10')).map(({ upper, root, format: { geometry } }) => [
      upper,
      root,
      geometry.iaBits,
      geometry.startLevel,
    ]);
  const TTBR0 = 0x0012_0001_0000_0fe0n;
  const TTBR1 = 0x0034_0002_0000_1fe0n;

  it.each([
    [0, 0, [[false, 0x1_0000_0fe0, 32, 1]]],
    [1, 0, [[false, 0x1_0000_0fe0, 31, 1], [true, 0x2_0000_1fe0, 32, 1]]],
    [7, 0, [[false, 0x1_0000_0f80, 25, 2], [true, 0x2_0000_1fe0, 32, 1]]],
    [0, 3, [[false, 0x1_0000_0fe0, 32, 1], [true, 0x2_0000_1800, 29, 2]]],
    [2, 2, [[false, 0x1_0000_0000, 30, 2], [true, 0x2_0000_1000, 30, 2]]],
  ] as const)('T0SZ %i, T1SZ %i', (t0sz, t1sz, expected) => {
    expect(found({ TTBCR: EAE | (BigInt(t1sz) << 16n) | BigInt(t0sz), TTBR0, TTBR1 })).toEqual(expected);
  });

  it('TTBR1 with T1SZ 0 translates what T0SZ leaves of its 4 GiB, in every other case all of its table', () => {
    const rangeOf = (t0sz: bigint, t1sz: bigint): unknown =>
      value(registers.roots({ TTBCR: EAE | (t1sz << 16n) | t0sz, TTBR0, TTBR1 }, 'pl10')).at(-1)!.range;
    expect(rangeOf(7n, 0n)).toEqual({ start: 0x0200_0000, end: 2 ** 32 });
    expect(rangeOf(1n, 0n)).toEqual({ start: 0x8000_0000, end: 2 ** 32 });
    expect(rangeOf(7n, 1n)).toBeUndefined();
    expect(rangeOf(0n, 0n)).toBeUndefined();
    expect(rangeOf(0n, 3n)).toBeUndefined();
  });

  it('leaves out a range that EPD0 or EPD1 switches off, and takes the ASID of the TTBR that A1 names', () => {
    const both = { TTBR0, TTBR1 };
    expect(found({ TTBCR: EAE | 0x2_0002n | (1n << 7n), ...both })).toHaveLength(1);
    expect(idOf(registers.roots({ TTBCR: EAE | (1n << 7n), ...both }, 'pl10'))).toBe('registers.not-in-force');
    expect(value(registers.roots({ TTBCR: EAE, ...both }, 'pl10'))[0].asid).toBe(0x12);
    expect(value(registers.roots({ TTBCR: EAE | (1n << 22n), ...both }, 'pl10'))[0].asid).toBe(0x34);
  });

  it('has its tables at IPAs where stage 2 is on, and none with SCTLR.M clear', () => {
    expect(value(registers.roots({ TTBCR: EAE, TTBR0, HCR: 1n }, 'pl10'))[0].tableAddresses).toBe('ipa');
    expect(value(registers.roots({ TTBCR: EAE, TTBR0, SCTLR: 1n }, 'pl10'))[0].tableAddresses).toBe('physical');
    expect(idOf(registers.roots({ TTBCR: EAE, TTBR0, SCTLR: 0n }, 'pl10'))).toBe('registers.not-in-force');
  });

  it('does not model short descriptors', () => {
    expect(registers.roots({ TTBCR: 0n, TTBR0 }, 'pl10').kind).toBe('not-modelled');
  });

  it('takes memory types from MAIR0 and MAIR1', () => {
    const [{ format }] = value(registers.roots({ TTBCR: EAE, TTBR0, MAIR0: 0xeeaa_4400n, MAIR1: 0xff00_0004n }, 'pl10'));
    expect([0, 1, 2, 3, 4, 7].map((index) => format.decodeLeaf(3 | (index << 2), 0, 3).memory)).toEqual([
      'device-nGnRnE',
      'normal-nc',
      'normal-wt',
      'normal',
      'device-nGnRE',
      'normal',
    ]);
  });
});

describe('PL2', () => {
  it.each([
    [0, 32, 1, 0x4012_3fe0],
    [1, 31, 1, 0x4012_3ff0],
    [4, 28, 2, 0x4012_3c00],
    [7, 25, 2, 0x4012_3f80],
  ])('HTCR.T0SZ %i', (t0sz, iaBits, startLevel, root) => {
    const [found] = value(registers.roots({ HTCR: BigInt(t0sz), HTTBR: 0x4012_3ff0n }, 'pl2'));
    expect(found).toMatchObject({ regime: 'pl2', root, from: 'HTTBR/HTCR', tableAddresses: 'physical' });
    expect(found.format.geometry).toMatchObject({ iaBits, startLevel });
  });

  it('is off with HSCTLR.M clear', () => {
    expect(idOf(registers.roots({ HTTBR: 0x4000n, HSCTLR: 0n }, 'pl2'))).toBe('registers.not-in-force');
    expect(idOf(registers.roots({}, 'el2'))).toBe('registers.unknown-regime');
  });
});
