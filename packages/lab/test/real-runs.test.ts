import { describe, expect, it } from 'vitest';
import { walkAddress } from '../src/index.js';
import { dumped, openCheckpoint, valueOf, type Checkpoint } from './support.js';

const NAMES = ['D-16k36-T/c1', 'D-16k36-T/c2', 'H-4k-a57/k1', 'G-4k-v3/c7', 'G-4k-v3/c8', 'G-4k-v3/c10'];
const checkpoints = new Map(NAMES.map((name) => [name, openCheckpoint(name)]));
const named = (name: string): Checkpoint => checkpoints.get(name)!;

/** Leaves of an independent walk by regime, as `level,input,output,descriptor` in numbers. */
function listedLeaves({ text, name }: Checkpoint): Map<string, string[]> {
  const listed = new Map<string, string[]>();
  for (const line of text(`${name}.leaves.csv.gz`)!.trim().split('\n').slice(1)) {
    const [regime, ...rest] = line.split(',');
    listed.set(regime, [...(listed.get(regime) ?? []), rest.map(BigInt).join(',')]);
  }
  return listed;
}

function dumpedLeaves({ image }: Checkpoint, regime: string): readonly string[] {
  const { text, scans } = dumped(valueOf(image.tables(regime)), { format: 'csv', merge: false });
  expect(scans.flatMap(({ findings }) => findings)).toEqual([]);
  return text
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [start, , level, output, , , , descriptor] = line.split(',');
      return [level, start, output, descriptor].map(BigInt).join(',');
    });
}

describe.each(NAMES)('%s', (name) => {
  const checkpoint = named(name);

  it('dump lists exactly the leaves that an independent walk found, in every regime listed', () => {
    const listed = listedLeaves(checkpoint);
    expect(listed.size).toBeGreaterThan(0);
    for (const { name: regime } of checkpoint.file.regimes) {
      expect(dumpedLeaves(checkpoint, regime)).toEqual(listed.get(regime) ?? []);
    }
  });

  it('tables by level are as many as that walk found', () => {
    const raw = JSON.parse(checkpoint.text(`${checkpoint.name}.regs.json`)!) as {
      regimes: { name: string; tables: Record<string, number> }[];
    };
    for (const { name: regime, tables } of raw.regimes) {
      const [{ format }] = valueOf(checkpoint.image.tables(regime));
      const [scan] = dumped(valueOf(checkpoint.image.tables(regime)), { format: 'csv' }).scans;
      const counted = Object.fromEntries(scan.tables.flatMap((count, i) => (count === 0 ? [] : [[String(i - 1), count]])));
      const concatenated = format.geometry.entryTables - 1;
      const start = String(format.geometry.startLevel);
      expect(counted).toEqual({ ...tables, [start]: tables[start] + concatenated });
    }
  });

  it('walk agrees with the emulator on every address it was asked for', () => {
    const [head, ...rows] = checkpoint.text(`${checkpoint.name}.translate.csv`)!.trim().split('\n');
    const regime = head.includes('stage2') ? 's2' : 'el10';
    const answers = rows.map((row) => {
      const [input] = row.split(',');
      const { end } = valueOf(walkAddress(checkpoint.image, regime, BigInt(input)));
      return `${input},${end.kind === 'translated' ? `0x${end.output.toString(16)}` : ''}`;
    });
    expect(answers.length).toBeGreaterThan(0);
    expect(answers).toEqual(rows);
  });
});

const ptdump = (checkpoint: Checkpoint, regime: string): string =>
  dumped(valueOf(checkpoint.image.tables(regime)), { format: 'ptdump' }).text;

describe('ptdump text', () => {
  it.each(['D-16k36-T/c1', 'D-16k36-T/c2'])("%s: the stage-2 dump equals the kernel's line for line", (name) => {
    const checkpoint = named(name);
    expect(ptdump(checkpoint, 's2')).toBe(checkpoint.text(`${checkpoint.name}.stage2_page_tables.txt`));
  });

  it.each(['c7', 'c8', 'c10'])("%s: the VM's own stage 2 under nesting equals the kernel's text", (name) => {
    const checkpoint = named(`G-4k-v3/${name}`);
    expect(ptdump(checkpoint, 'stage2-canonical')).toBe(checkpoint.text(`${name}.stage2_page_tables.txt`));
  });

  it.each(['c7', 'c8', 'c10'])("%s: every shadow stage 2 equals the kernel's text named by virtual VTTBR_EL2 and VTCR_EL2", (name) => {
    const checkpoint = named(`G-4k-v3/${name}`);
    const { shadowsSeen } = checkpoint.file.nested!;
    let compared = 0;
    for (const shadow of shadowsSeen) {
      const hex = (value: bigint): string => `0x${value.toString(16).padStart(16, '0')}`;
      // The kernel names a context without the CnP bit of VTTBR_EL2.
      const vttbr = shadow.virtVTTBR - (shadow.virtVTTBR % 2n);
      const text = checkpoint.text(`${name}.nested.${hex(vttbr)}-${hex(shadow.virtVTCR)}-s2-enabled.txt`);
      const root = Number(shadow.hwVTTBR % 2n ** 48n);
      const regime = checkpoint.file.regimes.find((each) => each.root === root && each.tableAddresses === 'physical');
      if (text !== undefined && regime !== undefined) {
        expect(ptdump(checkpoint, regime.name)).toBe(text);
        compared++;
      }
    }
    expect(compared).toBe(4);
  });

  it("the kernel's own tables of an nVHE host equal kernel_page_tables, section headings and memory types included", () => {
    const checkpoint = named('H-4k-a57/k1');
    expect(ptdump(checkpoint, 'el1-ttbr1')).toBe(checkpoint.text('kernel_page_tables.txt'));
  });
});
