import type { Format, GuestMemory, Words, AttributeRequest } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { alignDown, bigintHigh, bigintLow, fieldOf } from '@granule/geometry/bits';
import { big, or, valueOf } from '../words.js';

export interface Span {
  readonly start: number;
  readonly end: number;
}

const inside = ({ start, end }: Span, at: number): boolean => at >= start && at < end;

/** The memory of a VM at its IPAs, word by word: zero unless written, no memory in `holes`. */
export class VmMemory implements GuestMemory {
  readonly words = new Map<number, bigint>();
  readonly holes: Span[] = [];
  readonly readOnly: Span[] = [];
  /** The next exchange finds that somebody was faster. */
  race = false;

  read(at: number, into: Uint8Array): boolean {
    if (this.holes.some((hole) => inside(hole, at))) return false;
    if (into.length === 8 && at % 8 === 0) new DataView(into.buffer, into.byteOffset).setBigUint64(0, this.word(at), true);
    else for (let i = 0; i < into.length; i++) into[i] = Number((this.word(at + i) >> BigInt(8 * ((at + i) % 8))) & 0xffn);
    return true;
  }

  exchange(at: number, expected: bigint, value: bigint): 'done' | 'changed' | 'read-only' | 'not-memory' {
    if (this.holes.some((hole) => inside(hole, at))) return 'not-memory';
    if (this.readOnly.some((span) => inside(span, at))) return 'read-only';
    if (this.race || this.word(at) !== expected) {
      this.race = false;
      return 'changed';
    }
    this.words.set(at, value);
    return 'done';
  }

  /** The little-endian word that holds this byte. */
  word(at: number): bigint {
    return this.words.get(alignDown(at, 3)) ?? 0n;
  }
}

const swapped = (value: bigint): bigint => {
  let out = 0n;
  for (let byte = 0n; byte < 8n; byte++) out |= ((value >> (8n * byte)) & 0xffn) << (56n - 8n * byte);
  return out;
};

/** The stage 2 that a guest hypervisor writes into its memory, entry by entry. */
export class GuestTables {
  #next: number;

  /** @param pool where tables below the root go, from here upwards */
  constructor(
    readonly memory: VmMemory,
    readonly format: Format,
    readonly root: number,
    pool: number,
    private readonly bigEndian = false,
  ) {
    this.#next = pool;
  }

  /** IPA of the entry of a level; tables above it are made where there are none. */
  at(ia: number, level: Level): number {
    const { granule, startLevel, iaBits, stride, pageShift } = this.format.geometry;
    let table = this.root;
    for (let l = startLevel; ; l = (l + 1) as Level) {
      const shift = levelShift(granule, l);
      const at = table + 8 * fieldOf(ia, shift, l === startLevel ? iaBits - shift : stride);
      if (l === level) return at;
      const [lo, hi] = this.#words(at);
      if (this.format.kind(lo, hi, l) === ENTRY.table) {
        table = this.format.tableOutput(lo, hi);
      } else {
        table = this.#next;
        this.#next += 2 ** pageShift;
        this.put(at, this.table(table));
      }
    }
  }

  /** A descriptor of the next table at `address`. */
  table(address: number): bigint {
    const { pageShift } = this.format.geometry;
    return big(or(valueOf('nested.format', this.format.encodeTable(), 'encodeTable'), this.#output(address, pageShift)));
  }

  leaf(level: Level, output: number, request: AttributeRequest = {}): bigint {
    const bits = valueOf('nested.format', this.format.encodeLeaf(request, level), 'encodeLeaf');
    return big(or(bits, this.#output(output, levelShift(this.format.geometry.granule, level))));
  }

  map(ia: number, level: Level, output: number, request?: AttributeRequest): void {
    this.put(this.at(ia, level), this.leaf(level, output, request));
  }

  put(at: number, descriptor: bigint): void {
    this.memory.words.set(at, this.bigEndian ? swapped(descriptor) : descriptor);
  }

  get(at: number): bigint {
    const word = this.memory.word(at);
    return this.bigEndian ? swapped(word) : word;
  }

  #words(at: number): readonly [number, number] {
    const descriptor = this.get(at);
    return [bigintLow(descriptor), bigintHigh(descriptor)];
  }

  #output(address: number, shift: number): Words {
    return valueOf('nested.format', this.format.encodeOutput(address, shift), 'encodeOutput');
  }
}
