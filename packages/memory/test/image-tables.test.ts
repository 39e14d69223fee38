import type { PhysicalReader } from '@granule/contract';
import { bytesSource, createImageTables, sparseMemory, translatedReader, type Segment } from '@granule/memory';
import { describe, expect, it } from 'vitest';

const image = (...parts: readonly { readonly pa: number; readonly bytes: Uint8Array }[]): PhysicalReader => {
  const segments = parts.map(({ pa, bytes }): Segment => ({ pa, bytes: bytes.length, fileBytes: bytes.length, source: bytesSource(bytes), offset: 0 }));
  const memory = sparseMemory(segments);
  if (memory.kind !== 'done') throw new Error(memory.sentence);
  return memory.value;
};

/** 8-byte entries with these values in their low half. */
const entries = (count: number, value: (index: number) => number): Uint8Array => {
  const bytes = new Uint8Array(count * 8);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i += 1) view.setUint32(i * 8, value(i), true);
  return bytes;
};

describe('the tables of an image', () => {
  it('are read when asked for, with their entries counted', () => {
    const tables = createImageTables(image({ pa: 2 ** 40, bytes: entries(512, (i) => (i % 2 === 0 ? i + 1 : 0)) }), { pageShift: 12 });
    expect(tables.taken).toBe(0);
    const word = tables.wordOf(2 ** 40, 4096);
    expect([0, 2, 510].map((i) => tables.words[word + 2 * i])).toEqual([1, 3, 511]);
    expect([tables.taken, tables.counts[word / 1024], tables.addressOf(word + 1023)]).toEqual([1, 256, 2 ** 40]);
    expect(tables.wordOf(2 ** 40 + 16, 8)).toBe(word + 4);
    expect(tables.contiguousPages).toBe(0);
  });

  it('keep their words when more pages are loaded', () => {
    const tables = createImageTables(image({ pa: 0x10000, bytes: entries(512 * 100, (i) => i) }), { pageShift: 12 });
    const words = Array.from({ length: 100 }, (_, i) => tables.wordOf(0x10000 + i * 4096, 4096));
    expect(words.map((word) => tables.words[word + 2])).toEqual(words.map((_, i) => i * 512 + 1));
    expect(words.map((word) => tables.addressOf(word))).toEqual(words.map((_, i) => 0x10000 + i * 4096));
  });

  it('answer -1 for an address that the image does not hold', () => {
    const tables = createImageTables(image({ pa: 0x10000, bytes: entries(512, () => 1) }), { pageShift: 12 });
    expect(tables.wordOf(0x11000, 8)).toBe(-1);
    expect(tables.taken).toBe(0);
  });

  it('answer -2 at the limit of loaded pages, and go on serving the loaded ones', () => {
    const tables = createImageTables(image({ pa: 0, bytes: entries(512 * 4, () => 1) }), { pageShift: 12, maxPages: 3 });
    expect([0, 1, 2, 3].map((i) => tables.wordOf(i * 4096, 8))).toEqual([0, 1024, 2048, -2]);
    expect(tables.wordOf(4096, 8)).toBe(1024);
  });

  it('serve the 4 KiB pieces of a 64K page that the image holds, refuse those it lacks, and read the rest of the page as zero', () => {
    const reader = image({ pa: 0x10000, bytes: entries(512, () => 7) }, { pa: 0x1f000, bytes: entries(512, () => 9) });
    const tables = createImageTables(reader, { pageShift: 16 });
    const last = tables.wordOf(0x1f000, 4096);
    expect(tables.words[last]).toBe(9);
    expect(tables.wordOf(0x10000, 4096)).toBe(last - (0xf000 / 4));
    expect(tables.wordOf(0x11000, 8)).toBe(-1);
    expect(tables.wordOf(0x10000, 0x10000)).toBe(-1);
    expect(tables.wordOf(0x10ff8, 16)).toBe(-1);
    expect(tables.words[last - 2]).toBe(0);
    expect(tables.counts[0]).toBe(1024);
  });

  it('serve a 32-byte table, the smallest that a TTBR can point at', () => {
    const tables = createImageTables(image({ pa: 0x1040, bytes: entries(4, () => 5) }), { pageShift: 12 });
    expect(tables.words[tables.wordOf(0x1040, 32)]).toBe(5);
    expect(tables.wordOf(0x1040, 64)).toBe(-1);
  });

  it('neither give a page away nor take one back', () => {
    const tables = createImageTables(image({ pa: 0, bytes: entries(512, () => 1) }), { pageShift: 12 });
    expect([tables.take(), tables.free]).toEqual([-1, 0]);
    expect(() => tables.give(0)).toThrow('an image takes no page back');
  });
});

describe('a view through a translation', () => {
  const reader = image({ pa: 0x8000, bytes: Uint8Array.from({ length: 0x3000 }, (_, i) => i / 0x1000) });
  const swapped = translatedReader(reader, (ia) => (ia < 0x1000 ? 0x9000 + ia : ia < 0x2000 ? 0x8000 + (ia - 0x1000) : -1), 12);

  it('reads each page where the translation puts it', () => {
    const into = new Uint8Array(0x2000);
    expect(swapped.read(0, into)).toBe(true);
    expect([into[0], into[0xfff], into[0x1000], into[0x1fff]]).toEqual([1, 1, 0, 0]);
    const across = new Uint8Array(2);
    expect(swapped.read(0xfff, across)).toBe(true);
    expect([...across]).toEqual([1, 0]);
  });

  it('is not memory where an address does not translate, or translates to what is no memory', () => {
    expect(swapped.read(0x1fff, new Uint8Array(2))).toBe(false);
    expect(translatedReader(reader, () => 0x20000, 12).read(0, new Uint8Array(8))).toBe(false);
  });

  it('carries table pages of a guest', () => {
    const tables = createImageTables(swapped, { pageShift: 12 });
    const word = tables.wordOf(0x1000, 4096);
    expect(tables.counts[0]).toBe(0);
    expect(tables.addressOf(word)).toBe(0x1000);
  });
});
