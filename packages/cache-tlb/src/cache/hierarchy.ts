import type { Outcome, PhysicalReader } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import { Lines, type CacheShape } from './lines.js';
import type { CachePolicy } from './policy.js';

/** Main memory behind all caches. */
export interface MainMemory extends PhysicalReader {
  write(pa: OutputAddress, bytes: Uint8Array): Outcome<undefined>;
}

/** Numbers of the shareability domains of a PE; default 0. PEs of one inner domain are of one outer domain. */
export interface CachedPe {
  readonly inner?: number;
  readonly outer?: number;
}

export interface CacheConfig {
  readonly memory: MainMemory;
  readonly pes: readonly CachedPe[];
  /** L1 of each PE. A data cache behaves as physically indexed and tagged, whatever it is (DDI 0487 D8.18.1). */
  readonly data: CacheShape;
  /** `index: 'virtual'`: VIPT, where aliases of a line sit in several sets; otherwise PIPT. */
  readonly instruction: CacheShape & { readonly index: 'virtual' | 'physical' };
  /** Level 2, shared by all PEs; the point of unification. */
  readonly outer?: CacheShape;
  /** A cache before the point of coherency that no register tells of: operations by address reach it, operations by set/way do not. */
  readonly system?: CacheShape;
  /** Bytes of a line at every level, 16 … 2048; default 64. */
  readonly lineBytes?: number;
  /** CTR_EL0.IDC: fetches see the data caches of their shareability domain. */
  readonly idc?: boolean;
  /** CTR_EL0.DIC: instruction caches are coherent with stores. */
  readonly dic?: boolean;
  /** What DC IVAC and ISW do with a dirty line; default `lose`. The architecture allows both. */
  readonly invalidateDirty?: 'lose' | 'clean';
}

/** A level that some PEs or all share, in the order in which a miss goes on. */
const L1 = 0;

/**
 * Caches that hold bytes: what a PE reads is what they hold, right or stale. An access misses its way from the PE's L1 through the shared
 * level and the system cache to memory, and looks only where its own memory type makes it cacheable: an alias of another type sees
 * something else.
 *
 * L1 data caches of a shareability domain are coherent for shareable accesses: a reader takes a copy and leaves dirtiness with the owner, a
 * writer makes the others write back and drop theirs. Instruction caches are not (but see `idc`, `dic`). Every operation completes at once.
 */
export class CacheHierarchy {
  readonly lineBytes: number;
  readonly config: CacheConfig;
  readonly memory: MainMemory;
  readonly data: readonly Lines[];
  readonly instruction: readonly Lines[];
  readonly outer: Lines | undefined;
  readonly system: Lines | undefined;
  /** The levels behind L1. */
  readonly #shared: readonly Lines[];
  readonly #scratch: Uint8Array;

  constructor(config: CacheConfig) {
    const { memory, pes, data, instruction, outer, system, lineBytes = 64 } = config;
    this.config = config;
    this.memory = memory;
    this.lineBytes = lineBytes;
    const lines = (shape: CacheShape): Lines => new Lines(shape, lineBytes);
    this.data = pes.map(() => lines(data));
    this.instruction = pes.map(() => lines(instruction));
    this.outer = outer && lines(outer);
    this.system = system && lines(system);
    this.#shared = [this.outer, this.system].filter((each) => each !== undefined);
    this.#scratch = new Uint8Array(lineBytes);
  }

  /** PE `pe` reads data, or a descriptor. False: an external abort, `into` unspecified. */
  read(pe: number, pa: OutputAddress, into: Uint8Array, policy: CachePolicy): boolean {
    return this.#pieces(pa, into, (line, offset, bytes) => {
      if (this.#bypasses(policy)) return this.memory.read(line + offset, bytes);
      if (!this.readLine(pe, line, this.#scratch, policy)) return false;
      bytes.set(this.#scratch.subarray(offset, offset + bytes.length));
      return true;
    });
  }

  /** PE `pe` writes data. False: an external abort; what lies in earlier lines is written. */
  write(pe: number, pa: OutputAddress, from: Uint8Array, policy: CachePolicy): boolean {
    return this.#pieces(pa, from, (line, offset, bytes) => {
      if (this.config.dic === true) for (const each of this.domain(pe, policy.share)) this.instruction[each].dropLine(line);
      return this.#writeLevel(pe, L1, line, offset, bytes, policy);
    });
  }

  /** PE `pe` fetches instructions at `va`, an input address that a virtually indexed cache takes its set from. False: an external abort. */
  fetch(pe: number, va: number, pa: OutputAddress, into: Uint8Array, policy: CachePolicy): boolean {
    const lines = this.instruction[pe];
    return this.#pieces(pa, into, (line, offset, bytes) => {
      if (this.#bypasses(policy)) return this.memory.read(line + offset, bytes);
      const index = this.instructionIndex(va - pa + line, line);
      let slot = policy.inner.cacheable ? lines.look(line, index) : -1;
      if (slot === -1 && !this.#fetchLine(pe, line, this.#scratch, policy)) return false;
      if (slot === -1 && policy.inner.allocatesOnRead) {
        slot = lines.room(index);
        lines.fill(slot, line, this.#scratch, false, policy.outer.cacheable);
      }
      const source = slot === -1 ? this.#scratch : lines.dataOf(slot);
      bytes.set(source.subarray(offset, offset + bytes.length));
      return true;
    });
  }

  /** Where an instruction line goes: by VA or by PA. */
  instructionIndex(va: number, pa: number): number {
    return this.config.instruction.index === 'virtual' ? va : pa;
  }

  /** Fills `into` with a line as PE `pe` sees it, allocating as the policy says. */
  readLine(pe: number, line: number, into: Uint8Array, policy: CachePolicy): boolean {
    const { cacheable, allocatesOnRead } = policy.inner;
    if (!cacheable) return this.#readShared(0, line, into, policy);
    const own = this.data[pe];
    const slot = own.look(line);
    if (slot !== -1) {
      into.set(own.dataOf(slot));
      return true;
    }
    if (!this.#snoop(pe, line, into, policy) && !this.#readShared(0, line, into, policy)) return false;
    if (allocatesOnRead) this.fillData(pe, line, into, false, policy.outer.cacheable);
    return true;
  }

  /** Puts a line into a PE's L1, making room. */
  fillData(pe: number, line: number, bytes: Uint8Array, dirty: boolean, outer: boolean): void {
    this.#fill(this.data[pe], 0, line, bytes, dirty, outer);
  }

  /** The PEs of the shareability domain of PE `pe`, itself included. */
  domain(pe: number, share: CachePolicy['share']): readonly number[] {
    if (share === 'non') return [pe];
    const { pes } = this.config;
    const of = (each: CachedPe): number => each[share] ?? 0;
    return [...pes.keys()].filter((each) => of(pes[each]) === of(pes[pe]));
  }

  /** Writes a dirty line of L1 (`behind` 0) or of the shared level `behind` − 1 to where it belongs next; it is clean afterwards. */
  writeBack(lines: Lines, slot: number, behind: number): void {
    if (!lines.isDirty(slot)) return;
    const line = lines.lineOf(slot);
    const next = lines.isOuter(slot) ? this.#shared[behind] : undefined;
    lines.setDirty(slot, false);
    if (next === undefined) this.memory.write(line, lines.dataOf(slot));
    else {
      const held = next.find(line);
      if (held === -1) this.#fill(next, behind + 1, line, lines.dataOf(slot), true, true);
      else next.fill(held, line, lines.dataOf(slot), true, true);
    }
  }

  /** Shared levels in order. */
  get shared(): readonly Lines[] {
    return this.#shared;
  }

  #fill(lines: Lines, behind: number, line: number, bytes: Uint8Array, dirty: boolean, outer: boolean): void {
    const slot = lines.room(line);
    if (lines.lineOf(slot) !== -1) this.writeBack(lines, slot, behind);
    lines.fill(slot, line, bytes, dirty, outer);
  }

  /** The line from the L1 of the domain that holds it dirty; a clean copy is no newer than what lies behind. */
  #snoop(pe: number, line: number, into: Uint8Array, { share }: CachePolicy): boolean {
    for (const each of this.domain(pe, share)) {
      const slot = this.data[each].find(line);
      if (slot === -1 || !this.data[each].isDirty(slot)) continue;
      into.set(this.data[each].dataOf(slot));
      return true;
    }
    return false;
  }

  /** What a fetch that missed L1I reads: with IDC what data accesses see, otherwise what lies at the point of unification. */
  #fetchLine(pe: number, line: number, into: Uint8Array, policy: CachePolicy): boolean {
    return (this.config.idc === true && this.#snoop(pe, line, into, policy)) || this.#readShared(0, line, into, policy);
  }

  #readShared(level: number, line: number, into: Uint8Array, policy: CachePolicy): boolean {
    const lines = policy.outer.cacheable ? this.#shared[level] : undefined;
    if (lines === undefined) return this.memory.read(line, into);
    const slot = lines.look(line);
    if (slot !== -1) {
      into.set(lines.dataOf(slot));
      return true;
    }
    if (!this.#readShared(level + 1, line, into, policy)) return false;
    if (policy.outer.allocatesOnRead) this.#fill(lines, level + 1, line, into, false, true);
    return true;
  }

  /** Level 0 is L1, level n the n-th shared one. */
  #writeLevel(pe: number, level: number, line: number, offset: number, bytes: Uint8Array, policy: CachePolicy): boolean {
    const lines = level === L1 ? this.data[pe] : this.#shared[level - 1];
    const { cacheable, through, allocatesOnWrite } = level === L1 ? policy.inner : policy.outer;
    if (lines === undefined || (level > L1 && !cacheable)) return this.memory.write(line + offset, bytes).kind === 'done';
    const next = (): boolean => this.#writeLevel(pe, level + 1, line, offset, bytes, policy);
    if (!cacheable) return next();
    if (level === L1) this.#claim(pe, line, policy);
    let slot = lines.look(line);
    if (slot === -1 && (through || !allocatesOnWrite)) return next();
    if (slot === -1) {
      if (!this.#readShared(level, line, this.#scratch, policy)) return false;
      this.#fill(lines, level, line, this.#scratch, false, policy.outer.cacheable);
      slot = lines.find(line);
    }
    lines.dataOf(slot).set(bytes, offset);
    if (through) return next();
    lines.setDirty(slot, true);
    return true;
  }

  /** Before a shareable store: the other data caches of the domain write the line back and drop it. */
  #claim(pe: number, line: number, { share }: CachePolicy): void {
    if (share === 'non') return;
    for (const each of this.domain(pe, share)) {
      if (each === pe) continue;
      const lines = this.data[each];
      const slot = lines.find(line);
      if (slot === -1) continue;
      this.writeBack(lines, slot, 0);
      lines.drop(slot);
    }
  }

  #bypasses({ inner, outer }: CachePolicy): boolean {
    return !inner.cacheable && !outer.cacheable;
  }

  /** Calls `piece` for the part of [pa, pa + bytes) in each line. */
  #pieces(pa: number, bytes: Uint8Array, piece: (line: number, offset: number, bytes: Uint8Array) => boolean): boolean {
    for (let done = 0; done < bytes.length; ) {
      const offset = (pa + done) % this.lineBytes;
      const length = Math.min(this.lineBytes - offset, bytes.length - done);
      if (!piece(pa + done - offset, offset, bytes.subarray(done, done + length))) return false;
      done += length;
    }
    return true;
  }
}
