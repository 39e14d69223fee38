import type { Level } from '@granule/geometry';
import type { OutputAddress } from '@granule/geometry/bits';

/**
 * What a TLB holds and what maintenance takes out of it (DDI 0487 D8.16, D8.17).
 *
 * An input address here is one exact number: an IPA or a VA of the lower range as it is, a VA of the upper range as VA[51:0] + 2^52 (0 …
 * 2^53 − 1). AArch32 VAs are 0 … 2^32 − 1.
 */

/** EL1&0 (also PL1&0), EL2&0, EL2 (also PL2). */
export type TlbRegime = 'el10' | 'el20' | 'el2';

/**
 * `stage1`: a VA to an IPA, or to a PA where there is no second stage. `stage2`: an IPA to a PA. `combined`: a VA to a PA through both
 * stages, which invalidation by IPA does not reach.
 */
export type TlbStage = 'stage1' | 'stage2' | 'combined';

/** What one translation produced: a leaf, or the table descriptor of an intermediate level (walk cache). */
export interface TlbEntry {
  readonly regime: TlbRegime;
  readonly stage: TlbStage;
  readonly kind: 'leaf' | 'table';
  /** 0 where the regime or the implementation has none. */
  readonly vmid: number;
  /** −1: global, or a regime without ASIDs, or stage 2. Table entries of a regime with ASIDs are never global. */
  readonly asid: number;
  /** Level of the descriptor: of stage 1 where the entry holds it (`stage1`, `combined`), else of stage 2. */
  readonly level: Level;
  /** log2 of the page size of the translation that `level` is of: 12, 14, 16. */
  readonly pageShift: number;
  /** First input address, aligned to 2^`shift`. */
  readonly input: number;
  /**
   * log2 of the bytes that the entry translates: less than its level says where stage 2 splits a block, more where contiguous entries are
   * held as one.
   */
  readonly shift: number;
  /** Combined leaves: the IPA of `input`; −1 otherwise. */
  readonly ipa: number;
  /** Leaf: the output address of `input`. Table: the next table's address (an IPA in `stage1` entries of a regime with two stages). */
  readonly output: OutputAddress;
  /** Memory attributes as a MAIR byte, SH[1:0], and permission bits, as whoever translates defines them; 0 for table entries. */
  readonly attributes: number;
  readonly shareability: number;
  readonly permissions: number;
  readonly contiguous: boolean;
}

/** A lookup; make one and change its fields. */
export interface TlbQuery {
  regime: TlbRegime;
  stage: TlbStage;
  kind: 'leaf' | 'table';
  vmid: number;
  /** The current ASID; −1 for a regime without and for stage 2. */
  asid: number;
  address: number;
}

/** Which entries one invalidation names: operation, operand and the state of the PE that issues it, decoded. */
export interface TlbiScope {
  readonly regime: TlbRegime;
  /** Entries that hold stage 1: `stage1` and `combined`. */
  readonly stage1: boolean;
  /** Entries of stage 2 alone. */
  readonly stage2: boolean;
  /** Leaves alone; table entries need not go. */
  readonly lastLevel: boolean;
  /** −1: any. */
  readonly vmid: number;
  /** −1: any. */
  readonly asid: number;
  /** Whether global leaves match although an ASID is named: by VA yes, by ASID no. */
  readonly global: boolean;
  /** Addresses [start, end); the whole space: 0 … 2^53. */
  readonly start: number;
  readonly end: number;
  /** log2 of the page size that the operand names; 0: none. */
  readonly pageShift: number;
  /** Level hint; −2: none. */
  readonly level: number;
  /** The operand's fields contradict each other (a range that starts off a boundary of its level), so that no entry is sure to go. */
  readonly contradictory: boolean;
}

/** One TLB of one PE, walk caches included. */
export interface TlbModel {
  /** Entries held. */
  readonly size: number;
  insert(entry: TlbEntry): void;
  /** The entry that answers, the deepest level and the longest held first; undefined on a miss. Allocates nothing. */
  lookup(query: Readonly<TlbQuery>): TlbEntry | undefined;
  /** Every entry that could answer, put into `into` from index 0; returns how many. More than one leaf: a TLB conflict. */
  matches(query: Readonly<TlbQuery>, into: TlbEntry[]): number;
  /** Removes what the scope names, tells `removed` of each; returns how many. */
  invalidate(scope: TlbiScope, removed?: (entry: TlbEntry) => void): number;
  entries(): readonly TlbEntry[];
  clear(): void;
}
