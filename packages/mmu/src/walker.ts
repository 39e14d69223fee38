import type { AccessType, FaultType, TableMemory, Words } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { fromHalves, type OutputAddress } from '@granule/geometry/bits';
import { traitsOf } from './access.js';
import type { Context, Stage1 } from './context.js';
import type { FetchLog } from './fetches.js';
import { stageOfTag, type LevelNumbers } from './levels.js';
import type { DescriptorMemory } from './memory.js';
import { needed } from './permissions.js';
import { createTranslation, PERMISSION, type Translation } from './result.js';
import { topOf, type Tables } from './tables.js';
import { overlay } from './updates.js';

/** Where a stage ended; addresses and the descriptor as signed halves. */
export class LeafState {
  lo = 0;
  hi = 0;
  level: Level = 0;
  shift = 0;
  /** Where the descriptor is: before stage 2, and after. */
  addressLo = 0;
  addressHi = 0;
  physicalLo = 0;
  physicalHi = 0;
  /** Output address of the input address itself. */
  outLo = 0;
  outHi = 0;

  get output(): OutputAddress {
    return fromHalves(this.outLo, this.outHi);
  }

  /** Takes a leaf, its halves given, for where the walk of the input address (lo, hi) ends: 0, or 2 where its output is beyond the output size. */
  settle(tables: Tables, step: LevelNumbers, low: number, high: number, lo: number, hi: number): 0 | 2 {
    const top = (high & step.oaHi) | (tables.topMask === 0 ? 0 : topOf(tables, low));
    this.lo = low;
    this.hi = high;
    this.level = step.level;
    this.shift = step.shift;
    this.outLo = (low & step.oaLo) | (lo & step.offsetLo);
    this.outHi = top | (hi & step.offsetHi);
    return (top & tables.beyondOa) === 0 ? 0 : 2;
  }
}

/** The state of one translation under way: one object that every function of the walk is handed, and that is used again. Halves are signed. */
export class Walker {
  context!: Context;
  regime = '';
  stage!: Stage1;
  memory!: DescriptorMemory;
  /**
   * The words of the contiguous part of an arena, found by integers alone: in frames of 4 KiB, the unit of every arena page and every table, from `firstFrame`
   * on. What is not here is found by the memory itself.
   */
  words: Uint32Array = new Uint32Array(0);
  firstFrame = 0;
  frames = 0;
  /** Memory wants to know of walks of stage 2. */
  told = 0;
  out: Translation = createTranslation();
  /** Where fetches are logged; absent: nowhere. */
  log: FetchLog | undefined = undefined;
  /** Something is in `out.updates`. */
  updated = false;
  access: AccessType = 'read';
  privileged = true;
  /** What the access is: an instruction fetch; one that makes pages dirty; one that sets no access flag of its own. */
  fetch: 0 | 1 = 0;
  sets: 0 | 1 = 0;
  silent = false;
  /** The right that it needs, and what may turn walks of a range off for it. */
  needed: number = PERMISSION.read;
  off = 1;
  /** Of the input address: its offset in its range, and which range. */
  addressLo = 0;
  addressHi = 0;
  upper = false;
  /** The tables of stage 1; absent where it is off. */
  tables1: Tables | undefined = undefined;
  readonly leaf1 = new LeafState();
  readonly leaf2 = new LeafState();
  /** What the walk of stage 1 gathered from its tables. */
  limits = 0;
  permissions1 = 0;
  permissions2 = 0;
  /** The descriptor just read. */
  lo = 0;
  hi = 0;
  readonly word: Words = { lo: 0, hi: 0 };

  /** Takes what the access is. */
  asks(type: AccessType, privileged: boolean): void {
    const { fetch, write, silent } = traitsOf(type);
    this.access = type;
    this.privileged = privileged;
    this.fetch = fetch ? 1 : 0;
    this.sets = write && !silent ? 1 : 0;
    this.silent = silent;
    this.needed = needed(fetch, write, privileged);
    this.off = privileged ? 1 : 3;
  }

  /** Takes the memory of this translation, as it is now. */
  read(memory: DescriptorMemory): void {
    if (memory !== this.memory) {
      this.memory = memory;
      this.told = memory.stage2 === undefined ? 0 : 1;
    }
    const { arena } = memory;
    this.frames = 0;
    if (arena !== undefined) this.#readArena(arena);
  }

  /** Word indices stay below 2^31, and frame numbers have 31 bits: arenas of up to 8 GiB, below 2^43. */
  #readArena({ pageShift, firstPage, contiguousPages, words }: TableMemory): void {
    const scale = 1 << (pageShift - 12);
    const first = firstPage * scale;
    const frames = contiguousPages * scale;
    if (frames > 0x200000 || first + frames > 0x80000000) return;
    if (this.words !== words) this.words = words;
    this.firstFrame = first | 0;
    this.frames = frames | 0;
  }

  /** Index of the word at this physical address (8-byte aligned); −1: it is not in the arena. */
  wordAt(lo: number, hi: number): number {
    const frame = (((hi << 20) | (lo >>> 12)) - this.firstFrame) | 0;
    if (frame < 0 || frame >= this.frames || (hi & ~0x7ff) !== 0) return -1;
    return (frame << 10) | ((lo & 0xfff) >>> 2);
  }

  /** Ends the translation with a fault of stage 1. Always 0, so that a walk can return it. */
  fail1(type: FaultType, level: Level): 0 {
    return this.#fail(type, level, 1, false, -1);
  }

  /** Ends it with a fault of stage 2, of this IPA; `s1ptw`: on the way to a descriptor of stage 1. */
  fail2(type: FaultType, level: Level, s1ptw: 0 | 1, lo: number, hi: number): 0 {
    return this.#fail(type, level, 2, s1ptw !== 0, fromHalves(lo, hi));
  }

  #fail(type: FaultType, level: Level, stage: 1 | 2, s1ptw: boolean, ipa: number): 0 {
    const { fault } = this.out;
    fault.type = type;
    fault.level = level;
    fault.stage = stage;
    fault.s1ptw = s1ptw;
    fault.access = this.access;
    fault.address = fromHalves(this.addressLo, this.addressHi);
    fault.upper = this.upper;
    fault.ipa = ipa;
    return 0;
  }

  /**
   * Reads the descriptor at this physical address into `lo` and `hi`, as it stands in memory; what this translation has itself written there comes first.
   * 0: an external abort.
   */
  load(lo: number, hi: number, { tag, level }: LevelNumbers): 0 | 1 {
    const { word, out } = this;
    const physical = fromHalves(lo, hi);
    if (!this.memory.load(physical, word, stageOfTag(tag), level)) return 0;
    if (this.updated) overlay(out.updates, physical, word);
    this.lo = word.lo | 0;
    this.hi = word.hi | 0;
    return 1;
  }

  /** Something is in `out.updates`: from here on every descriptor is read through `load`. */
  update(): void {
    this.updated = true;
    this.frames = 0;
  }
}
