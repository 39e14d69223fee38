import type { ByteSource } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { elfCore, openImage, readElf } from '@granule/snapshot';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sample, sampleImage, valueOf } from './samples.js';

const PAGE = new Uint8Array(4096).fill(7);

/** An ELF core with one page at 0x40000000, some header bytes changed: offsets of the gABI. */
const changed = (change: (view: DataView) => void): ByteSource => {
  const file = elfCore([{ pa: 0x4000_0000, bytes: PAGE }]);
  change(new DataView(file.buffer));
  return bytesSource(file);
};
const farSections = (view: DataView): void => {
  view.setUint16(56, 0xffff, true);
  view.setBigUint64(40, HUGE, true);
};
const HUGE = 0xffff_ffff_ffff_f000n;

describe('an ELF core', () => {
  it('written from page runs reads back as their bytes and addresses', () => {
    const run = fc.record({ pages: fc.integer({ min: 1, max: 3 }), gap: fc.integer({ min: 0, max: 2 ** 30 }), fill: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 8 }), (plan) => {
        let pa = 0;
        const runs = plan.map(({ pages, gap, fill }) => {
          const each = { pa: pa + gap * 4096, bytes: new Uint8Array(pages * 4096).fill(fill) };
          pa = each.pa + each.bytes.length;
          return each;
        });
        const image = valueOf(openImage(bytesSource(elfCore(runs))));
        expect(image).toMatchObject({ format: 'elf', compressed: false });
        for (const each of runs) {
          const into = new Uint8Array(each.bytes.length);
          expect(image.memory.read(each.pa, into)).toBe(true);
          expect(Buffer.compare(into, each.bytes)).toBe(0);
        }
      }),
    );
  });

  it('of a real machine holds the pages that its program headers list', () => {
    const image = sampleImage('T-4k-a76/c1.core.gz');
    expect(image).toMatchObject({ format: 'elf', compressed: true });
    expect(image.memory.segments.map(({ bytes }) => bytes).reduce((a, b) => a + b)).toBe(5 * 4096);
    expect(image.memory.segments).toHaveLength(2);
    expect(image.memory.has(0x440a_a000, 8192)).toBe(true);
  });

  it('counts 65,535 headers and more in section header 0 (PN_XNUM)', () => {
    const runs = Array.from({ length: 70_000 }, (_, i) => ({ pa: i * 32, bytes: new Uint8Array(16) }));
    expect(valueOf(readElf(bytesSource(elfCore(runs)))).segments).toHaveLength(70_000);
  });

  it('keeps headers of other types out of memory', () => {
    const file = elfCore([{ pa: 0x1000, bytes: PAGE }, { pa: 0x9000, bytes: PAGE }]);
    new DataView(file.buffer).setUint32(64, 4, true); // PT_NOTE
    expect(valueOf(readElf(bytesSource(file))).segments.map(({ pa }) => pa)).toEqual([0x9000]);
  });

  it('is refused when it is cut at any byte', () => {
    const file = elfCore([{ pa: 0x4000_0000, bytes: new Uint8Array(64) }]);
    for (let size = 0; size < file.length; size += 1) {
      const outcome = readElf(bytesSource(file.subarray(0, size)));
      expect(outcome).toMatchObject({
        kind: 'refused',
        id: size < 4 ? 'elf.not-elf' : size < 64 ? 'elf.truncated' : size < 120 ? 'elf.headers-outside' : 'elf.segment-outside',
      });
    }
  });

  it.each<[string, (view: DataView) => void, string]>([
    ['is 32-bit', (view) => view.setUint8(4, 1), 'elf.class'],
    ['is big-endian', (view) => view.setUint8(5, 2), 'elf.byte-order'],
    ['is of no version', (view) => view.setUint8(6, 0), 'elf.version'],
    ['has program headers of another size', (view) => view.setUint16(54, 32, true), 'elf.header-size'],
    ['counts more headers than it has', (view) => view.setUint16(56, 200, true), 'elf.headers-outside'],
    ['has its headers far away', (view) => view.setBigUint64(32, HUGE, true), 'elf.headers-outside'],
    ['says PN_XNUM without a section header', (view) => view.setUint16(56, 0xffff, true), 'elf.headers-outside'],
    ['says PN_XNUM with a section header far away', farSections, 'elf.headers-outside'],
    ['has no headers', (view) => view.setUint16(56, 0, true), 'elf.no-memory'],
    ['has more bytes in the file than in memory', (view) => view.setBigUint64(64 + 40, 1n, true), 'elf.segment-sizes'],
    ['has a segment beyond its end', (view) => view.setBigUint64(64 + 8, 121n, true), 'elf.segment-outside'],
    ['has an offset that overflows', (view) => view.setBigUint64(64 + 8, HUGE, true), 'elf.segment-outside'],
    ['has an address beyond 52 bits', (view) => view.setBigUint64(64 + 24, 1n << 52n, true), 'elf.segment-address'],
    ['has sizes that overflow', (view) => view.setBigUint64(64 + 40, HUGE, true), 'elf.segment-address'],
  ])('that %s is refused', (_, change, id) => {
    expect(readElf(changed(change))).toMatchObject({ kind: 'refused', id });
  });

  it('whose segments overlap is refused as an image', () => {
    const file = elfCore([{ pa: 0x1000, bytes: PAGE }, { pa: 0x1800, bytes: PAGE }]);
    expect(openImage(bytesSource(file))).toMatchObject({ kind: 'refused', id: 'image.overlapping-segments' });
  });

  it('of 100 GB is opened by reading its headers alone, and a page of it by reading that page', () => {
    const size = 100 * 2 ** 30;
    const head = elfCore([{ pa: 0, bytes: new Uint8Array(0) }]);
    const view = new DataView(head.buffer);
    view.setBigUint64(64 + 32, BigInt(size - head.length), true);
    view.setBigUint64(64 + 40, BigInt(size), true);
    let bytesRead = 0;
    const source: ByteSource = {
      size,
      read(offset, into) {
        bytesRead += into.length;
        for (let i = 0; i < into.length; i += 1) into[i] = offset + i < head.length ? head[offset + i] : (offset + i - head.length) % 251;
        return into.length;
      },
    };
    const { memory } = valueOf(openImage(source));
    const into = new Uint8Array(4096);
    expect(memory.read(50e9, into)).toBe(true);
    expect([into[0], into[4095]]).toEqual([50e9 % 251, (50e9 + 4095) % 251]);
    expect(bytesRead).toBeLessThan(8192);
  });

  it('that claims 2^32 headers in a file large enough for them is refused without reading them', () => {
    const head = elfCore([]);
    const view = new DataView(head.buffer);
    view.setUint16(56, 0xffff, true);
    view.setBigUint64(40, 4096n, true);
    let reads = 0;
    const source: ByteSource = {
      size: 2 ** 40,
      read(offset, into) {
        reads += 1;
        into.fill(0xff);
        if (offset === 0) into.set(head.subarray(0, into.length));
        return into.length;
      },
    };
    expect(readElf(source)).toMatchObject({ kind: 'refused', id: 'elf.too-many-headers' });
    expect(reads).toBeLessThan(4);
  });

  it('with random damage ends in an outcome', () => {
    const file = elfCore([{ pa: 0x1000, bytes: PAGE }, { pa: 0x9000, bytes: PAGE }]);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(175), fc.nat(255)), { minLength: 1, maxLength: 8 }), (damage) => {
        const copy = file.slice();
        for (const [at, value] of damage) copy[at] = value;
        expect(['done', 'refused']).toContain(openImage(bytesSource(copy)).kind);
      }),
    );
  });
});

describe('an image', () => {
  it('is raw memory where a base address is given', () => {
    const { format, memory } = valueOf(openImage(bytesSource(Uint8Array.of(1, 2, 3, 4, 5)), { base: 0x8000_0000 }));
    const into = new Uint8Array(2);
    expect([format, memory.read(0x8000_0003, into), ...into]).toEqual(['raw', true, 4, 5]);
    expect(memory.read(0x8000_0004, into)).toBe(false);
  });

  it('that is neither ELF nor has a base address is refused, and so is an empty one', () => {
    expect(openImage(bytesSource(Uint8Array.of(1, 2, 3, 4, 5)))).toMatchObject({
      id: 'image.no-base',
      sentence: 'The image begins with 0x01020304, which is not ELF: raw memory needs a base address.',
    });
    expect(openImage(bytesSource(new Uint8Array(0)))).toMatchObject({ id: 'image.empty' });
    expect(openImage(bytesSource(PAGE), { base: 2 ** 52 - 1 })).toMatchObject({ id: 'image.beyond-address-space' });
  });

  it('that is gzip is inflated first, whether ELF or raw', () => {
    const { format, compressed } = valueOf(openImage(bytesSource(sample('T-4k-a76/c1.core.gz')), { base: 0 }));
    expect([format, compressed]).toEqual(['raw', true]);
  });
});
