import type { Mismatch } from '@granule/contract';
import type { CacheHierarchy } from './hierarchy.js';
import type { Lines } from './lines.js';

/** What is known of one line. Events are numbered from 1; 0 stands for none. */
interface Written {
  /** What the program's last write left, and the event that wrote it, for each byte. */
  readonly bytes: Uint8Array;
  readonly by: Uint32Array;
  readonly known: Uint8Array;
  /** The last write that left the line dirty. */
  dirtied: number;
  /** The last DC by address, and the last IC. */
  maintained: number;
  invalidated: number;
  /** The last operation that dropped the line dirty. */
  lost: number;
}

/**
 * Remembers what a program last wrote, whatever the caches made of it, and compares. Accesses count in the order in which the machine makes
 * them. Bytes that nothing wrote through the machine are not compared.
 */
export class Witness {
  readonly #caches: CacheHierarchy;
  readonly #lines = new Map<number, Written>();
  /** The last operation by set/way on each set of each level, and the last IC of everything. */
  readonly #sets = new Map<string, number>();
  #instructions = 0;
  readonly #scratch: Uint8Array;

  constructor(caches: CacheHierarchy) {
    this.#caches = caches;
    this.#scratch = new Uint8Array(caches.lineBytes);
  }

  /** @param dirtying the write may stay in a cache */
  wrote(pa: number, bytes: Uint8Array, event: number, dirtying: boolean): void {
    for (let done = 0; done < bytes.length; ) {
      const offset = (pa + done) % this.#caches.lineBytes;
      const length = Math.min(this.#caches.lineBytes - offset, bytes.length - done);
      const line = this.#lineOf(pa + done - offset);
      line.bytes.set(bytes.subarray(done, done + length), offset);
      line.by.fill(event, offset, offset + length);
      line.known.fill(1, offset, offset + length);
      if (dirtying) line.dirtied = event;
      done += length;
    }
  }

  /** DC by address; `lost`: a dirty line went by it. */
  maintained(pa: number, event: number, lost: boolean): void {
    const line = this.#lines.get(this.#start(pa));
    if (line === undefined) return;
    line.maintained = event;
    if (lost) line.lost = event;
  }

  /** IC IVAU. */
  invalidated(pa: number, event: number): void {
    const line = this.#lines.get(this.#start(pa));
    if (line !== undefined) line.invalidated = event;
  }

  /** An operation by set/way, on one PE, of level 1 or 2; `lost`: the line that went dirty, −1: none. */
  bySetWay(level: number, set: number, event: number, lost: number): void {
    this.#sets.set(`${level} ${set}`, event);
    const line = lost === -1 ? undefined : this.#lines.get(lost);
    if (line !== undefined) line.lost = event;
  }

  /** IC IALLU, IC IALLUIS. */
  instructions(event: number): void {
    this.#instructions = event;
  }

  /** What is wrong with the bytes that a PE got; undefined: they are those last written. */
  check(pe: number, pa: number, got: Uint8Array, fetch: boolean): Mismatch | undefined {
    let wrong = -1;
    let expected = 0n;
    for (let i = got.length - 1; i >= 0; i -= 1) {
      const line = this.#lines.get(this.#start(pa + i));
      const offset = (pa + i) % this.#caches.lineBytes;
      const known = line !== undefined && line.known[offset] === 1;
      const byte = known ? line.bytes[offset] : got[i];
      if (byte !== got[i]) wrong = i;
      expected = (expected << 8n) | BigInt(byte);
    }
    return wrong === -1 ? undefined : { ...this.#blame(pe, pa + wrong, fetch), expected };
  }

  #blame(pe: number, pa: number, fetch: boolean): Pick<Mismatch, 'rule' | 'cause'> {
    const start = this.#start(pa);
    const line = this.#lines.get(start)!;
    const offset = pa - start;
    const wrote = line.by[offset];
    const byte = line.bytes[offset];
    const after = (event: number): number => (event > wrote ? event : wrote);
    const [isClean, isSomewhere] = this.#whereabouts(pe, start, offset, byte);
    if (fetch && isSomewhere) {
      // Behind the instruction cache all is well: what was to invalidate it is to blame, else nothing did.
      return { rule: 'code.stale-instructions', cause: isClean ? after(Math.max(line.invalidated, this.#instructions)) : wrote };
    }
    if (!isSomewhere) {
      const earlier = line.dirtied > 0 && line.dirtied < wrote ? line.dirtied : wrote;
      return { rule: 'data.lost-dirty-line', cause: line.lost > wrote ? line.lost : earlier };
    }
    const setWay = this.#lastSetWay(start);
    if (setWay > Math.max(wrote, line.maintained)) return { rule: 'cache.set-way-not-enough', cause: setWay };
    return { rule: 'data.stale-read', cause: after(line.maintained) };
  }

  /** Whether the byte is where a fetch that misses would find it, and whether it is anywhere. */
  #whereabouts(pe: number, line: number, offset: number, byte: number): readonly [unified: boolean, somewhere: boolean] {
    const { data, shared, memory, config } = this.#caches;
    const holds = (lines: Lines): boolean => {
      const slot = lines.find(line);
      return slot !== -1 && lines.dataOf(slot)[offset] === byte;
    };
    const behind = shared.find((lines) => lines.find(line) !== -1);
    memory.read(line, this.#scratch);
    const unified = behind === undefined ? this.#scratch[offset] === byte : holds(behind);
    const somewhere = unified || this.#scratch[offset] === byte || [...data, ...shared].some(holds);
    return [unified || (config.idc === true && holds(data[pe])), somewhere];
  }

  /** The last operation by set/way on a set that this line goes to. */
  #lastSetWay(line: number): number {
    const levels = [this.#caches.data[0], this.#caches.outer];
    return levels.reduce((last, lines, at) => Math.max(last, lines === undefined ? 0 : (this.#sets.get(`${at + 1} ${lines.setOf(line)}`) ?? 0)), 0);
  }

  #start(pa: number): number {
    return pa - (pa % this.#caches.lineBytes);
  }

  #lineOf(start: number): Written {
    let line = this.#lines.get(start);
    if (line === undefined) {
      const { lineBytes } = this.#caches;
      line = { bytes: new Uint8Array(lineBytes), by: new Uint32Array(lineBytes), known: new Uint8Array(lineBytes), dirtied: 0, maintained: 0, invalidated: 0, lost: 0 };
      this.#lines.set(start, line);
    }
    return line;
  }
}
