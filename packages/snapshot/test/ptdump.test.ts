import type { Level } from '@granule/geometry';
import { bytesSource } from '@granule/memory';
import { PTDUMP_LAYOUTS, ptdumpPrinter, readPtdump, type NamedRegime, type PtdumpPrinter, type PtdumpPrinterOptions } from '@granule/snapshot';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entriesOf, sampleImage, sampleRegisters, sampleText, valueOf, type Entry } from './samples.js';

const printed = (options: PtdumpPrinterOptions, notes: (printer: PtdumpPrinter) => void): readonly string[] => {
  const lines: string[] = [];
  const printer = ptdumpPrinter(options, (line) => lines.push(line));
  notes(printer);
  printer.finish();
  return lines;
};
const geometryOf = ({ granuleShift, iaBits, startLevel, upperRange }: NamedRegime) => ({
  granuleShift,
  iaBits,
  startLevel: startLevel as Level,
  upper: upperRange,
});
const stage2 = { form: 'stage2', granuleShift: 12, iaBits: 40, startLevel: 1 } as const;

describe('the printed dump', () => {
  it.each([
    ['T-4k-a76/c1', 'T-4k-a76/stage2', 'stage2', 'T-4k-a76/c1.stage2_page_tables.txt'],
    ['H-4k-a57/k1', 'H-4k-a57/el10-ttbr1', 'kernel', 'H-4k-a57/kernel_page_tables.txt'],
  ] as const)('of the tables in the image %s is the kernel’s own, line for line (%s)', (checkpoint, _, form, text) => {
    const { regimes } = sampleRegisters(`${checkpoint}.regs.json`);
    const regime = regimes.find(({ stage, upperRange }) => (form === 'kernel' ? upperRange : stage === 2))!;
    const { memory } = sampleImage(`${checkpoint}.core.gz`);
    const markers = form === 'kernel' ? { markers: PTDUMP_LAYOUTS['linux-7.2-4k-48'] } : {};
    const entries = [...entriesOf(memory, regime)];
    const want = sampleText(text).trimEnd().split('\n');
    const oneByOne = printed({ form, ...geometryOf(regime), ...markers }, (printer) => entries.forEach(({ ia, level, lo, hi }) => printer.note(ia, level, lo, hi)));
    expect(oneByOne.map((line) => line.trimEnd())).toEqual(want.map((line) => line.trimEnd()));
    expect(oneByOne.join('\n').trimEnd()).toBe(want.join('\n'));
    const runs = printed({ form, ...geometryOf(regime), ...markers }, (printer) => noteRuns(printer, entries));
    expect(runs).toEqual(oneByOne);
  });

  it('merges neighbours that differ in output address, and not those that differ in a printed attribute', () => {
    const lines = printed(stage2, (printer) => {
      printer.note(0, 2, 0x4000_07fd, 0);
      printer.note(0x20_0000, 2, 0x9000_07fd, 0);
      printer.note(0x40_0000, 2, 0x4000_077d, 0);
      printer.note(0x60_0000, 3, 0, 0, 512);
      printer.note(0x80_0000, 3, 0, 0);
    });
    expect(lines).toEqual([
      '---[ Guest IPA ]---',
      '0x0000000000000000-0x0000000000400000           4M 2   R W px ux  AF BLK',
      '0x0000000000400000-0x0000000000600000           2M 2   R   px ux  AF BLK',
    ]);
  });

  it('never prints the last run of a stage 2, and does print that of the kernel', () => {
    expect(printed(stage2, (printer) => printer.note(0, 1, 0, 0, 1024))).toEqual(['---[ Guest IPA ]---']);
    const kernel = { form: 'kernel', granuleShift: 12, iaBits: 39, startLevel: 1, upper: true } as const;
    expect(printed(kernel, (printer) => printer.note(0, 1, 0, 0, 512))).toEqual(['0xffffff8000000000-0x0000000000000000         512G PGD']);
  });

  it.each([
    ['stage2', 0x7fd, 0, '  R W px ux  AF BLK'],
    ['stage2', 0x4fd, 0x40_0000, '  R W PXNUXN AF BLK'],
    ['stage2', 0x47d, 0x20_0000, '  R   PXNux  AF BLK'],
    ['stage2', 0x0bd, 0x60_0000, '    W px UXN    BLK'],
    ['stage2', 0x7fc, 0, 'F R W px ux  AF    '],
    ['stage2-nx', 0x7fd, 0x40_0000, '  R W NX AF BLK'],
    ['stage2-nx', 0x7ff, 0, '  R W x  AF    '],
    ['stage2-inverted-x', 0x7fd, 0x40_0000, '  R W X AF BLK'],
    ['stage2-inverted-x', 0x7ff, 0, '  R W   AF    '],
    ['stage2-inverted-x', 0x7fc, 0, 'F     X       '],
  ] as const)('of form %s prints %i, %i as "%s"', (form, lo, hi, attributes) => {
    const lines = printed({ ...stage2, form }, (printer) => {
      printer.note(0, 2, lo, hi);
      printer.note(0x20_0000, 2, 0, 0);
    });
    expect(lines[1]).toBe(`0x0000000000000000-0x0000000000200000           2M 2 ${attributes}`);
  });

  it('splits a run at the first entry at or after the beginning of a section', () => {
    const markers = [
      { start: 0n, name: 'A' },
      { start: 0x30_0000n, name: 'B' },
      { start: 0x40_0000n, name: 'C' },
    ];
    const lines = printed({ ...stage2, form: 'kernel', iaBits: 23, startLevel: 2, markers }, (printer) => printer.note(0, 2, 0, 0, 4));
    expect(lines).toEqual([
      '---[ A ]---',
      '0x0000000000000000-0x0000000000400000           4M PGD',
      '---[ B ]---',
      '---[ C ]---',
      '0x0000000000400000-0x0000000000800000           4M PGD',
    ]);
  });
});

/** Neighbours that are equal but for the output address as one note. */
function noteRuns(printer: PtdumpPrinter, entries: readonly Entry[]): void {
  for (let first = 0; first < entries.length; ) {
    const { ia, level, lo, hi } = entries[first];
    let end = first + 1;
    while (end < entries.length && entries[end].level === level && attributes(entries[end]) === attributes(entries[first])) end += 1;
    printer.note(ia, level, lo, hi, end - first);
    first = end;
  }
}

const attributes = ({ lo, hi }: Entry): string => `${lo % 4096} ${Math.floor(hi / 2 ** 16)}`;

describe('the dump reader', () => {
  it('reads what the kernel printed', () => {
    const { form, sections, lines } = valueOf(readPtdump(bytesSource(new TextEncoder().encode(sampleText('T-4k-a76/c1.stage2_page_tables.txt')))));
    expect([form, sections]).toEqual(['stage2', ['Guest IPA']]);
    expect(lines[1]).toEqual({
      start: 0x4000_0000n,
      end: 0x4040_0000n,
      level: '2',
      attributes: [],
      section: 'Guest IPA',
      line: 3,
    });
    const mapped = lines.filter(({ attributes: names }) => names.length > 0);
    expect(mapped.every(({ attributes: names }) => names[0] === 'R')).toBe(true);
  });

  it('reads the kernel’s own tables with their sections, the end wrapped to 0 as 2^64', () => {
    const { form, sections, lines } = valueOf(readPtdump(sampleText('H-4k-a57/kernel_page_tables.txt')));
    expect([form, sections.length]).toEqual(['kernel', 12]);
    expect(lines.at(-1)).toMatchObject({ start: 0xffff_ffff_ff80_0000n, end: 2n ** 64n, section: 'Fixmap end', level: 'PMD' });
    expect(lines[0]).toMatchObject({ attributes: ['RW', 'NX', 'SHD', 'AF', 'NG', 'BLK', 'UXN', 'MEM/NORMAL-TAGGED'], level: 'PMD' });
  });

  it.each(['kernel', 'stage2', 'stage2-nx', 'stage2-inverted-x'] as const)('tells the form %s by what is printed, and reads back its ranges', (form) => {
    const entry = fc.record({ lo: fc.constantFrom(0, 0x7fd, 0x7bd, 0x4fd, 0x43d), hi: fc.constantFrom(0, 0x40_0000, 0x60_0000) });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 2, maxLength: 40 }), (entries) => {
        const text = printed({ ...stage2, form }, (printer) =>
          entries.forEach(({ lo, hi }, i) => printer.note(i * 2 ** 21, 2, lo, lo === 0 ? 0 : hi)),
        );
        const { form: told, lines } = valueOf(readPtdump(text.join('\n')));
        expect(told).toBe(lines.some(({ attributes: names }) => names.length > 0) ? form : undefined);
        expect(lines.every(({ start }, i) => start === (lines[i - 1]?.end ?? 0n))).toBe(true);
      }),
    );
  });

  it.each([
    ['0x0-0x1000 4K 3\nrubbish', 'ptdump.bad-line', 'Line 2 '],
    ['0x0000000000000000-0x0000000000001000           8K 3', 'ptdump.bad-line', 'Line 1 '],
    ['0x0000000000001000-0x0000000000000800           2K 3', 'ptdump.bad-line', 'Line 1 '],
    ['0x0-0x2000 8K 3\n0x1000-0x2000 4K 3', 'ptdump.order', 'Line 2 '],
  ])('refuses a text that is damaged, with the line (%#)', (text, id, where) => {
    expect(readPtdump(text)).toMatchObject({ kind: 'refused', id, sentence: expect.stringContaining(where) as string });
  });

  it('refuses a text of more lines than asked for', () => {
    expect(readPtdump('\n'.repeat(100), { maxLines: 99 })).toMatchObject({ id: 'ptdump.too-long' });
  });

  it('ends in an outcome wherever the text is cut', () => {
    const text = sampleText('T-4k-a76/c1.stage2_page_tables.txt');
    for (let size = 0; size <= text.length; size += 1) expect(['done', 'refused']).toContain(readPtdump(text.slice(0, size)).kind);
  });
});
