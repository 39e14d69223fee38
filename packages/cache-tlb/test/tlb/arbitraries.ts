import type { TlbEntry, TlbQuery, TlbRegime, TlbStage } from '@granule/contract';
import type { Level } from '@granule/geometry';
import fc from 'fast-check';

/** Few tags and few addresses, so that entries meet invalidations. */
export const vmids = fc.constantFrom(1, 2);
export const asids = fc.constantFrom(3, 4);

/** Some pages from the start of a few gigabytes, the same just below 2^48 and at the top of the upper range. */
export const pages = fc
  .record({ base: fc.constantFrom(0, 2 ** 30, 2 ** 48 - 2 ** 22, 2 ** 53 - 2 ** 48, 2 ** 53 - 2 ** 22), page: fc.nat({ max: 1023 }) })
  .map(({ base, page }) => base + page * 4096);

interface Shape {
  readonly regime: TlbRegime;
  readonly stage: TlbStage;
}

const shapes = fc.constantFrom<Shape>(
  { regime: 'el10', stage: 'stage1' },
  { regime: 'el10', stage: 'stage2' },
  { regime: 'el10', stage: 'combined' },
  { regime: 'el20', stage: 'stage1' },
  { regime: 'el2', stage: 'stage1' },
);

const spanShift = (pageShift: number, level: number): number => pageShift + (pageShift - 3) * (3 - level);

export const entries: fc.Arbitrary<TlbEntry> = fc
  .record({
    shape: shapes,
    kind: fc.constantFrom('leaf' as const, 'leaf' as const, 'table' as const),
    vmid: vmids,
    asid: fc.oneof(asids, fc.constant(-1)),
    pageShift: fc.constantFrom(12, 12, 14, 16),
    level: fc.constantFrom<Level>(1, 2, 3),
    page: pages,
    smaller: fc.constantFrom(0, 0, 3, 9),
    contiguous: fc.constantFrom(false, false, true),
    output: fc.nat({ max: 3 }),
    permissions: fc.constantFrom(1, 3),
  })
  .map(({ shape: { regime, stage }, kind, page, output, ...rest }) => {
    const level: Level = kind === 'table' && rest.level === 3 ? 2 : rest.level;
    const whole = spanShift(rest.pageShift, level);
    const split = kind === 'leaf' && stage === 'combined' ? Math.max(12, whole - rest.smaller) : whole;
    const contiguous = rest.contiguous && kind === 'leaf' && split === whole;
    const shift = contiguous ? whole + 4 : split;
    // An IPA has no upper range.
    const address = stage === 'stage2' ? page % 2 ** 52 : page;
    const noAsid = regime === 'el2' || stage === 'stage2';
    return {
      regime,
      stage,
      kind,
      vmid: regime === 'el10' ? rest.vmid : 0,
      asid: noAsid ? -1 : kind === 'table' ? Math.max(rest.asid, 3) : rest.asid,
      level,
      pageShift: rest.pageShift,
      input: Math.floor(address / 2 ** shift) * 2 ** shift,
      shift,
      ipa: stage === 'combined' && kind === 'leaf' ? output * 2 ** 36 : -1,
      output: output * 2 ** 36,
      attributes: 0xff,
      shareability: 3,
      permissions: rest.permissions,
      contiguous,
    };
  });

export const queries: fc.Arbitrary<TlbQuery> = fc
  .record({ shape: shapes, kind: fc.constantFrom('leaf' as const, 'table' as const), vmid: vmids, asid: asids, address: pages })
  .map(({ shape: { regime, stage }, ...rest }) => ({
    ...rest,
    regime,
    stage,
    asid: regime === 'el2' || stage === 'stage2' ? -1 : rest.asid,
    address: stage === 'stage2' ? rest.address % 2 ** 52 : rest.address,
  }));

export interface Instruction {
  readonly name: string;
  readonly fields: Readonly<Record<string, bigint>>;
}

const NAMES = [
  'VAE1', 'VALE1', 'VAAE1', 'VAALE1', 'ASIDE1', 'VMALLE1', 'VMALLS12E1', 'ALLE1', 'IPAS2E1', 'IPAS2LE1', 'VAE2', 'VALE2', 'ALLE2',
  'RVAE1', 'RVALE1', 'RVAAE1', 'RVAALE1', 'RIPAS2E1', 'RIPAS2LE1', 'RVAE2', 'RVALE2',
];

/** Every AArch64 invalidation, with hints that are right often enough. Range starts are boundaries of 4K, 2M or 1G. */
export const instructions: fc.Arbitrary<Instruction> = fc
  .record({
    name: fc.constantFrom(...NAMES),
    suffix: fc.constantFrom('', 'IS', 'OS', 'ISNXS'),
    asid: asids,
    ttl: fc.oneof(fc.constant(0), fc.nat({ max: 15 })),
    page: pages,
    tg: fc.nat({ max: 3 }),
    scale: fc.nat({ max: 3 }),
    num: fc.nat({ max: 31 }),
    align: fc.constantFrom(1, 2 ** 9, 2 ** 18),
  })
  .map(({ name, suffix, asid, ttl, page, tg, scale, num, align }) => {
    const address = name.includes('IPA') ? page % 2 ** 52 : page;
    const fields: Record<string, bigint> = {};
    if (/^R?(VA|VAL|ASID)E/.test(name)) fields['ASID'] = BigInt(asid);
    if (name.startsWith('R')) {
      const pageBytes = [4096, 4096, 16384, 65536][tg];
      const units = Math.floor(address / pageBytes / align) * align;
      Object.assign(fields, { TG: BigInt(tg), SCALE: BigInt(scale), NUM: BigInt(num), TTL: BigInt(ttl & 3) });
      fields['BaseADDR'] = BigInt.asUintN(37, BigInt(units) - (address >= 2 ** 52 ? BigInt(2 ** 53 / pageBytes) : 0n));
    } else if (/VA|IPA/.test(name)) {
      fields['TTL'] = BigInt(ttl);
      if (name.includes('IPA')) fields['IPA'] = BigInt(address);
      else fields['VA'] = address >= 2 ** 52 ? (1n << 64n) - BigInt(2 ** 53 - address) : BigInt(address);
    }
    return { name: name + suffix, fields };
  });
