import { readFileSync } from 'node:fs';
import { ENTRY, type RegimeRoot, type Registers } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { toBigint } from '@granule/geometry/bits';
import { describe, expect, it } from 'vitest';
import { registers } from '../src/index.js';
import { formatOf, halves, idOf, MAIR, value } from './support.js';

// Data of a real kernel: see data/README.md.
interface Snapshot {
  readonly checkpoint: string;
  readonly registers: Readonly<Record<string, string>>;
  readonly regimes: readonly {
    readonly name: string;
    readonly root: string;
    readonly granuleShift: number;
    readonly iaBits: number;
    readonly startLevel: number;
    readonly rootEntries: number;
    readonly tableAddresses: string;
  }[];
}

const read = (name: string): string => readFileSync(new URL(`data/${name}`, import.meta.url), 'utf8');
const [k1, k2] = JSON.parse(read('registers.json')) as readonly [Snapshot, Snapshot];
const LEAVES = read('leaves.csv')
  .trim()
  .split('\n')
  .slice(1)
  .map((line) => line.split(','));

const valuesOf = (snapshot: Snapshot): Registers =>
  Object.fromEntries(Object.entries(snapshot.registers).map(([name, text]) => [name, BigInt(text)]));
const rootsOf = (snapshot: Snapshot): readonly RegimeRoot[] => value(registers.roots(valuesOf(snapshot), 'pl10'));

describe('tables in force, as the registers of a real machine say', () => {
  it.each([
    ['k1: TTBR1 alone, because EPD0 is 1', k1, 'pl1-ttbr1', { upper: true, from: 'TTBR1/TTBCR', asid: 0 }],
    ['k2: TTBR0 alone, because T0SZ and T1SZ are 0', k2, 'pl1-ttbr0', { upper: false, from: 'TTBR0/TTBCR', asid: 0x18 }],
  ] as const)('%s', (_, snapshot, name, rest) => {
    const regime = snapshot.regimes.find((each) => each.name === name)!;
    const found = rootsOf(snapshot);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ ...rest, regime: 'pl10', root: Number(regime.root), tableAddresses: regime.tableAddresses });
    const { pageShift, iaBits, startLevel, rootEntries, oaBits, entryAlignment } = found[0].format.geometry;
    const { granuleShift, ...listed } = regime;
    expect([pageShift, iaBits, startLevel, rootEntries]).toEqual([granuleShift, listed.iaBits, listed.startLevel, listed.rootEntries]);
    expect([oaBits, entryAlignment]).toEqual([40, 32]);
  });

  it('say nothing of stage 2 and PL2, which this machine does not use', () => {
    expect(idOf(registers.roots(valuesOf(k1), 's2'))).toBe('registers.not-in-force');
    expect(idOf(registers.roots(valuesOf(k1), 'pl2'))).toBe('registers.not-in-force');
  });

  it('have 40-bit physical addresses', () => {
    expect(registers.features(valuesOf(k1))).toMatchObject({ paBits: 40, granules1: ['4K'], granules2: ['4K'], xnx: false, vmidBits: 8 });
  });

  it('report a level 2 translation fault of a write in DFSR', () => {
    const { DFSR } = valuesOf(k1);
    const meanings = new Map(value(registers.explain('DFSR', DFSR)).map(({ name, meaning }) => [name, meaning]));
    expect(['LPAE', 'WnR', 'STATUS'].map((name) => meanings.get(name))).toEqual([
      'long-descriptor encoding',
      'write',
      'translation fault, level 2',
    ]);
  });
});

describe('leaves of real tables', () => {
  const format = formatOf('pl10', { mair: MAIR });
  /** XN and PXN together say no more than XN alone, which is what the encoder writes. */
  const canonical = (word: bigint): bigint => ((word >> 54n) & 1n ? word & ~(1n << 53n) : word);

  it.each(LEAVES)('%s %s, level %s: %s is %s by %s', (_, __, level, ___, output, descriptor) => {
    const { lo, hi } = halves(BigInt(descriptor));
    const at = Number(level) as Level;
    expect(format.kind(lo, hi, at)).toBe(ENTRY.leaf);
    expect(format.leafOutput(lo, hi, at)).toBe(Number(output));
    const attributes = value(format.encodeLeaf(format.decodeLeaf(lo, hi, at), at));
    const address = value(format.encodeOutput(Number(output), 12));
    expect(toBigint(attributes.lo | address.lo, attributes.hi | address.hi)).toBe(canonical(BigInt(descriptor)));
  });

  it('tell kernel data, kernel text and user text apart', () => {
    const decode = (word: bigint, level: Level) => format.decodeLeaf(halves(word).lo, halves(word).hi, level);
    expect(decode(0x0040_0000_4000_071dn, 2)).toMatchObject({ write: true, px: false, ux: false, user: false, memory: 'normal' });
    expect(decode(0x0400_0000_4040_079dn, 2)).toMatchObject({ write: false, px: true, ux: true, user: false });
    expect(decode(0x0420_0000_0000_0fdfn, 3)).toMatchObject({ write: false, px: false, ux: true, user: true, nG: true });
    expect(decode(0x00c0_0000_0000_0713n, 3)).toMatchObject({ memory: 'device-nGnRE', write: true });
  });
});
