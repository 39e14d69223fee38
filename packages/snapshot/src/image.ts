import { done, refused, type ByteSource, type Outcome } from '@granule/contract';
import { hex, type OutputAddress } from '@granule/geometry/bits';
import { sparseMemory, type SparseMemory } from '@granule/memory';
import { isElf, readElf } from './elf.js';
import { inflate, isGzip, type InflateOptions } from './gzip.js';

export interface OpenImageOptions extends InflateOptions {
  /** Physical address of the first byte: the file is raw memory, whatever its first bytes look like. */
  readonly base?: OutputAddress;
}

export interface Image {
  readonly format: 'elf' | 'raw';
  /** The file was gzip. */
  readonly compressed: boolean;
  readonly memory: SparseMemory;
}

/**
 * The memory of an image. Gzip is told by its magic and inflated first. With `base` the content is raw memory, without it an ELF64 file. Reads no more than
 * headers, but for gzip. Refused: `image.no-base` (neither ELF nor a base), `image.empty`, `image.overlapping-segments`,
 * `image.beyond-address-space`, and what {@link readElf} and {@link inflate} refuse.
 */
export function openImage(source: ByteSource, options: OpenImageOptions = {}): Outcome<Image> {
  const compressed = isGzip(head(source));
  const content: Outcome<ByteSource> = compressed ? inflate(source, options) : done(source);
  if (content.kind !== 'done') {
    return content;
  }
  const { value } = content;
  if (value.size === 0) {
    return refused('image.empty', 'The image has no bytes.', 'openImage');
  }
  if (options.base !== undefined) {
    const memory = sparseMemory([{ pa: options.base, bytes: value.size, fileBytes: value.size, source: value, offset: 0 }]);
    return memory.kind === 'done' ? done({ format: 'raw', compressed, memory: memory.value }) : memory;
  }
  const start = head(value);
  if (!isElf(start)) {
    const bytes = hex(new DataView(start.buffer).getUint32(0), 8);
    return refused('image.no-base', `The image begins with ${bytes}, which is not ELF: raw memory needs a base address.`, 'openImage');
  }
  const elf = readElf(value);
  if (elf.kind !== 'done') {
    return elf;
  }
  const memory = sparseMemory(elf.value.segments);
  return memory.kind === 'done' ? done({ format: 'elf', compressed, memory: memory.value }) : memory;
}

/** The first four bytes; where there are fewer, zeros. */
function head(source: ByteSource): Uint8Array {
  const bytes = new Uint8Array(4);
  source.read(0, bytes);
  return bytes;
}
