import type {
  AttributeRequest,
  LookupResult,
  MapOptions,
  MappedRange,
  Mode,
  Outcome,
  PageTable,
  PageTableCore,
  PageTableOptions,
  Prepared,
  UnmapOptions,
} from '@granule/contract';
import { DONE, ENTRY, done, refused } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { low32 } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { annotate } from './annotate.js';
import { age, flush, makeYoung, relaxPermissions, writeProtect } from './attributes.js';
import { zeroTable } from './break-before-make.js';
import { descend, query } from './lookup.js';
import { mapLinux } from './map-linux.js';
import type { LeafPatterns } from './map.js';
import { checkMap, leafPatterns, mapExact } from './map.js';
import { merge } from './merge.js';
import { splitExact, splitLinux } from './split.js';
import { Table, rangeOf } from './table.js';
import type { Unlinked } from './unlinked.js';
import { createUnlinked, freeUnlinked } from './unlinked.js';
import { unmap } from './unmap.js';
import type { Plan } from './plan.js';
import type { WalkCache } from './walk-cache.js';
import { tableWord } from './walk.js';

const NO_OPTIONS = {};

/** The page-table core. */
export const pgtable: PageTableCore = {
  create: (options) => createPageTable(options),
};

/**
 * Makes an empty table: its entry tables are taken from the memory, contiguous and aligned to their size. Refused: `table.page-size` where
 * memory and format differ in page size, `pool.exhausted`.
 */
export function createPageTable(options: PageTableOptions): Outcome<GranulePageTable> {
  const { format, memory } = options;
  const { geometry } = format;
  if (memory.pageShift !== geometry.pageShift) {
    return refused(
      'table.page-size',
      `The memory has pages of ${String(2 ** memory.pageShift)} bytes and the format's granule is ${geometry.granule}.`,
      'DDI 0487 D8.2: a table occupies one granule',
    );
  }
  const root = memory.take(geometry.entryTables);
  if (root < 0) {
    return refused(
      'pool.exhausted',
      `The entry table needs ${String(geometry.entryTables)} contiguous pages and the pool has ${String(memory.free)} single pages left.`,
      'granule: a bounded pool; Linux -ENOMEM',
    );
  }
  options.sink?.effect({ type: 'take', table: root, pages: geometry.entryTables });
  return done(new GranulePageTable(new Table(options, root)));
}

/** {@link PageTable} on flat table memory; what each operation does is documented in its own module. */
export class GranulePageTable implements PageTable {
  readonly format;
  readonly memory;
  readonly root;
  /** The leaf bits of the last attributes object; it must not be changed after it was passed. */
  private last: AttributeRequest | undefined;
  private patterns: LeafPatterns = { lo: [], hi: [] };
  private readonly plan: Plan;
  private readonly cache: WalkCache;
  /** Page frames below this need only the plain bits of an output address, and are small integers. */
  private readonly frameLimit: number;
  private pageLo = 0;
  private pageHi = 0;

  constructor(readonly table: Table) {
    this.format = table.format;
    this.memory = table.memory;
    this.root = table.root;
    this.plan = table.plan;
    this.cache = table.cache;
    this.frameLimit = Math.min(2 ** 31 - 1, table.plan.outputLimit / table.plan.pageBytes);
  }

  /** See mapExact, mapLinux. `attributes` must not be changed after the call: its leaf bits are kept. */
  map(ia: InputAddress, size: number, output: OutputAddress, attributes: AttributeRequest, options?: MapOptions): Outcome<undefined> {
    if (options === undefined && attributes === this.last && size === this.plan.pageBytes && this.mapPage(ia, output)) {
      return DONE;
    }
    return this.mapRange(ia, size, output, attributes, options);
  }

  /**
   * One page into a zero entry of a level-3 table, with nobody listening: what {@link mapExact} comes to then, without its two walks.
   * False: not that case, nothing done. Small enough to be inlined, so that no address is boxed.
   */
  private mapPage(ia: number, output: number): boolean {
    const { plan, cache, memory } = this;
    const page = (ia - cache.leafStart) * plan.inversePage;
    const frame = output * plan.inversePage;
    const index = page | 0;
    const pageFrame = frame | 0;
    if (index !== page || index >>> 0 >= plan.tableEntries || pageFrame !== frame || pageFrame >>> 0 >= this.frameLimit) {
      return false;
    }
    const { words } = memory;
    const word = (cache.leafTable + 2 * index) | 0;
    if ((words[word] | words[(word + 1) | 0]) !== 0) {
      return false;
    }
    words[word] = this.pageLo | (pageFrame << plan.pageShift);
    words[(word + 1) | 0] = this.pageHi | (pageFrame >>> plan.highShift);
    memory.counts[word >>> plan.wordShift]++;
    return true;
  }

  private mapRange(
    ia: InputAddress,
    size: number,
    output: OutputAddress,
    attributes: AttributeRequest,
    options?: MapOptions,
  ): Outcome<undefined> {
    const { table } = this;
    if (attributes !== this.last) {
      const patterns = leafPatterns(table, attributes);
      if ('kind' in patterns) {
        return patterns;
      }
      this.patterns = patterns;
      this.pageLo = patterns.lo[4] | 0;
      this.pageHi = patterns.hi[4] | 0;
      this.last = attributes;
    }
    if (options === undefined) {
      return this.mapOnePage(ia, size, output) ? DONE : mapExact(table, ia, size, output, this.patterns, NO_OPTIONS);
    }
    return (options.mode === 'linux' ? mapLinux : mapExact)(table, ia, size, output, this.patterns, options);
  }

  /**
   * {@link mapPage} with the tables that it needs. A block would be larger than a page, so the level-3 entry is the only one that a page
   * can take.
   */
  private mapOnePage(ia: number, size: number, output: number): boolean {
    const { table } = this;
    const { plan } = table;
    const whole = size === plan.pageBytes && ia >= 0 && ia < plan.limit && output >= 0 && output * plan.inversePage < this.frameLimit;
    const aligned = whole && Number.isInteger(ia * plan.inversePage) && Number.isInteger(output * plan.inversePage);
    return aligned && table.sink === undefined && table.findLeafTable(ia, true) && this.mapPage(ia, output);
  }

  prepareMap(
    ia: InputAddress,
    size: number,
    output: OutputAddress,
    attributes: AttributeRequest,
    options: MapOptions = NO_OPTIONS,
  ): Outcome<Prepared> {
    const { table } = this;
    const patterns = leafPatterns(table, attributes);
    if ('kind' in patterns) {
      return patterns;
    }
    const checked = checkMap(table, ia, size, output, patterns, options);
    if ('kind' in checked) {
      return checked;
    }
    const pages = Array.from({ length: checked.pages }, () => table.memory.take(1));
    const cancel = (): void => {
      for (const page of pages.splice(0)) {
        table.memory.give(page, 1);
      }
    };
    const commit = (): Outcome<undefined> => {
      table.reserve.push(...pages.splice(0));
      const outcome = mapExact(table, ia, size, output, patterns, options);
      pages.push(...table.reserve.splice(0));
      cancel();
      return outcome;
    };
    return done({ commit, cancel });
  }

  unmap(ia: InputAddress, size: number, options: UnmapOptions = NO_OPTIONS): Outcome<undefined> {
    return unmap(this.table, ia, size, options);
  }

  lookup(ia: InputAddress, out: LookupResult): boolean {
    return this.lookupPage(ia, out) || this.lookupAny(ia, out);
  }

  /** {@link lookup} of a page entry below the level-2 table in the cache; false: not that case. */
  private lookupPage(ia: number, out: LookupResult): boolean {
    const { plan, memory, cache } = this;
    const pages = (ia - cache.parentStart) * plan.inversePage;
    if (!(pages >= 0 && pages < plan.parentPages)) {
      return false;
    }
    const page = pages | 0;
    const { words } = memory;
    const entry = (cache.parentTable + 2 * (page >>> plan.stride)) | 0;
    const tableLo = words[entry];
    if ((tableLo & plan.typeMask2) !== plan.tableType2) {
      return false;
    }
    const word = (tableWord(memory, plan, tableLo, words[(entry + 1) | 0]) + 2 * (page & (plan.tableEntries - 1))) | 0;
    const lo = words[word];
    const hi = words[(word + 1) | 0];
    if ((lo & plan.typeMask3) !== plan.leafType3) {
      return false;
    }
    out.kind = ENTRY.leaf;
    out.level = 3;
    out.lo = lo;
    out.hi = hi;
    out.word = word;
    out.output = plan.output(lo, hi, plan.leafOaLo3, plan.leafOaHi3) + (low32(ia) & (plan.pageBytes - 1));
    return true;
  }

  private lookupAny(ia: InputAddress, out: LookupResult): boolean {
    const { plan, memory, rootWord, cache } = this.table;
    const found = descend(plan, memory, plan.startLevel, rootWord, plan.rootEntries - 1, ia, out);
    if (found && out.level === 3 && !cache.holdsParent(plan, ia)) {
      this.table.findLeafTable(ia, false);
    }
    return found;
  }

  query(ia: InputAddress, size: number, limit = Infinity): readonly MappedRange[] {
    const range = rangeOf(this.table.plan, ia, size);
    return 'kind' in range ? [] : query(this.table, range.start, range.end, limit);
  }

  writeProtect(ia: InputAddress, size: number): Outcome<undefined> {
    return writeProtect(this.table, ia, size);
  }

  age(ia: InputAddress, size: number, clear: boolean): Outcome<boolean> {
    return age(this.table, ia, size, clear);
  }

  makeYoung(ia: InputAddress): Outcome<undefined> {
    return makeYoung(this.table, ia);
  }

  relaxPermissions(
    ia: InputAddress,
    add: { readonly read?: boolean; readonly write?: boolean; readonly px?: boolean; readonly ux?: boolean },
  ): Outcome<undefined> {
    return relaxPermissions(this.table, ia, add);
  }

  split(
    ia: InputAddress,
    size: number,
    options: { readonly toLevel?: Level; readonly mode?: Mode; readonly budget?: number } = NO_OPTIONS,
  ): Outcome<undefined> {
    return options.mode === 'linux'
      ? splitLinux(this.table, ia, size, options.budget ?? Infinity)
      : splitExact(this.table, ia, size, options.toLevel ?? 3);
  }

  merge(ia: InputAddress, size: number): Outcome<number> {
    return merge(this.table, ia, size);
  }

  annotate(ia: InputAddress, size: number, type: number, value: bigint): Outcome<undefined> {
    return annotate(this.table, ia, size, type, value);
  }

  createUnlinked(level: Level, output: OutputAddress, attributes: AttributeRequest, toLevel: Level = 3): Outcome<Unlinked> {
    return createUnlinked(this.table, level, output, attributes, toLevel);
  }

  freeUnlinked(unlinked: Unlinked): Outcome<undefined> {
    return freeUnlinked(this.table, unlinked);
  }

  flush(ia: InputAddress, size: number): Outcome<undefined> {
    return flush(this.table, ia, size);
  }

  /**
   * Frees every table, entry tables included; no TLB or cache maintenance (kvm_pgtable_stage2_destroy_pgd). The table must not be used
   * afterwards.
   */
  destroy(): void {
    const { table, memory } = this;
    const pages = this.format.geometry.entryTables;
    for (let i = 0; i < pages; i++) {
      zeroTable(table, table.rootWord + i * table.plan.pageWords, table.plan.startLevel, false);
    }
    memory.give(this.root, pages);
    table.sink?.effect({ type: 'free', table: this.root, pages, deferred: false });
  }
}
