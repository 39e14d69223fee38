import type {
  CmoEffect,
  Coherence,
  EffectSink,
  EntryEffect,
  Failure,
  Format,
  PageTableOptions,
  TableMemory,
  TlbiStep,
  Words,
} from '@granule/contract';
import { levelIndex, refused } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { alignDown, alignUp, hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Plan } from './plan.js';
import { placeOutput } from './leaf-runs.js';
import { planOf } from './plan.js';
import { WalkCache } from './walk-cache.js';
import type { Tables } from './walk.js';
import { tableWord } from './walk.js';

/**
 * One live translation table: what all operations share. Counts, pages taken and given, and every effect go through here, so that they
 * agree.
 */
export class Table implements Tables {
  readonly format: Format;
  readonly plan: Plan;
  readonly memory: TableMemory;
  readonly sink: EffectSink | undefined;
  readonly coherence: Coherence;
  readonly root: OutputAddress;
  /** First word of the entry tables. */
  readonly rootWord: number;
  readonly cache = new WalkCache();
  /** Until the first annotation; see Tables. */
  unannotated = true;
  /** Pages set aside by a prepared operation; taken first. */
  readonly reserve: OutputAddress[] = [];
  /** Attribute bits of a plain table descriptor. */
  readonly tableBits: Readonly<Words>;
  /** Words per page as a shift: the page of a word is `word >>> pageOfWord`. */
  private readonly pageOfWord: number;

  constructor(options: PageTableOptions, root: OutputAddress) {
    this.format = options.format;
    this.plan = planOf(options.format);
    this.memory = options.memory;
    this.sink = options.sink;
    this.coherence = options.coherence ?? {};
    this.root = root;
    this.rootWord = options.memory.wordOf(root, this.plan.pageBytes) | 0;
    this.tableBits = plainTableBits(options.format);
    this.pageOfWord = this.plan.pageShift - 2;
  }

  /** Adds to the number of non-zero entries of the page that holds this word. */
  count(word: number, delta: number): void {
    this.memory.counts[word >>> this.pageOfWord] += delta;
  }

  countAt(word: number): number {
    return this.memory.counts[word >>> this.pageOfWord];
  }

  /**
   * Walks to the level-3 table for `ia` (within the input size) and keeps it in the cache, with its parent. `grow`: missing tables are
   * installed, as long as the pool has all of them. False: the walk ends above level 3 all the same, nothing changed.
   */
  findLeafTable(ia: InputAddress, grow: boolean): boolean {
    const { plan, memory, cache } = this;
    let table = this.rootWord;
    let start = 0;
    for (let li = (plan.startLevel + 1) | 0; li < 4; li++) {
      const index = ((ia - start) * plan.inverse[li]) | 0;
      const word = (table + 2 * index) | 0;
      start += index * plan.span[li];
      if ((memory.words[word] & plan.typeMask[li]) === plan.tableType[li]) {
        table = tableWord(memory, plan, memory.words[word], memory.words[word + 1]);
      } else if (grow && (memory.words[word] | memory.words[word + 1]) === 0 && this.needPages(4 - li) === undefined) {
        table = this.linkTable(word, (li - 1) as Level, start);
      } else {
        return false;
      }
      if (li === 2) {
        cache.parentStart = start;
        cache.parentTable = table;
      }
    }
    if (this.sink === undefined && plan.startLevel < 3) {
      cache.leafStart = start;
      cache.leafTable = table;
    }
    return plan.startLevel < 3;
  }

  /** Puts an empty table into a zero entry of `level`. */
  private linkTable(word: number, level: Level, address: InputAddress): number {
    const child = this.takePage();
    const entry = this.descriptorFor(child, this.tableBits);
    writeEntry(this, word, entry.lo, entry.hi, level, address, true);
    return child;
  }

  /** Takes one zeroed page and returns its first word. The caller has made sure that there is one ({@link needPages}). */
  takePage(): number {
    const pa = this.reserve.pop() ?? this.memory.take(1);
    if (pa < 0) {
      throw new Error('no table page although the operation made sure of one');
    }
    this.sink?.effect({ type: 'take', table: pa, pages: 1 });
    return this.memory.wordOf(pa, this.plan.pageBytes) | 0;
  }

  /** Gives back the (already zeroed) page that starts at this word. */
  givePage(word: number, deferred: boolean): void {
    const pa = this.memory.addressOf(word);
    this.cache.forget();
    this.memory.give(pa, 1);
    this.sink?.effect({ type: 'free', table: pa, pages: 1, deferred });
  }

  /** Refusal where fewer than `pages` pages could be taken. */
  needPages(pages: number): Failure | undefined {
    if (pages <= this.reserve.length + this.memory.free) {
      return undefined;
    }
    return refused(
      'pool.exhausted',
      `The operation needs ${String(pages)} table pages and the pool has ${String(this.memory.free)} left.`,
      'granule: a bounded pool; Linux -ENOMEM',
    );
  }

  /** The table descriptor that names the page at this word. */
  descriptorFor(pageWord: number, attributes: Readonly<Words>): Words {
    return placeOutput(this.plan, attributes.lo, attributes.hi, this.memory.addressOf(pageWord));
  }
}

function plainTableBits(format: Format): Words {
  const bits = format.encodeTable();
  if (bits.kind !== 'done') {
    throw new Error(`the format ${format.backend} ${format.regime} has no plain table descriptor`);
  }
  return bits.value;
}

/**
 * The walked range of an operation, as Linux forms it: the offset of `ia` within its page is dropped first, then the size is added and
 * rounded up (kvm_pgtable_walk). An end of exactly 2^iaBits is legal.
 */
export function rangeOf(plan: Plan, ia: InputAddress, size: number): { readonly start: number; readonly end: number } | Failure {
  if (!isExact(ia) || !isExact(size)) {
    return refused(
      'range.not-integer',
      `Address ${String(ia)} and size ${String(size)} must be whole numbers of bytes from 0 up to 2^52.`,
      'granule: exact addresses',
    );
  }
  if (size === 0) {
    return refused('range.empty', `Size 0 at ${hex(ia)} covers nothing.`, 'granule: an operation names at least a byte');
  }
  const start = alignDown(ia, plan.pageShift);
  const end = alignUp(start + size, plan.pageShift);
  if (end > plan.limit) {
    return refused(
      'range.beyond-ia',
      `The range ${hex(start)}-${hex(end)} ends beyond the ${String(Math.log2(plan.limit))}-bit input address size.`,
      'Linux kvm_pgtable_walk: -ERANGE',
    );
  }
  return { start, end };
}

function isExact(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0 && n <= 2 ** 52;
}

/** The steps of a maintenance sequence, with the address, level and size of the entry at hand. */
export function steps(sequence: readonly TlbiStep[], address: InputAddress, level: Level | undefined, bytes: number): EntryEffect[] {
  return sequence.map((step): EntryEffect => {
    if (step.type !== 'tlbi') {
      return step;
    }
    switch (step.takes) {
      case 'nothing':
        return { type: 'tlbi', op: step.op };
      case 'address':
        return { type: 'tlbi', op: step.op, address };
      case 'address-and-level':
        return level === undefined ? { type: 'tlbi', op: step.op, address } : { type: 'tlbi', op: step.op, address, level };
      case 'range':
        return { type: 'tlbi', op: step.op, address, bytes };
    }
  });
}

/** Emits a whole maintenance sequence, if anyone listens. */
export function emitSteps(t: Table, sequence: readonly TlbiStep[], address: InputAddress, level: Level | undefined, bytes: number): void {
  if (t.sink === undefined) {
    return;
  }
  for (const effect of steps(sequence, address, level, bytes)) {
    t.sink.effect(effect);
  }
}

/** Tells the sink that `count` entries from `word` were written; `old` is what they held. Their new content is read from memory. */
export function emitWrite(
  t: Table,
  word: number,
  count: number,
  level: Level,
  address: InputAddress,
  old: Uint32Array,
  extra?: { readonly before?: readonly EntryEffect[]; readonly after?: readonly EntryEffect[]; readonly release?: boolean },
): void {
  if (t.sink === undefined) {
    return;
  }
  const pageStart = word - (word % t.plan.pageWords);
  t.sink.effect({
    type: 'write',
    table: t.memory.addressOf(pageStart),
    level,
    index: (word - pageStart) / 2,
    count,
    address,
    old,
    new: t.memory.words.slice(word, word + 2 * count),
    release: extra?.release ?? false,
    ...(extra?.before === undefined || extra.before.length === 0 ? {} : { before: extra.before }),
    ...(extra?.after === undefined || extra.after.length === 0 ? {} : { after: extra.after }),
  });
}

/**
 * Writes one entry and tells the sink. Counts follow. The only place where a single descriptor is written.
 */
export function writeEntry(
  t: Table,
  word: number,
  lo: number,
  hi: number,
  level: Level,
  address: InputAddress,
  release: boolean,
  before?: readonly EntryEffect[],
): void {
  const words = t.memory.words;
  const old = t.sink === undefined ? undefined : words.slice(word, word + 2);
  const had = (words[word] | words[word + 1]) === 0 ? 0 : 1;
  const has = (lo | hi) === 0 ? 0 : 1;
  words[word] = lo;
  words[word + 1] = hi;
  if (has !== had) {
    t.count(word, has - had);
  }
  if (old !== undefined) {
    emitWrite(t, word, 1, level, address, old, before === undefined ? { release } : { release, before });
  }
}

/** Cleaning and invalidation that a new or newly executable leaf owes before it is written (Linux stage2_map_walker_try_leaf). */
export function mapMaintenance(t: Table, lo: number, hi: number, level: Level, bytes: number): EntryEffect[] {
  if (t.sink === undefined || t.format.stage === 1) {
    return [];
  }
  const a = t.format.decodeLeaf(lo, hi, level);
  const address = t.plan.leafOutput(lo, hi, levelIndex(level));
  const effects: CmoEffect[] = [];
  if (a.memory === 'normal' && t.coherence.fwb !== true) {
    effects.push({ type: 'cmo', op: 'dc-civac', to: 'poc', address, bytes });
  }
  if ((a.px || a.ux) && t.coherence.dic !== true) {
    effects.push({ type: 'cmo', op: 'ic-ivau', to: 'pou', address, bytes });
  }
  return effects;
}

/** Cleaning that an unmapped leaf owes after its invalidation: cacheable memory, without S2FWB (Linux stage2_unmap_walker). */
export function unmapMaintenance(t: Table, lo: number, hi: number, level: Level, bytes: number): EntryEffect[] {
  if (t.sink === undefined || t.format.stage === 1 || t.coherence.fwb === true || t.format.decodeLeaf(lo, hi, level).memory !== 'normal') {
    return [];
  }
  return [{ type: 'cmo', op: 'dc-civac', to: 'poc', address: t.plan.leafOutput(lo, hi, levelIndex(level)), bytes }];
}
