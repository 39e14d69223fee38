import type { AccessType, FaultType, Words } from '@granule/contract';
import type { Level } from '@granule/geometry';
import { fromHalves, high32, low32, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import type { Memory } from './attributes.js';
import type { Context, Stage1 } from './context.js';
import type { DescriptorMemory } from './memory.js';
import { createTranslation, type Translation } from './result.js';
import type { Tables } from './tables.js';
import { overlay, swapBytes } from './updates.js';

/** The leaf that a stage ended at, its halves signed. */
export interface LeafState {
  lo: number;
  hi: number;
  level: Level;
  /** Where the descriptor is: after stage 2, and before. */
  physical: OutputAddress;
  address: OutputAddress;
  /** Output address of the input address itself. */
  output: OutputAddress;
  shift: number;
}

const leafState = (): LeafState => ({ lo: 0, hi: 0, level: 0, physical: 0, address: 0, output: 0, shift: 0 });

/** The part of an address below 2^shift. Domain: shift 1 … 52. */
export function below(address: number, shift: number): number {
  if (shift <= 32) return (low32(address) & (-1 >>> (32 - shift))) >>> 0;
  return fromHalves(address, high32(address) & (-1 >>> (64 - shift)));
}

/** The state of one translation under way: one object that every function of the walk is handed, and that is used again. */
export class Walker {
  context!: Context;
  regime = '';
  stage!: Stage1;
  memory!: DescriptorMemory;
  out: Translation = createTranslation();
  /** Whether fetches are logged. */
  logged = true;
  access: AccessType = 'read';
  fetch = false;
  write = false;
  silent = false;
  privileged = true;
  /** Of the input address: its offset in its range, and which range. */
  address: InputAddress = 0;
  upper = false;
  readonly leaf1 = leafState();
  readonly leaf2 = leafState();
  /** What the walk of stage 1 gathered from its tables. */
  limits = 0;
  permissions1 = 0;
  permissions2 = 0;
  readonly attributes: Memory = { byte: 0, xs: true, tagged: false };
  shareability = 0;
  /** The MAIR byte as software wrote it, where nothing changes it: reserved encodings show as they are. −1 otherwise. */
  written = -1;
  /** The descriptor just read, its halves as signed integers: the engines keep those without a box. */
  lo = 0;
  hi = 0;
  readonly word: Words = { lo: 0, hi: 0 };

  /** Ends the translation with a fault. Always false, so that a walk can return it. */
  fail(type: FaultType, level: Level, stage: 1 | 2, s1ptw: boolean, ipa: number): false {
    const { fault } = this.out;
    fault.type = type;
    fault.level = level;
    fault.stage = stage;
    fault.s1ptw = s1ptw;
    fault.access = this.access;
    fault.address = this.address;
    fault.upper = this.upper;
    fault.ipa = ipa;
    return false;
  }

  /** Reads the descriptor at `physical` into `lo` and `hi`; `address` is where stage 1 believes it to be. False: an external abort. */
  load(physical: OutputAddress, address: OutputAddress, stage: 1 | 2, level: Level, bigEndian: boolean): boolean {
    const { word, out } = this;
    if (!this.memory.load(physical, word, stage, level)) return false;
    if (out.updates.count > 0) overlay(out.updates, physical, word);
    this.lo = (bigEndian ? swapBytes(word.hi) : word.lo) | 0;
    this.hi = (bigEndian ? swapBytes(word.lo) : word.hi) | 0;
    if (this.logged) this.log(physical, address, stage, level);
    return true;
  }

  /** Takes the leaf just read for the end of its stage. */
  settle(leaf: LeafState, tables: Tables, level: Level, physical: OutputAddress, address: OutputAddress): void {
    leaf.lo = this.lo;
    leaf.hi = this.hi;
    leaf.level = level;
    leaf.physical = physical;
    leaf.address = address;
    leaf.output = tables.leafOutput(leaf.lo, leaf.hi, level);
    leaf.shift = tables.shifts[level + 1];
  }

  private log(physical: OutputAddress, address: OutputAddress, stage: 1 | 2, level: Level): void {
    const { fetches } = this.out;
    const at = fetches.count;
    fetches.stage[at] = stage;
    fetches.level[at] = level;
    fetches.address[at] = address;
    fetches.physical[at] = physical;
    fetches.lo[at] = this.lo;
    fetches.hi[at] = this.hi;
    fetches.count = at + 1;
  }
}
