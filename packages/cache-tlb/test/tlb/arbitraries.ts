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

/** What is drawn for one instruction; whom it is aimed at is known when the entries are. */
const draws = fc.record({
  name: fc.constantFrom(...NAMES),
  suffix: fc.constantFrom('', 'IS', 'OS', 'ISNXS'),
  /** Which entry to aim at, as a fraction; most of the instructions do. */
  aim: fc.oneof({ weight: 5, arbitrary: fc.double({ min: 0, max: 0.999, noNaN: true }) }, { weight: 1, arbitrary: fc.constant(-1) }),
  asid: asids,
  /** Level: of the entry aimed at, one deeper (what follows a table), anything, none. */
  hint: fc.constantFrom('right', 'deeper', 'any', 'none'),
  any: fc.nat({ max: 15 }),
  page: pages,
  /** How far from the entry's start, in pages of 4K. */
  off: fc.constantFrom(0, 0, 1, -1, 16, 511, 512, -512),
  scale: fc.nat({ max: 3 }),
  num: fc.nat({ max: 31 }),
  /** The range starts on a boundary of this many units. */
  align: fc.constantFrom(1, 1, 16, 2 ** 9),
});
type Draw = typeof draws extends fc.Arbitrary<infer T> ? T : never;

const TG = { 12: 1, 14: 2, 16: 3 } as Readonly<Record<number, number>>;

function hintOf({ hint, any }: Draw, target: TlbEntry | undefined): { readonly tg: number; readonly level: number } {
  if (target === undefined || hint === 'any') return { tg: any >> 2, level: any & 3 };
  const tg = TG[target.pageShift];
  return { tg, level: hint === 'none' ? 0 : hint === 'deeper' ? Math.min(target.level + 1, 3) : target.level };
}

function fieldsOf(draw: Draw, address: number, target: TlbEntry | undefined): Record<string, bigint> {
  const { name } = draw;
  const { tg, level } = hintOf(draw, target);
  const fields: Record<string, bigint> = {};
  if (/^R?(VA|VAL|ASID)E/.test(name)) fields['ASID'] = BigInt(target === undefined || target.asid === -1 ? draw.asid : target.asid);
  if (name.startsWith('R')) {
    const pageBytes = [4096, 4096, 16384, 65536][tg];
    const units = Math.floor((address % 2 ** 52) / pageBytes / draw.align) * draw.align;
    const top = address >= 2 ** 52 ? BigInt(2 ** 52 / pageBytes) : 0n;
    fields['BaseADDR'] = BigInt.asUintN(37, BigInt(units) - top);
    return { ...fields, TG: BigInt(tg), SCALE: BigInt(draw.scale), NUM: BigInt(draw.num), TTL: BigInt(level) };
  }
  if (!/VA|IPA/.test(name)) return fields;
  fields['TTL'] = BigInt(draw.hint === 'none' ? 0 : tg * 4 + level);
  if (name.includes('IPA')) fields['IPA'] = BigInt(address % 2 ** 52);
  else fields['VA'] = address >= 2 ** 52 ? (1n << 64n) - BigInt(2 ** 53 - address) : BigInt(address);
  return fields;
}

/** Every AArch64 invalidation, aimed at one of the entries given. */
export const instructions: fc.Arbitrary<(entries: readonly TlbEntry[]) => Instruction> = draws.map((draw) => (held) => {
  const target = draw.aim < 0 ? undefined : held[Math.floor(draw.aim * held.length)];
  const near = target === undefined ? draw.page : target.input + draw.off * 4096;
  const address = Math.min(Math.max(near, 0), 2 ** 53 - 4096);
  return { name: draw.name + draw.suffix, fields: fieldsOf(draw, address, target) };
});
