import type { ContextEffect, Format } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import { entrySpan, GRANULES, type Level } from '@granule/geometry';
import type { Obligation } from './obligation.js';

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];

/** An installed table: what its descriptors mean, who may walk it, and what is owed for it. */
export class Context {
  readonly regime: string;
  readonly root: number;
  readonly vmid: number | undefined;
  readonly asid: number | undefined;
  /** FEAT_S2FWB is in force. */
  readonly forcesWriteBack: boolean;
  readonly pageBytes: number;
  readonly tableEntries: number;
  /** Bytes that one entry covers, and the type of leaf and table entries, by level index. */
  readonly span: readonly number[];
  readonly typeMask: readonly number[];
  readonly leafType: readonly number[];
  readonly tableType: readonly number[];
  /** What is owed for an entry, by level index and first address. */
  readonly pending: readonly Map<number, Obligation>[] = LEVELS.map(() => new Map<number, Obligation>());
  /** What is owed for the leaves that were in the table of an entry, likewise. */
  readonly pendingLeaves: readonly Map<number, Obligation>[] = LEVELS.map(() => new Map<number, Obligation>());
  /** How many there are. */
  owed = 0;
  /** Stage 2: those whose invalidation by IPA is complete and whose stage-1 invalidation is not. */
  readonly stage1Owed = new Set<Obligation>();
  live = true;
  /** PEs on which it is installed now; undefined among them: installed without naming a PE. */
  readonly installed = new Set<number | undefined>();
  /** The one PE that ever had it; undefined: several, or it was not told. */
  private onlyPe: number | undefined;

  constructor(effect: ContextEffect, readonly format: Format, readonly installedAt: number) {
    const { granule, stride } = format.geometry;
    this.regime = effect.regime;
    this.root = effect.root;
    this.vmid = effect.vmid;
    this.asid = effect.asid;
    this.forcesWriteBack = effect.format?.fwb === true;
    this.onlyPe = effect.pe;
    this.installed.add(effect.pe);
    this.pageBytes = GRANULES[granule].pageBytes;
    this.tableEntries = 2 ** stride;
    this.span = LEVELS.map((level) => entrySpan(granule, level));
    this.typeMask = format.numbers.typeMask;
    this.leafType = format.numbers.leafType;
    this.tableType = format.numbers.tableType;
  }

  /** What names the entries of the table in a TLB; undefined where that is not told, or there is nothing. */
  get tag(): string | undefined {
    if (this.format.stage === 2) {
      return this.vmid === undefined ? undefined : `${this.regime} ${this.vmid}`;
    }
    return this.asid === undefined ? undefined : `${this.regime} ${this.vmid ?? '-'} ${this.asid}`;
  }

  installOn(pe: number | undefined): void {
    this.installed.add(pe);
    if (pe !== this.onlyPe) {
      this.onlyPe = undefined;
    }
  }

  /** Whether an invalidation of this PE's own entries is enough. */
  isPrivateTo(pe: number): boolean {
    return this.onlyPe === pe;
  }

  isLeaf(lo: number, li: number): boolean {
    return (lo & this.typeMask[li]) === this.leafType[li];
  }

  isTable(lo: number, li: number): boolean {
    return (lo & this.typeMask[li]) === this.tableType[li];
  }

  private mapOf({ kind, level }: Obligation): Map<number, Obligation> {
    return (kind === 'leaves' ? this.pendingLeaves : this.pending)[levelIndex(level)];
  }

  owe(obligation: Obligation): void {
    const level = this.mapOf(obligation);
    const before = level.get(obligation.start);
    if (before === undefined) {
      this.owed++;
    } else {
      this.stage1Owed.delete(before);
    }
    level.set(obligation.start, obligation);
  }

  settle(obligation: Obligation): void {
    const level = this.mapOf(obligation);
    if (level.get(obligation.start) === obligation) {
      level.delete(obligation.start);
      this.owed--;
    }
    this.stage1Owed.delete(obligation);
  }

  /** What is owed for the entry of this level that translates the address. */
  owedFor(address: number, li: number): Obligation | undefined {
    const level = this.pending[li];
    return level.size === 0 ? undefined : level.get(Math.floor(address / this.span[li]) * this.span[li]);
  }

  /** What is owed for the leaves that were in the table of that entry. */
  leavesOwedFor(address: number, li: number): Obligation | undefined {
    const level = this.pendingLeaves[li];
    return level.size === 0 ? undefined : level.get(Math.floor(address / this.span[li]) * this.span[li]);
  }

  /** What is owed for `address`, by the deepest entry that translated it. */
  owedAt(address: number): Obligation | undefined {
    for (let li = 4; this.owed > 0 && li >= 0; li--) {
      const found = this.owedFor(address, li);
      if (found !== undefined) {
        return found;
      }
    }
    return undefined;
  }

  /** Everything that is owed, leaves of removed tables last. */
  allOwed(): readonly Obligation[] {
    return [...this.pending, ...this.pendingLeaves].flatMap((level) => [...level.values()]);
  }
}
