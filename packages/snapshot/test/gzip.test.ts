import { gzipSync } from 'node:zlib';
import type { ByteSource } from '@granule/contract';
import { bytesSource } from '@granule/memory';
import { inflate } from '@granule/snapshot';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sample, valueOf } from './samples.js';

const contentOf = (source: ByteSource): Uint8Array => {
  const into = new Uint8Array(source.size);
  expect(source.read(0, into)).toBe(source.size);
  return into;
};
const noise = (size: number): Uint8Array => {
  let state = 1;
  return Uint8Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24);
};

describe('a gzip file', () => {
  it('inflates to what was compressed, whatever its size', () => {
    fc.assert(
      fc.property(fc.nat(200_000), fc.nat(9), fc.boolean(), (size, level, random) => {
        const content = random ? noise(size) : new Uint8Array(size).fill(5);
        expect(Buffer.compare(contentOf(valueOf(inflate(bytesSource(gzipSync(content, { level }))))), content)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it('can be read at any offset, across the pieces it is kept in', () => {
    const content = noise(3 * 2 ** 20 + 17);
    const source = valueOf(inflate(bytesSource(gzipSync(content))));
    for (const offset of [0, 2 ** 20 - 3, 2 ** 21 - 1, content.length - 5]) {
      const into = new Uint8Array(10);
      const got = source.read(offset, into);
      expect(into.subarray(0, got)).toEqual(content.slice(offset, offset + 10));
    }
    expect(source.read(content.length, new Uint8Array(1))).toBe(0);
  });

  it('of several members is one content', () => {
    const [first, second] = [noise(70_000), new Uint8Array(100_000)];
    const content = contentOf(valueOf(inflate(bytesSource(Buffer.concat([gzipSync(first), gzipSync(second)])))));
    expect(Buffer.compare(content, Buffer.concat([first, second]))).toBe(0);
  });

  it('that is a bomb is refused as soon as it passes the limit', () => {
    const bomb = gzipSync(new Uint8Array(64 * 2 ** 20));
    let bytesRead = 0;
    const source: ByteSource = {
      size: 2 ** 40,
      read(offset, into) {
        bytesRead += into.length;
        const part = bomb.subarray(offset, offset + into.length);
        into.set(part);
        return part.length;
      },
    };
    expect(inflate(source, { limit: 2 ** 20 })).toMatchObject({
      kind: 'refused',
      id: 'gzip.over-limit',
      sentence: 'The file inflates to more than the limit of 1M.',
    });
    expect(bytesRead).toBeLessThan(2 ** 16);
  });

  it('may inflate to the limit exactly', () => {
    const file = gzipSync(noise(5000));
    expect(inflate(bytesSource(file), { limit: 5000 }).kind).toBe('done');
    expect(inflate(bytesSource(file), { limit: 4999 })).toMatchObject({ id: 'gzip.over-limit' });
  });

  it('is refused when it is cut at any byte', () => {
    const file = sample('T-4k-a76/c1.core.gz');
    for (let size = 2; size < file.length; size += 1) {
      expect(inflate(bytesSource(file.subarray(0, size)))).toMatchObject({ kind: 'refused', id: 'gzip.corrupt' });
    }
  });

  it('is refused when a bit of its content or its trailer is flipped', () => {
    const file = gzipSync(noise(40_000), { level: 1 });
    for (const at of [30, 1000, 20_000, file.length - 9, file.length - 8, file.length - 5, file.length - 4, file.length - 1]) {
      const copy = Buffer.from(file);
      copy[at] ^= 0x10;
      expect(inflate(bytesSource(copy)).kind, `byte ${at}`).toBe('refused');
    }
  });

  it('whose first member is damaged is refused though the second is sound', () => {
    const first = gzipSync(noise(5000), { level: 0 });
    first[2000] ^= 1;
    expect(inflate(bytesSource(Buffer.concat([first, gzipSync(noise(10))])))).toMatchObject({ id: 'gzip.corrupt' });
  });

  it('with a name that never ends is refused after a few pieces', () => {
    let bytesRead = 0;
    const source: ByteSource = {
      size: 2 ** 40,
      read(offset, into) {
        bytesRead += into.length;
        into.fill(0x41);
        if (offset === 0) into.set([0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3]);
        return into.length;
      },
    };
    expect(inflate(source)).toMatchObject({ id: 'gzip.corrupt' });
    expect(bytesRead).toBeLessThan(2 ** 20);
  });
});
