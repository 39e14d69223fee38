import type { ByteSource } from '@granule/contract';

const HOST_IS_LITTLE = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** A source over bytes that are in memory already. The bytes are not copied. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read(offset, into) {
      const part = bytes.subarray(offset, offset + into.length);
      into.set(part);
      return part.length;
    },
  };
}

/** Words as little-endian bytes, a copy. */
export function bytesOfWords(words: Uint32Array): Uint8Array {
  const copy = words.slice();
  return swapUnlessLittle(new Uint8Array(copy.buffer));
}

/** Little-endian bytes (a multiple of 4 of them) into `words` from `word` on. */
export function wordsFromBytes(bytes: Uint8Array, words: Uint32Array, word: number): void {
  const target = new Uint8Array(words.buffer, words.byteOffset + word * 4, bytes.length);
  target.set(bytes);
  swapUnlessLittle(target);
}

function swapUnlessLittle(bytes: Uint8Array): Uint8Array {
  if (!HOST_IS_LITTLE) {
    for (let i = 0; i < bytes.length; i += 4) {
      bytes.subarray(i, i + 4).reverse();
    }
  }
  return bytes;
}
