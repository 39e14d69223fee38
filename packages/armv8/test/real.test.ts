import { readFileSync } from 'node:fs';
import { ENTRY, type RegimeRoot } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { toBigint } from '@granule/geometry/bits';
import { describe, expect, it } from 'vitest';
import { registers } from '../src/index.js';
import { halves, idOf, value } from './support.js';

// Data of real kernels: see data/README.md.
interface Snapshot {
  readonly run: string;
  readonly checkpoint: string;
  readonly registers: Readonly<Record<string, string>>;
  readonly regimes: readonly {
    readonly name: string;
    readonly root: string;
    readonly granuleShift: number;
    readonly iaBits: number;
    readonly startLevel: number;
    readonly rootEntries: number;
    readonly upperRange: boolean;
    readonly tableAddresses: string;
  }[];
}

const read = (name: string): string => readFileSync(new URL(`data/${name}`, import.meta.url), 'utf8');
const SNAPSHOTS = JSON.parse(read('registers.json')) as readonly Snapshot[];
const LEAVES = read('leaves.csv')
  .trim()
  .split('\n')
  .slice(1)
  .map((line) => line.split(','));

const valuesOf = (snapshot: Snapshot): Record<string, bigint> =>
  Object.fromEntries(Object.entries(snapshot.registers).map(([name, text]) => [name, BigInt(text)]));

function regimeOf(name: string, hcr: bigint): string {
  if (name === 'stage2') return 's2';
  if (name.includes('el1')) return 'el10';
  return (hcr >> 34n) & 1n ? 'el20' : 'el2';
}

function rootOf(snapshot: Snapshot, name: string): RegimeRoot | undefined {
  const values = valuesOf(snapshot);
  return value(registers.roots(values, regimeOf(name, values['HCR_EL2']))).find(({ upper }) => upper === name.endsWith('ttbr1'));
}

describe('tables in force, as the registers of real machines say', () => {
  const cases = SNAPSHOTS.flatMap((snapshot) =>
    snapshot.regimes.map((regime) => [`${snapshot.run} ${snapshot.checkpoint} ${regime.name}`, snapshot, regime] as const),
  );

  it.each(cases)('%s', (_, snapshot, regime) => {
    const found = rootOf(snapshot, regime.name)!;
    const { pageShift, iaBits, startLevel, rootEntries } = found.format.geometry;
    expect([found.root, pageShift, iaBits, startLevel, rootEntries, found.upper, found.tableAddresses]).toEqual([
      Number(regime.root),
      regime.granuleShift,
      regime.iaBits,
      regime.startLevel,
      regime.rootEntries,
      regime.upperRange,
      regime.tableAddresses.split(':')[0],
    ]);
  });

  it('leave a guest whose MMU is off without stage 1', () => {
    const off = SNAPSHOTS.find(({ run, checkpoint }) => run === 'A-4k-a76' && checkpoint === 'c1')!;
    expect(idOf(registers.roots(valuesOf(off), 'el10'))).toBe('registers.not-in-force');
  });
});

describe('leaves of real tables', () => {
  it.each(LEAVES)('%s %s %s, 2^%s pages, level %s: %s %s', (run, checkpoint, regime, _, level, output, descriptor) => {
    const snapshot =
      SNAPSHOTS.find((each) => each.run === run && each.checkpoint === checkpoint) ?? SNAPSHOTS.find((each) => each.run === run)!;
    const { format } = rootOf(snapshot, regime)!;
    const { lo, hi } = halves(BigInt(descriptor));
    const at = Number(level) as Level;
    expect(format.kind(lo, hi, at)).toBe(ENTRY.leaf);
    expect(format.leafOutput(lo, hi, at)).toBe(Number(output));
    const attributes = value(format.encodeLeaf(format.decodeLeaf(lo, hi, at), at));
    const address = value(format.encodeOutput(Number(output), 12));
    expect(toBigint(attributes.lo | address.lo, attributes.hi | address.hi)).toBe(BigInt(descriptor));
  });

  it('0x004000004077277f is a read-only, not executable Normal page at 0x40772000', () => {
    const { format } = rootOf(SNAPSHOTS[0], 'stage2')!;
    expect(format.decodeLeaf(0x4077_277f, 0x0040_0000, 3)).toMatchObject({
      read: true,
      write: false,
      px: false,
      ux: false,
      memory: 'normal',
      shareability: 'inner',
      af: true,
    });
  });

  it('0x00400080000037c7 is a device page of the VM, and 0x..7db with S2FWB is Write-Back and executable', () => {
    const a76 = rootOf(SNAPSHOTS[0], 'stage2')!.format;
    expect(a76.decodeLeaf(0x0000_37c7, 0x0040_0080, 3)).toMatchObject({ memory: 'device-nGnRE', write: true });
    const fwb = rootOf(SNAPSHOTS.find(({ run }) => run === 'A-4k-max')!, 'stage2')!.format;
    expect(fwb.decodeLeaf(0x4096_87db, 0, 3)).toMatchObject({ memory: 'normal', px: true, ux: true, write: true });
  });
});
