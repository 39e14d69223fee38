import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { EffectSink } from './effects.js';
import type { AttributeRequest, Format } from './format.js';
import type { TableMemory } from './memory.js';
import type { Outcome } from './outcome.js';
import type { EntryKind } from './words.js';

/** Filled by {@link PageTable.lookup}; reuse one. */
export interface LookupResult {
  kind: EntryKind;
  level: Level;
  lo: number;
  hi: number;
  /** First word of the entry in the memory's arena. */
  word: number;
  /** Output address of `ia` itself (leaf), else 0. */
  output: OutputAddress;
}

/**
 * `exact` (default): the operation happens as asked, or is refused and changes nothing.
 * `linux`: as Linux's kvm_pgtable_* does it, quirks and partial progress included; each method says what that means.
 */
export type Mode = 'exact' | 'linux';

export interface MapOptions {
  readonly mode?: Mode;
  /** Map by pages only (Linux: force_pte). */
  readonly pages?: boolean;
  /** linux, with `pages`: as one call for each page, so that the barrier with which a call ends follows every entry (Linux kvm_phys_addr_ioremap). */
  readonly eachPage?: boolean;
  /** Shallowest level to use a block at; default the format's own limit (exact) or Linux's (linux). */
  readonly minBlockLevel?: Level;
  /** linux: the walk is shared with others (default), so that a change of software bits alone is not made in place. */
  readonly shared?: boolean;
  /** exact: what to do where the range already maps another output address: refuse (default) or replace it, by break-before-make. */
  readonly over?: 'refuse' | 'replace';
  /** Skip exactly these duties of break-before-make and mapping, nothing else. */
  readonly skip?: { readonly tlbi?: boolean; readonly cmo?: boolean };
}

export interface UnmapOptions {
  readonly mode?: Mode;
  /**
   * When leaf invalidations are issued: after each entry (default), or once as a range at the end. Freed tables are always invalidated at
   * once.
   */
  readonly tlbi?: 'each' | 'deferred' | 'none';
  readonly skip?: { readonly cmo?: boolean };
}

/** What the table owes for the memory it maps; absent flags are false. */
export interface Coherence {
  /** Stage 2 forces Write-Back (FEAT_S2FWB): no data-cache maintenance. */
  readonly fwb?: boolean;
  /** CTR_EL0.DIC: no instruction-cache maintenance. */
  readonly dic?: boolean;
}

export interface PageTableOptions {
  readonly format: Format;
  readonly memory: TableMemory;
  readonly sink?: EffectSink;
  readonly coherence?: Coherence;
}

/** One leaf or run of leaves as {@link PageTable.query} reports it. */
export interface MappedRange {
  readonly start: InputAddress;
  /** Exclusive. */
  readonly end: InputAddress;
  readonly level: Level;
  readonly output: OutputAddress;
  readonly lo: number;
  readonly hi: number;
}

/**
 * A translation table and what may be done to it: the contract between the page-table core, the conformance suites and everything built on
 * a core. Addresses and sizes are bytes, exact integers below 2^53; `ia` is an offset from the start of the VA range for an upper-range
 * format. Ranges round outwards to pages as Linux does: the offset of `ia` within a page is dropped first, then `size` is rounded up
 * (kvm_pgtable_walk). Refused with nothing changed: `range.beyond-ia`, `range.not-integer`, `range.empty`, and for `output` `oa.*`,
 * attributes `attributes.*`, an exhausted pool `pool.exhausted`.
 */
export interface PageTable {
  readonly format: Format;
  readonly memory: TableMemory;
  readonly root: OutputAddress;
  map(ia: InputAddress, size: number, output: OutputAddress, attributes: AttributeRequest, options?: MapOptions): Outcome<undefined>;
  /**
   * The first half of an exact {@link map}: refused as it would be, and the pages that it may need are set aside. Changes no descriptor.
   */
  prepareMap(ia: InputAddress, size: number, output: OutputAddress, attributes: AttributeRequest, options?: MapOptions): Outcome<Prepared>;
  unmap(ia: InputAddress, size: number, options?: UnmapOptions): Outcome<undefined>;
  /** False where `ia` is beyond the input size; else `out` tells the entry at which the walk ends. */
  lookup(ia: InputAddress, out: LookupResult): boolean;
  /** Leaves that intersect the range, in order, at most `limit`. */
  query(ia: InputAddress, size: number, limit?: number): readonly MappedRange[];
  writeProtect(ia: InputAddress, size: number): Outcome<undefined>;
  /** Whether any leaf of the range has been accessed; `clear` clears the flags. */
  age(ia: InputAddress, size: number, clear: boolean): Outcome<boolean>;
  makeYoung(ia: InputAddress): Outcome<undefined>;
  relaxPermissions(
    ia: InputAddress,
    add: { readonly read?: boolean; readonly write?: boolean; readonly px?: boolean; readonly ux?: boolean },
  ): Outcome<undefined>;
  split(
    ia: InputAddress,
    size: number,
    options?: { readonly toLevel?: Level; readonly mode?: Mode; readonly budget?: number },
  ): Outcome<undefined>;
  /** Coalesces uniform children into blocks; answers how many tables that freed. */
  merge(ia: InputAddress, size: number): Outcome<number>;
  annotate(ia: InputAddress, size: number, type: number, value: bigint): Outcome<undefined>;
  /** Cache maintenance over all cacheable leaves of the range. */
  flush(ia: InputAddress, size: number): Outcome<undefined>;
  /** Frees every table. No TLB or cache maintenance: the table must not be reachable any more. */
  destroy(): void;
}

/** An operation that was checked and has its pages; see {@link PageTable.prepareMap}. */
export interface Prepared {
  /**
   * Does it. Fails only where the table was changed since in a way that forbids it; then nothing is changed, and the pages are given back.
   */
  commit(): Outcome<undefined>;
  /** Gives the pages back. */
  cancel(): void;
}

/** A page-table core: what makes tables. */
export interface PageTableCore {
  create(options: PageTableOptions): Outcome<PageTable>;
}
