import type { Format, RangeControl, TableMemory } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { high32, low32 } from '@granule/geometry/bits';
import type { Context, Stage1, Stage2 } from './context.js';
import { applyPan, limitsOf, needed, stage1Permissions, stage2Permissions } from './permissions.js';
import type { LeafSlots } from './slots.js';
import { locate } from './stage1.js';
import type { Walker } from './walker.js';

/**
 * Walks that meet nothing unusual: tables in one arena below 2^43, little-endian, no hardware updates, no fault. Whatever else is met, the answer is false, and
 * the whole walk decides. Everything is a signed 32-bit integer here, which engines keep in registers; in a two-stage walk of fifteen descriptors that is a
 * factor of five (measured).
 */

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];
const TWO_32 = 4294967296;
/** Frames of 4 KiB: the unit that table addresses are a multiple of, whatever the granule. */
const FRAME_SHIFT = 12;
/** High halves of addresses whose frame number is below 2^31. */
const HIGH = ~0x7ff;
/** Frames whose words have indices below 2^31. */
const MAX_FRAMES = 2 ** 21;

/** Bits of the high half that are not below bit `bits` of the whole word. Domain: bits 0 … 63. */
const highFrom = (bits: number): number => (bits >= 32 ? ~0 << (bits - 32) : ~0);
const lowFrom = (bits: number): number => (bits >= 32 ? 0 : ~0 << bits);

/** Numbers of one set of tables, halves as signed integers; arrays indexed by level + 1. */
export class FastTables {
  readonly baseLo: number;
  readonly baseHi: number;
  readonly start: number;
  readonly rootMask: number;
  readonly indexMask: number;
  readonly shifts: Int32Array;
  readonly typeMask: Int32Array;
  readonly leafType: Int32Array;
  readonly tableType: Int32Array;
  readonly leafOaLo: Int32Array;
  readonly leafOaHi: Int32Array;
  readonly tableOaLo: number;
  readonly tableOaHi: number;
  /** Bits of a descriptor that an ordinary one has clear: the top output bits that do not stand at their own place. */
  readonly top: number;
  /** Bits of an input address beyond its size, and of the high half of an output address. */
  readonly beyondIaLo: number;
  readonly beyondIaHi: number;
  readonly beyondOa: number;
  /** Bits of an ordinary leaf that are set: the access flag, and at stage 2 the right to read. */
  readonly set: number;
  /** High half of what limits the leaves below a table; 0 where nothing does. */
  readonly limits: number;

  constructor(format: Format, range: RangeControl, slots: LeafSlots) {
    const { granule, startLevel, iaBits, oaBits, stride } = format.geometry;
    const { numbers } = format;
    this.baseLo = low32(range.base) | 0;
    // A base of the wrong size is no ordinary one: −1 is the high half of no address.
    this.baseHi = range.base < 2 ** oaBits ? high32(range.base) | 0 : -1;
    this.start = startLevel + 1;
    this.rootMask = (2 ** (iaBits - levelShift(granule, startLevel)) - 1) | 0;
    this.indexMask = (2 ** stride - 1) | 0;
    this.shifts = Int32Array.from(LEVELS, (level) => levelShift(granule, level));
    this.typeMask = Int32Array.from(numbers.typeMask);
    this.leafType = Int32Array.from(numbers.leafType);
    this.tableType = Int32Array.from(numbers.tableType);
    this.leafOaLo = Int32Array.from(numbers.leafOaLo);
    this.leafOaHi = Int32Array.from(numbers.leafOaHi);
    this.tableOaLo = numbers.tableOaLo | 0;
    this.tableOaHi = numbers.tableOaHi | 0;
    this.top = ((2 ** numbers.oaTopBits - 1) << numbers.oaTopLsb) | 0;
    this.beyondIaLo = lowFrom(iaBits) | 0;
    this.beyondIaHi = highFrom(iaBits) | 0;
    this.beyondOa = highFrom(oaBits) | 0;
    this.set = (numbers.afLo | (format.stage === 2 ? 1 << slots.s2ap.shift : 0)) | 0;
    const limits = [slots.apTable, slots.uxnTable, slots.pxnTable].reduce((bits, { shift, mask }) => bits | (mask << shift), 0);
    this.limits = range.hierarchical ? limits | 0 : 0;
  }
}

/** One walk under way: what it reads, and the leaf where a stage ended. */
class FastState {
  words: Uint32Array = new Uint32Array(0);
  first = 0;
  frames = 0;
  lo = 0;
  hi = 0;
  /** Level of the leaf + 1. */
  li = 0;
  /** Output of the input address. */
  outLo = 0;
  outHi = 0;
  limits = 0;
}

const state = new FastState();

/** Takes an arena into `state`. False: it is not one that fast walks know. */
function takeArena({ words, pageShift, firstPage, contiguousPages }: TableMemory): boolean {
  const perPage = 2 ** (pageShift - FRAME_SHIFT);
  const first = firstPage * perPage;
  const frames = contiguousPages * perPage;
  if (first + frames > 0x7fff_ffff || frames > MAX_FRAMES || frames === 0) return false;
  state.words = words;
  state.first = first | 0;
  state.frames = frames | 0;
  return true;
}

/** Index of the word at this address; −1: not in the arena. */
function wordAt(lo: number, hi: number): number {
  const frame = (((hi << 20) | (lo >>> FRAME_SHIFT)) - state.first) | 0;
  if ((hi & HIGH) !== 0 || frame < 0 || frame >= state.frames) return -1;
  return ((frame << 10) | ((lo & 0xfff) >>> 2)) | 0;
}

/** Bits [… : shift] of an address. */
function indexOf(lo: number, hi: number, shift: number): number {
  return shift < 32 ? (lo >>> shift) | ((hi << 1) << (31 - shift)) : hi >>> (shift - 32);
}

/** Keeps the leaf and puts the input address's offset below its output. False: it is not an ordinary one. */
function settle(tables: FastTables, dlo: number, dhi: number, li: number, lo: number, hi: number): boolean {
  const outHi = dhi & tables.leafOaHi[li];
  if ((dlo & tables.set) !== tables.set || (dlo & tables.top) !== 0 || (outHi & tables.beyondOa) !== 0) return false;
  const shift = tables.shifts[li];
  state.lo = dlo;
  state.hi = dhi;
  state.li = li;
  state.outLo = (dlo & tables.leafOaLo[li]) | (shift < 32 ? lo & ((1 << shift) - 1) : lo);
  state.outHi = outHi | (shift < 32 ? 0 : hi & ((1 << (shift - 32)) - 1));
  return true;
}

/** Stage 2 of an IPA, into `state`. */
function second(tables: FastTables, lo: number, hi: number): boolean {
  if (((hi & tables.beyondIaHi) | (lo & tables.beyondIaLo)) !== 0) return false;
  const { words } = state;
  const { typeMask, tableType, leafType, shifts } = tables;
  let table = wordAt(tables.baseLo, tables.baseHi);
  let mask = tables.rootMask;
  for (let li = tables.start | 0; table >= 0; li = (li + 1) | 0) {
    const word = (table + 2 * (indexOf(lo, hi, shifts[li]) & mask)) | 0;
    const dlo = words[word] | 0;
    const dhi = words[word + 1] | 0;
    const type = dlo & typeMask[li];
    if (type !== tableType[li]) return type === leafType[li] && settle(tables, dlo, dhi, li, lo, hi);
    const tableHi = dhi & tables.tableOaHi;
    if ((dlo & tables.top) !== 0 || (tableHi & tables.beyondOa) !== 0) return false;
    table = wordAt(dlo & tables.tableOaLo, tableHi);
    mask = tables.indexMask;
  }
  return false;
}

/** Stage 1 of an address of its range, into `state`; `host`: every descriptor's address goes through stage 2. */
function first(tables: FastTables, slots: LeafSlots, host: FastTables | undefined, lo: number, hi: number): boolean {
  const { words } = state;
  let tableLo = tables.baseLo;
  let tableHi = tables.baseHi;
  let mask = tables.rootMask;
  state.limits = 0;
  for (let li = tables.start | 0; ; li = (li + 1) | 0) {
    // Tables are aligned to their size: the offset of an entry carries nowhere.
    const atLo = tableLo | ((indexOf(lo, hi, tables.shifts[li]) & mask) << 3);
    if (host !== undefined && !second(host, atLo, tableHi)) return false;
    const word = host === undefined ? wordAt(atLo, tableHi) : wordAt(state.outLo, state.outHi);
    if (word < 0) return false;
    const dlo = words[word] | 0;
    const dhi = words[word + 1] | 0;
    const type = dlo & tables.typeMask[li];
    if (type !== tables.tableType[li]) return type === tables.leafType[li] && settle(tables, dlo, dhi, li, lo, hi);
    if ((dhi & tables.limits) !== 0) state.limits |= limitsOf(slots, dlo, dhi);
    tableLo = dlo & tables.tableOaLo;
    tableHi = dhi & tables.tableOaHi;
    if ((dlo & tables.top) !== 0 || (tableHi & tables.beyondOa) !== 0) return false;
    mask = tables.indexMask;
  }
}

/** Address and rights of a translation without a hitch. */
export interface Answer {
  output: number;
  permissions: number;
  shift: number;
}

/** Whether both stages are set up so that nothing but a fault can come up. */
function ordinary({ control }: Stage1, host: Stage2 | undefined, fetch: boolean, context: Context): boolean {
  if (!control.on || control.hardwareAccess || control.bigEndian || (fetch && context.choices.fetchFromDevice === 'fault')) return false;
  return host === undefined || !(host.control.hardwareAccess || host.control.bigEndian || host.control.protectedWalk);
}

/**
 * The whole of a translation, by `walker` for its state alone: true where it succeeds without a hitch. `host` is the stage 2 of the stage-1 tables, `both`
 * whether it translates the output too.
 */
export function mapFast(walker: Walker, arena: TableMemory, stage: Stage1, both: boolean, lo: number, hi: number, pan: boolean, into: Answer): boolean {
  const { context, fetch, write, privileged } = walker;
  const { control } = stage;
  const host = stage.virtualised ? context.stage2 : undefined;
  if (!ordinary(stage, host, fetch, context) || !locate(walker, stage, lo, hi) || !takeArena(arena)) return false;
  const range = walker.upper ? control.upper! : control.lower;
  const tables = walker.upper ? stage.upper : stage.lower;
  if (tables === undefined || range.walkOff || (range.unprivilegedOff && !privileged)) return false;
  const below = host === undefined ? undefined : host.tables?.fast;
  if (host !== undefined && below === undefined) return false;
  if (!first(tables.fast, tables.slots, below, low32(walker.address) | 0, high32(walker.address) | 0)) return false;
  const all = stage1Permissions(control, tables.slots, state.lo, state.hi, state.limits, false);
  let permissions = pan && control.unprivileged && !control.guestHypervisor ? applyPan(control, all) : all;
  let shift = tables.fast.shifts[state.li];
  if (both && host !== undefined && below !== undefined) {
    if (!second(below, state.outLo, state.outHi)) return false;
    permissions &= stage2Permissions(host.control, host.tables!.slots, state.lo, state.hi, false);
    shift = Math.min(shift, below.shifts[state.li]);
  }
  if ((permissions & needed(fetch, write, privileged)) === 0) return false;
  into.output = (state.outHi >>> 0) * TWO_32 + (state.outLo >>> 0);
  into.permissions = permissions;
  into.shift = shift;
  return true;
}
