import type { PhysicalReader, TableMemory, Words } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { OutputAddress } from '@granule/geometry/bits';

/** Memory as a walker reads it: 64-bit words, little-endian halves, each signed or unsigned (signed is faster: the engines keep small integers unboxed). */
export interface DescriptorMemory {
  /**
   * Fills `into` with the word at `pa` (8-byte aligned). False, and `into` unspecified, where that is not memory: an external abort. It must not translate
   * itself: one translation is under way at a time.
   */
  load(pa: OutputAddress, into: Words, stage: 1 | 2, level: Level): boolean;
  /** A walk of stage 2 begins, of this IPA: for the descriptor of stage 1 that is fetched next, or for the output. */
  stage2?(ipa: OutputAddress): void;
  /** The arena that the words are in, where they are in one: walks read its contiguous part themselves, up to 8 GiB of it below 2^43, and ask `load` for the rest. */
  readonly arena?: TableMemory;
}

/** Words of an image or of sparse memory. */
export function readerMemory(reader: PhysicalReader): DescriptorMemory {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  return {
    load(pa, into) {
      if (!reader.read(pa, bytes)) return false;
      into.lo = view.getInt32(0, true);
      into.hi = view.getInt32(4, true);
      return true;
    },
  };
}

/**
 * Words of live table memory.
 *
 * @throws RangeError from `load` where the memory's own limit of loaded pages is reached: an answer would be a guess
 */
export function tableMemory(memory: TableMemory): DescriptorMemory {
  const page = 2 ** memory.pageShift;
  return {
    arena: memory,
    load(pa, into) {
      const offset = pa - memory.firstPage * page;
      const inside = offset >= 0 && offset < memory.contiguousPages * page;
      const word = (inside ? offset / 4 : memory.wordOf(pa, 8)) | 0;
      if (word === -2) throw new RangeError('The limit of loaded table pages is reached; raise it.');
      if (word < 0) return false;
      const { words } = memory;
      into.lo = words[word] | 0;
      into.hi = words[word + 1] | 0;
      return true;
    },
  };
}
