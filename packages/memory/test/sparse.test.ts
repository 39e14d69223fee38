import type { ByteSource } from '@granule/contract';
import { bytesSource, SparseMemory, sparseMemory, type Segment } from '@granule/memory';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const text = (from: Uint8Array): string => String.fromCharCode(...from);
const segment = (pa: number, content: string, size = content.length): Segment => ({
  pa,
  bytes: size,
  fileBytes: content.length,
  source: bytesSource(bytes(content)),
  offset: 0,
});
const memoryOf = (...segments: readonly Segment[]): SparseMemory => {
  const memory = sparseMemory(segments);
  if (memory.kind !== 'done') throw new Error(memory.sentence);
  return memory.value;
};
const read = (memory: SparseMemory, pa: number, length: number): string | false => {
  const into = new Uint8Array(length).fill(0xff);
  return memory.read(pa, into) && text(into);
};

describe('sparse memory', () => {
  it('reads across segments that adjoin, in whatever order they were added', () => {
    const memory = memoryOf(segment(0x1003, 'def'), segment(0x1000, 'abc'), segment(0x1006, 'g'));
    expect(read(memory, 0x1000, 7)).toBe('abcdefg');
    expect(read(memory, 0x1002, 3)).toBe('cde');
  });

  it('reads zero behind the bytes of the file, as p_memsz beyond p_filesz asks', () => {
    expect(read(memoryOf(segment(0x1000, 'ab', 4)), 0x1001, 3)).toBe('b\0\0');
  });

  it('has holes', () => {
    const memory = memoryOf(segment(0x1000, 'ab'), segment(0x1003, 'cd'));
    expect(read(memory, 0x1001, 2)).toBe(false);
    expect(read(memory, 0x1004, 2)).toBe(false);
    expect(read(memory, 0xfff, 2)).toBe(false);
    expect([memory.has(0x1000, 2), memory.has(0x1001, 3)]).toEqual([true, false]);
    expect(new SparseMemory().read(0, new Uint8Array(1))).toBe(false);
  });

  it('refuses segments that overlap, and keeps what it had', () => {
    const memory = memoryOf(segment(0x1000, 'abcd'));
    expect(memory.add([segment(0x2000, 'x'), segment(0x1003, 'y')])).toMatchObject({
      kind: 'refused',
      id: 'image.overlapping-segments',
      sentence: 'The segment at 0x0000000000001003 begins before the one at 0x0000000000001000 ends (0x0000000000001004).',
    });
    expect(read(memory, 0x2000, 1)).toBe(false);
  });

  it.each([
    [{ ...segment(0, 'ab'), fileBytes: 3 }, 'image.bad-segment'],
    [{ ...segment(0, 'ab', 8), fileBytes: 3 }, 'image.bad-segment'],
    [{ ...segment(0, 'ab'), offset: 1 }, 'image.bad-segment'],
    [{ ...segment(0, 'ab'), pa: -1 }, 'image.bad-segment'],
    [{ ...segment(0, 'ab'), pa: 0.5 }, 'image.bad-segment'],
    [segment(2 ** 52 - 1, 'ab'), 'image.beyond-address-space'],
  ])('refuses a segment that contradicts itself or its source (%#)', (bad, id) => {
    expect(sparseMemory([bad])).toMatchObject({ kind: 'refused', id });
  });

  it('keeps writes to itself, over segments and over the seam between them', () => {
    const memory = memoryOf(segment(0x1ffe, 'ab'), segment(0x2000, 'cd'));
    expect(memory.write(0x1fff, bytes('XY')).kind).toBe('done');
    expect(read(memory, 0x1ffe, 4)).toBe('aXYd');
    expect(memory.write(0x2001, bytes('ZZ'))).toMatchObject({ id: 'memory.not-memory' });
    expect(read(memory, 0x1ffe, 4)).toBe('aXYd');
  });

  it('refuses writes beyond its limit with nothing written', () => {
    const memory = new SparseMemory({ maxWritten: 8192 });
    memory.addZeroed(0, 2 ** 40);
    expect(memory.write(0x1000, new Uint8Array(8192).fill(1)).kind).toBe('done');
    expect(memory.write(0x2ffe, bytes('abcd'))).toMatchObject({ id: 'memory.over-limit' });
    expect(read(memory, 0x2ffe, 4)).toBe('\x01\x01\0\0');
  });

  it('is not memory where the source gives less than it promised', () => {
    const torn: ByteSource = { size: 100, read: () => 1 };
    const memory = memoryOf({ pa: 0, bytes: 8, fileBytes: 8, source: torn, offset: 0 });
    expect(memory.read(0, new Uint8Array(8))).toBe(false);
  });

  it('holds a hundred thousand segments without searching through them all', () => {
    const source = bytesSource(bytes('abcd'));
    const many = Array.from({ length: 100_000 }, (_, i): Segment => ({ pa: (100_000 - i) * 16, bytes: 4, fileBytes: 4, source, offset: 0 }));
    const memory = memoryOf(...many);
    const start = performance.now();
    for (let i = 1; i <= 100_000; i += 1) memory.read(((i * 7919) % 100_000) * 16 + 16, new Uint8Array(4));
    expect(performance.now() - start).toBeLessThan(2000);
  });

  it('is a flat array with holes under any sequence of reads and writes', () => {
    const step = fc.record({ write: fc.boolean(), pa: fc.nat(0x4100), length: fc.integer({ min: 1, max: 0x1800 }), value: fc.integer({ min: 1, max: 255 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const flat = new Uint8Array(0x6000);
        const held = new Uint8Array(0x6000);
        const place = (pa: number, size: number, stored: number): Segment => {
          const content = Uint8Array.from({ length: stored }, (_, i) => (pa + i * 31) % 251);
          flat.set(content, pa);
          held.fill(1, pa, pa + size);
          return { pa, bytes: size, fileBytes: stored, source: bytesSource(content), offset: 0 };
        };
        const memory = memoryOf(place(0x100, 0xf00, 0x800), place(0x1000, 0x20, 0x20), place(0x1020, 0x1234, 0x1234), place(0x3001, 0x1000, 0));
        for (const { write, pa, length, value } of steps) {
          const present = held.subarray(pa, pa + length).every((each) => each === 1);
          if (write) {
            expect(memory.write(pa, new Uint8Array(length).fill(value)).kind).toBe(present ? 'done' : 'refused');
            if (present) flat.fill(value, pa, pa + length);
          } else {
            const into = new Uint8Array(length);
            expect(memory.read(pa, into)).toBe(present);
            if (present) expect(Buffer.compare(into, flat.subarray(pa, pa + length))).toBe(0);
          }
        }
      }),
    );
  });
});
