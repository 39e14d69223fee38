import type { GuestMemory } from '@granule/contract';
import { bigintHigh, bigintLow, alignUp, fromHalves, type InputAddress, toBigint } from '@granule/geometry/bits';
import type { Op } from './ops.js';

/** Bytes of the pieces in which memory is kept; every table is whole ones. */
const PIECE = 4096;
const ENTRY_BYTES = 8;
/** Descriptor of a table: valid, and not a block (DDI 0487 D8.3.1). */
const TABLE = 3;

interface Root {
  readonly ipa: InputAddress;
  readonly level: number;
  readonly shift: number;
}

/** A descriptor that an op wrote, for the history of an entry. */
export interface GuestWrite {
  readonly context: number;
  /** Input address of the entry, and its span in bytes. */
  readonly ipa: InputAddress;
  readonly bytes: number;
  readonly op: Op;
}

/**
 * Stage-2 tables of a guest hypervisor as its program builds them: tables of a context are taken one after the other from one place, each aligned to its size.
 * Memory is at the guest's IPAs; what holds no table does not exist.
 */
export class GuestTables implements GuestMemory {
  readonly roots = new Map<number, Root>();
  readonly #pieces = new Map<number, Uint32Array>();
  #next: InputAddress;

  /** @param base IPA of the first table */
  constructor(base: InputAddress) {
    this.#next = base;
  }

  /** Does NVROOT, S2MAP, S2UNMAP; other ops do not touch tables. Undefined: nothing written. */
  apply(op: Op): GuestWrite | undefined {
    const [a, b, c] = op.args;
    const [low, shift] = [Number(c & 0xffffn), Number(c >> 16n)];
    if (op.name === 'NVROOT') {
      this.roots.set(Number(a), { ipa: this.#take(low * 2 ** shift), level: Number(b), shift });
      return undefined;
    }
    if (op.name !== 'S2MAP' && op.name !== 'S2UNMAP') {
      return undefined;
    }
    const [context, level, ipa] = [Math.floor(low / 256), low % 256, Number(a)];
    const entry = this.#entryOf(context, ipa, level);
    if (entry === undefined) {
      return undefined;
    }
    const words = op.name === 'S2MAP' ? b : 0n;
    this.#write(entry, bigintLow(words), bigintHigh(words));
    const bytes = 2 ** (shift + (shift - 3) * (3 - level));
    return { context, ipa: ipa - (ipa % bytes), bytes, op };
  }

  /** VTTBR_EL2 of a context, but for its VMID and CnP. */
  root(context: number): InputAddress | undefined {
    return this.roots.get(context)?.ipa;
  }

  read(ipa: number, into: Uint8Array): boolean {
    const view = new DataView(new ArrayBuffer(4));
    for (let i = 0; i < into.length; i++) {
      const at = ipa + i;
      const piece = this.#pieces.get(Math.floor(at / PIECE));
      if (piece === undefined) {
        return false;
      }
      view.setUint32(0, piece[Math.floor((at % PIECE) / 4)], true);
      into[i] = view.getUint8(at % 4);
    }
    return true;
  }

  exchange(ipa: number, expected: bigint, value: bigint): 'done' | 'changed' | 'not-memory' {
    if (!this.#pieces.has(Math.floor(ipa / PIECE))) {
      return 'not-memory';
    }
    const [lo, hi] = this.#at(ipa);
    if (toBigint(lo, hi) !== expected) {
      return 'changed';
    }
    this.#write(ipa, bigintLow(value), bigintHigh(value));
    return 'done';
  }

  /** The tables' memory, piece by piece: two words an entry. */
  *pieces(): Generator<readonly [ipa: InputAddress, words: Uint32Array]> {
    for (const [number, piece] of this.#pieces) {
      yield [number * PIECE, piece];
    }
  }

  #take(bytes: number): InputAddress {
    const at = alignUp(this.#next, Math.log2(bytes));
    this.#next = at + bytes;
    for (let piece = at; piece < at + bytes; piece += PIECE) {
      this.#pieces.set(piece / PIECE, new Uint32Array(PIECE / 4));
    }
    return at;
  }

  /** Address of the entry for an IPA at a level; tables on the way are made. */
  #entryOf(context: number, ipa: number, level: number): number | undefined {
    const root = this.roots.get(context);
    if (root === undefined) {
      return undefined;
    }
    const { shift } = root;
    const entries = 2 ** (shift - 3);
    let table: number = root.ipa;
    for (let at = root.level; ; at++) {
      const number = Math.floor(ipa / 2 ** (shift + (shift - 3) * (3 - at)));
      const entry = table + ENTRY_BYTES * (at === root.level ? number : number % entries);
      if (at >= level) {
        return entry;
      }
      table = this.#tableAt(entry, shift);
    }
  }

  #tableAt(entry: number, shift: number): number {
    const [lo, hi] = this.#at(entry);
    if (lo % 4 === TABLE) {
      // These tables lie below 2^48.
      const address = fromHalves(lo, hi % 2 ** 16);
      return address - (address % 2 ** shift);
    }
    const table = this.#take(2 ** shift);
    this.#write(entry, (table % 2 ** 32) + TABLE, Math.floor(table / 2 ** 32));
    return table;
  }

  #at(entry: number): readonly [lo: number, hi: number] {
    const piece = this.#pieces.get(Math.floor(entry / PIECE));
    const word = (entry % PIECE) / 4;
    return piece === undefined ? [0, 0] : [piece[word], piece[word + 1]];
  }

  #write(entry: number, lo: number, hi: number): void {
    const piece = this.#pieces.get(Math.floor(entry / PIECE));
    if (piece !== undefined) {
      const word = (entry % PIECE) / 4;
      piece[word] = lo;
      piece[word + 1] = hi;
    }
  }
}
