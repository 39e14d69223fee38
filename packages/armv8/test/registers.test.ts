import type { Registers } from '@granule/contract';
import { stage2Geometry, type Granule } from '@granule/geometry';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { baseAddress, mairMemory, registers } from '../src/index.js';
import { bits, geometryOf, idOf, value } from './support.js';

const word64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

describe('register codec', () => {
  it('gives each field of a register its bits, and encodes them back with RES1 set', () => {
    fc.assert(
      fc.property(fc.constantFrom(...registers.names), word64, (name, word) => {
        const explained = value(registers.explain(name, word));
        expect(explained.reduce((sum, field) => sum | (field.value << BigInt(field.lsb)), 0n)).toBe(word);
        for (const field of explained) expect(Number(field.value), field.name).toBe(bits(word, field.msb, field.lsb));
        const fields = value(registers.decode(name, word));
        const reserved = (kind: string): bigint =>
          explained
            .filter((field) => field.name === kind)
            .reduce((sum, { msb, lsb }) => sum | (((1n << BigInt(msb - lsb + 1)) - 1n) << BigInt(lsb)), 0n);
        expect(value(registers.encode(name, fields))).toBe((word & ~reserved('RES0')) | reserved('RES1'));
        expect(explained.filter(({ meaning }) => meaning === '' || meaning.includes('undefined'))).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses what it does not know or what does not fit', () => {
    expect(idOf(registers.explain('NOSUCH', 0n))).toBe('register.unknown');
    expect(idOf(registers.decode('TCR_EL1', 1n << 64n))).toBe('register.too-wide');
    expect(idOf(registers.decode('TCR_EL1', -1n))).toBe('register.too-wide');
    expect(idOf(registers.encode('TCR_EL1', { T9SZ: 1 }))).toBe('register.unknown-field');
    expect(idOf(registers.encode('TCR_EL1', { T0SZ: 64 }))).toBe('register.value-too-wide');
    expect(idOf(registers.encode('TCR_EL1', { T0SZ: 0.5 }))).toBe('register.value-too-wide');
    expect(idOf(registers.encode('TCR_EL1', { T0SZ: -1n }))).toBe('register.value-too-wide');
  });

  it('reads PAR_EL1 by F and ESR_EL2 by EC', () => {
    expect(value(registers.decode('PAR_EL1', 0xff00_0000_4000_0b80n))).toMatchObject({ ATTR: 0xffn, PA: 0x40000n, SH: 3n, F: 0n });
    expect(value(registers.decode('PAR_EL1', 0xb0fn))).toMatchObject({ F: 1n, FST: 7n, PTW: 1n, S: 1n });
    expect(value(registers.decode('ESR_EL2', 0x9200_0047n))).toMatchObject({ EC: 0x24n, IL: 1n, WnR: 1n, DFSC: 7n });
    expect(value(registers.decode('ESR_EL2', 0x8200_0087n))).toMatchObject({ EC: 0x20n, S1PTW: 1n, IFSC: 7n });
    expect(value(registers.decode('ESR_EL2', 0x6232_1234n))).toMatchObject({ EC: 0x18n, ISS: 0x0032_1234n });
    expect(value(registers.encode('PAR_EL1', { F: 1, FST: 5 }))).toBe(0x80bn);
  });
});

describe('MAIR attributes (DDI 0487, MAIR_EL1.Attr<n>)', () => {
  it.each([
    [0x00, 'device-nGnRnE'],
    [0x04, 'device-nGnRE'],
    [0x08, 'device-nGRE'],
    [0x0c, 'device-GRE'],
    [0x01, 'device-nGnRnE'],
    [0x02, 'reserved'],
    [0x40, 'normal-nc'],
    [0x44, 'normal-nc'],
    [0xa0, 'normal-wt'],
    [0xaa, 'normal-wt'],
    [0xbb, 'normal-wt'],
    [0x33, 'normal-wt'],
    [0xff, 'normal'],
    [0xee, 'normal'],
    [0x77, 'normal'],
    [0xf0, 'normal-tagged'],
    [0xf4, 'normal-wb-nc'],
    [0x4f, 'normal-nc-wb'],
    [0xbf, 'normal-wt-wb'],
    [0x80, 'reserved'],
  ])('0x%s is %s', (byte, memory) => {
    expect(mairMemory(byte)).toBe(memory);
  });
});

const LPA2 = { lpa: true, lpa2: true };
const MACHINE = { vmidBits: 16, haf: true };

describe('VTCR_EL2 and VTTBR_EL2 as KVM writes them', () => {
  it.each([
    ['4K', 40, 48, 0x802d_3558n],
    ['4K', 48, 48, 0x802d_3590n],
    ['16K', 40, 48, 0x802d_b558n],
    ['64K', 40, 48, 0x802d_7558n],
    ['4K', 52, 52, 0x1_802e_358cn],
    ['16K', 52, 52, 0x1_802e_b5ccn],
    ['64K', 52, 52, 0x802e_758cn],
  ] as const)('%s, %i-bit IPA, %i-bit PA', (granule, ipaBits, paBits, vtcr) => {
    const geometry = value(stage2Geometry({ granule, ipaBits, paBits, features: paBits === 52 ? LPA2 : {} }));
    expect(value(registers.encodeStage2({ geometry, features: MACHINE })).vtcr).toBe(vtcr);
  });

  it('VTTBR holds BADDR, and VMID in 63:48; with 52 bits BADDR[51:48] in [5:2]', () => {
    const plain = value(stage2Geometry({ granule: '4K', ipaBits: 40 }));
    expect(value(registers.encodeStage2({ geometry: plain, features: MACHINE, root: 0x440e_a000, vmid: 1 })).vttbr).toBe(
      0x1_0000_440e_a000n,
    );
    const wide = value(stage2Geometry({ granule: '64K', ipaBits: 52, paBits: 52, features: { lpa: true } }));
    expect(value(registers.encodeStage2({ geometry: wide, features: MACHINE, root: 0xa_0000_0001_0000, vmid: 0xffff })).vttbr).toBe(
      0xffff_0000_0001_0028n,
    );
  });

  it('refuses a root off its alignment or beyond its size, and a VMID of more bits than there are', () => {
    const geometry = value(stage2Geometry({ granule: '4K', ipaBits: 40 }));
    expect(idOf(registers.encodeStage2({ geometry, features: MACHINE, root: 0x1000 }))).toBe('registers.root-not-aligned');
    expect(idOf(registers.encodeStage2({ geometry, features: MACHINE, root: 2 ** 48 }))).toBe('registers.root-too-large');
    expect(idOf(registers.encodeStage2({ geometry, features: {}, vmid: 256 }))).toBe('registers.vmid');
  });

  it('comes back from roots as it went in, for every granule and IPA size', () => {
    const ID = { ID_AA64MMFR0_EL1: 0x0000_0333_1020_0006n };
    const sizes = fc
      .constantFrom(...(['4K', '16K', '64K'] as const))
      .chain((granule: Granule) => fc.record({ granule: fc.constant(granule), ipaBits: fc.integer({ min: 32, max: 52 }) }));
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 0, max: 0xffff }),
        fc.integer({ min: 0, max: 2 ** 20 - 1 }),
        ({ granule, ipaBits }, vmid, place) => {
          const geometry = value(stage2Geometry({ granule, ipaBits, paBits: 52, features: { ...LPA2, ttst: true, lva: true } }));
          const root = place * Math.max(64, geometry.entryAlignment);
          const { vtcr, vttbr } = value(registers.encodeStage2({ geometry, features: MACHINE, root, vmid }));
          const [found] = value(registers.roots({ ...ID, VTCR_EL2: vtcr, VTTBR_EL2: vttbr | 1n }, 's2'));
          expect(found.format.geometry).toEqual(geometry);
          expect([found.root, found.vmid]).toEqual([root, vmid]);
        },
      ),
    );
  });
});

describe('roots refuses in one sentence', () => {
  const S2 = { VTCR_EL2: 0x802d_3558n, VTTBR_EL2: 0x4000_0000n };
  const EL1 = { TCR_EL1: 0x2_b519_3518n, TTBR0_EL1: 0x4000_0000n, TTBR1_EL1: 0x5000_0000n };
  it.each<[string, Registers, string, string, string]>([
    ['no stage-2 table', { HCR_EL2: 1n }, 's2', 'registers.not-in-force', 'VTTBR_EL2 and VTCR_EL2 are both 0'],
    ['a reserved TG0', { ...S2, VTCR_EL2: S2.VTCR_EL2 | 0xc000n }, 's2', 'registers.tg-reserved', 'VTCR_EL2.TG0 is 3'],
    ['a reserved PS', { ...S2, VTCR_EL2: S2.VTCR_EL2 | 0x7_0000n }, 's2', 'registers.ps-reserved', 'VTCR_EL2.PS is 7'],
    ['T0SZ out of range', { ...S2, VTCR_EL2: S2.VTCR_EL2 & ~0x3fn }, 's2', 'registers.illegal', 'VTCR_EL2.T0SZ is 0'],
    ['SL0 that does not go with T0SZ', { ...S2, VTCR_EL2: S2.VTCR_EL2 & ~0xc0n }, 's2', 'registers.illegal', 'start level 2'],
    ['a reserved SL0', { ...S2, VTCR_EL2: 0x802d_75d8n }, 's2', 'registers.sl-reserved', 'VTCR_EL2.SL0 is 3'],
    [
      'a base beyond PS',
      { ...S2, VTCR_EL2: S2.VTCR_EL2 & ~0x7_0000n, VTTBR_EL2: 0x1_0000_0000n },
      's2',
      'registers.base-too-large',
      'VTTBR_EL2 names a table at 0x0000000100000000',
    ],
    ['TG1 of 0', { ...EL1, TCR_EL1: EL1.TCR_EL1 & ~(3n << 30n) }, 'el10', 'registers.tg-reserved', 'TCR_EL1.TG1 is 0'],
    ['el2 where E2H is set', { HCR_EL2: 1n << 34n, TCR_EL2: 1n }, 'el2', 'registers.not-in-force', 'E2H is 1'],
    ['el20 where E2H is clear', { HCR_EL2: 0n, TCR_EL2: 1n }, 'el20', 'registers.not-in-force', 'E2H is 0'],
    ['a regime of another backend', S2, 'pl10', 'registers.unknown-regime', 'pl10'],
  ])('%s', (_, values, regime, id, words) => {
    const outcome = registers.roots(values, regime);
    expect(idOf(outcome)).toBe(id);
    expect(outcome.kind === 'done' ? '' : outcome.sentence).toContain(words);
  });

  it('answers not-modelled for 128-bit descriptors', () => {
    expect(registers.roots({ ...S2, VTCR_EL2: S2.VTCR_EL2 | (1n << 38n) }, 's2').kind).toBe('not-modelled');
  });
});

describe('stage-1 roots', () => {
  // 4K, 40-bit lower and 39-bit upper range, 40-bit output as in a real guest (test/data), and 16-bit ASIDs.
  const EL1: Registers = { TCR_EL1: 0x12_b519_3518n, TTBR0_EL1: 0x12_0000_8010_0000n, TTBR1_EL1: 0x34_0000_8010_1001n, SCTLR_EL1: 1n };

  it('leave out a range that EPD switches off', () => {
    const one = value(registers.roots({ ...EL1, TCR_EL1: EL1['TCR_EL1'] | (1n << 23n) }, 'el10'));
    expect(one.map(({ from }) => from)).toEqual(['TTBR0_EL1/TCR_EL1']);
  });

  it('leave out an illegal range whose TTBR is 0, and refuse it otherwise', () => {
    const illegal = EL1['TCR_EL1'] & ~(0x3fn << 16n);
    expect(value(registers.roots({ ...EL1, TCR_EL1: illegal, TTBR1_EL1: 0n }, 'el10'))).toHaveLength(1);
    expect(idOf(registers.roots({ ...EL1, TCR_EL1: illegal }, 'el10'))).toBe('registers.illegal');
  });

  it('take the ASID from the TTBR that A1 names', () => {
    const asids = (tcr: bigint): (number | undefined)[] => value(registers.roots({ ...EL1, TCR_EL1: tcr }, 'el10')).map(({ asid }) => asid);
    const a1 = 1n << 22n;
    expect(asids(EL1['TCR_EL1'] & ~a1)).toEqual([0x12, 0x12]);
    expect(asids(EL1['TCR_EL1'] | a1)).toEqual([0x34, 0x34]);
  });

  it('are at IPAs where stage 2 is on and the host does not own EL0', () => {
    const where = (hcr: bigint): string => value(registers.roots({ ...EL1, HCR_EL2: hcr }, 'el10'))[0].tableAddresses;
    expect(where(0n)).toBe('physical');
    expect(where(1n)).toBe('ipa');
    expect(where(1n | (1n << 34n))).toBe('ipa');
    expect(where(1n | (1n << 34n) | (1n << 27n))).toBe('physical');
  });

  it('mask the bits of BADDR below a small table, and CnP', () => {
    const geometry = { ...geometryOf(1, '4K', false), rootEntries: 2, entryBytes: 16, entryAlignment: 16 };
    expect(baseAddress(0x8010_002fn, geometry)).toBe(0x8010_0020);
    const wide = geometryOf(1, '64K', true);
    expect(baseAddress(0xffff_8000_0001_003dn, { ...wide, entryBytes: 64, entryAlignment: 64 })).toBe(0xf_8000_0001_0000);
  });
});

describe('features from identification registers', () => {
  const of = (values: Registers) => registers.features(values);

  it('of a machine with everything (QEMU max)', () => {
    expect(
      of({
        ID_AA64MMFR0_EL1: 0x2100_0323_1020_1126n,
        ID_AA64MMFR1_EL1: 0x0110_1120_1031_2122n,
        ID_AA64MMFR2_EL1: 0x1221_0111_1201_1011n,
        ID_AA64ISAR0_EL1: 0x1221_1111_1031_2120n,
        ID_AA64ISAR1_EL1: 0x0111_2111_1021_1502n,
        ID_AA64PFR1_EL1: 0x10_1010_1200_0121n,
        CTR_EL0: 0x8444_c004n,
      }),
    ).toEqual({
      paBits: 52,
      granules1: ['4K', '16K', '64K'],
      granules2: ['4K', '16K', '64K'],
      lpa2Granules1: ['4K', '16K'],
      lpa2Granules2: ['4K', '16K'],
      lpa: true,
      lva: true,
      ttst: true,
      xnx: true,
      s2fwb: true,
      ttl: true,
      tlbirange: true,
      hpds: true,
      hpds2: true,
      haf: true,
      hdbs: true,
      pan: true,
      pan3: true,
      e0pd: true,
      vhe: true,
      xs: true,
      cnp: true,
      bti: true,
      bbm: 2,
      idc: false,
      dic: false,
      vmidBits: 16,
      mte: false,
      pauth: true,
      nv: true,
      ras: false,
    });
  });

  it('of a Cortex-A53: no VHE, no 16K, 40 bits', () => {
    expect(of({ ID_AA64MMFR0_EL1: 0x1122n, ID_AA64MMFR1_EL1: 0n, ID_AA64MMFR2_EL1: 0n, ID_AA64ISAR0_EL1: 0x11120n })).toMatchObject({
      paBits: 40,
      granules1: ['4K', '64K'],
      granules2: ['4K', '64K'],
      lpa2Granules1: [],
      lpa: false,
      xnx: false,
      vhe: false,
      ttl: false,
      tlbirange: false,
      vmidBits: 8,
    });
  });

  it('of a set without identification registers: all that a control register could ask for, nothing that saves maintenance', () => {
    expect(of({})).toMatchObject({
      paBits: 52,
      lpa2Granules2: ['4K', '16K'],
      ttst: true,
      xnx: true,
      ttl: false,
      tlbirange: false,
      bbm: 0,
      idc: false,
      dic: false,
      s2fwb: false,
    });
    expect(of({ HCR_EL2: 1n << 46n }).s2fwb).toBe(true);
  });
});
