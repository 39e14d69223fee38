import type { Level } from '@granule/geometry';
import type { TlbEntry, TlbModel, TlbQuery, TlbStage, Words } from '@granule/contract';
import type { DescriptorMemory } from '@granule/mmu';
import type { TlbOrder } from '../tlb/order.js';
import type { Choose } from './choice.js';
import type { Conflicting, Conflicts } from './conflicts.js';
import type { Counts } from './counts.js';
import type { Fetched, WalkedEntry } from './entries.js';
import type { Setting } from './setting.js';

/** What a walk is made through. */
export interface WalkSource {
  readonly pe: number;
  readonly tlb: TlbModel;
  readonly order: TlbOrder;
  /** Reads a descriptor as the walker of this PE does. False: an external abort. */
  readonly read: (pa: number, into: Words) => boolean;
  readonly conflicts: Conflicts;
  readonly counts: Counts;
}

/** How free a walk is. */
export interface WalkMode {
  /** Absent: TLB hits are taken, and memory is read as it is. */
  readonly choose: Choose | undefined;
  /** No TLB, no earlier values: what the tables say now. */
  readonly fresh: boolean;
  /** A walk for nobody: what only accesses already begun may use is out of its reach. */
  readonly speculative: boolean;
}

const NOTHING: readonly Fetched[] = [];
const NO_STAGES: readonly TlbStage[] = [];

/**
 * The memory that one translation reads its descriptors from: TLB entries stand in for the fetches that they save, and with a chooser a fetch may see an
 * earlier value. It keeps a log of what was seen.
 */
export class Walk implements DescriptorMemory {
  setting!: Setting;
  log: Fetched[] = [];
  /** False: this walk began before a barrier of its PE, and must not be kept. */
  keeps = true;
  /** Entries of stage 2 for one IPA that must not be held together. */
  conflict: Conflicting | undefined;
  #replay: readonly Fetched[] = NOTHING;
  #cursor = 0;
  #ipa = -1;
  #mode: WalkMode = { choose: undefined, fresh: true, speculative: false };
  readonly #query: TlbQuery = { regime: 'el10', stage: 'stage1', kind: 'leaf', vmid: 0, asid: -1, address: 0 };
  readonly #found: TlbEntry[] = [];
  /** Entries that are there for accesses already begun alone. */
  readonly #held = new Set<TlbEntry>();
  readonly #word: Words = { lo: 0, hi: 0 };

  constructor(private readonly source: WalkSource) {}

  /**
   * Begins a translation of `va`, with what the TLB holds of it.
   *
   * @param stages stages of the entries that may answer
   * @returns the entry that it begins with
   */
  begin(setting: Setting, mode: WalkMode, va: number, stages: readonly TlbStage[]): WalkedEntry | undefined {
    this.setting = setting;
    this.log = [];
    this.keeps = true;
    this.conflict = undefined;
    this.#replay = NOTHING;
    this.#cursor = 0;
    this.#ipa = -1;
    this.#mode = mode;
    this.#held.clear();
    const { counts } = this.source;
    const entry = this.#entry(mode.fresh ? NO_STAGES : stages, va, setting.vmid, setting.asid);
    if (entry?.kind === 'leaf') counts.tlbHits += 1;
    else counts.tlbMisses += 1;
    if (entry?.kind === 'table') counts.walkCacheHits += 1;
    this.#replay = entry?.fetches ?? NOTHING;
    return entry;
  }

  load(pa: number, into: Words, stage: 1 | 2, level: Level): boolean {
    const held = this.#replay[this.#cursor];
    if (held !== undefined) {
      this.#cursor += 1;
      into.lo = held.lo;
      into.hi = held.hi;
      this.log.push(held);
      return true;
    }
    this.source.counts.fetches += 1;
    if (!this.source.read(pa, into)) return false;
    this.#choose(pa, into);
    const ipa = stage === 2 ? this.#ipa : -1;
    this.log.push({ stage, level, pa, ipa, lo: into.lo >>> 0, hi: into.hi >>> 0 });
    return true;
  }

  stage2(ipa: number): void {
    if (this.#cursor < this.#replay.length) return;
    this.#ipa = ipa;
    if (this.#mode.fresh) return;
    const { counts, conflicts } = this.source;
    if (!this.#mode.speculative) this.conflict ??= conflicts.atIpa(this.setting, ipa);
    const entry = this.#entry(STAGE2, ipa, this.setting.vmid, -1);
    if (entry?.kind === 'leaf') counts.stage2Hits += 1;
    else counts.stage2Misses += 1;
    // A block or table may have been walked for another address of its own.
    this.#replay = entry === undefined ? NOTHING : entry.fetches.map((each) => ({ ...each, ipa }));
    this.#cursor = 0;
  }

  /** Earlier values that a fetch may see instead. */
  #choose(pa: number, into: Words): void {
    const { choose, fresh, speculative } = this.#mode;
    if (choose === undefined || fresh) return;
    const { order, pe } = this.source;
    const late = order.descriptors(pe, pa);
    const early = speculative ? [] : order.early(pe, pa);
    if (late.length + early.length === 0) return;
    const pick = choose(1 + late.length + early.length);
    if (pick === 0) return;
    if (pick > late.length) this.keeps = false;
    const { lo, hi } = pick > late.length ? early[pick - late.length - 1] : late[pick - 1];
    into.lo = lo;
    into.hi = hi;
  }

  /** The TLB's answer: the first that fits; with a chooser any that differs from a walk, or a walk. */
  #entry(stages: readonly TlbStage[], address: number, vmid: number, asid: number): WalkedEntry | undefined {
    const { choose } = this.#mode;
    const query = this.#query;
    query.regime = this.setting.tlbRegime;
    query.address = address;
    query.vmid = vmid;
    query.asid = asid;
    const candidates: WalkedEntry[] = [];
    for (const kind of ['leaf', 'table'] as const) {
      query.kind = kind;
      for (const stage of stages) {
        query.stage = stage;
        if (choose === undefined) {
          const found = this.source.tlb.lookup(query) as WalkedEntry | undefined;
          if (found !== undefined && this.#fits(found)) return found;
        } else candidates.push(...this.#stale(query));
      }
    }
    const distinct = candidates.filter((each) => !candidates.some((other) => this.#leadsTo(each, other)));
    if (choose === undefined || distinct.length === 0) return undefined;
    const entry = distinct[choose(distinct.length + 1) - 1] as WalkedEntry | undefined;
    if (entry !== undefined && this.#held.has(entry)) this.keeps = false;
    return entry;
  }

  /** Entries that answer and whose translation is not the one that a walk would find now. */
  #stale(query: TlbQuery): readonly WalkedEntry[] {
    const { tlb, order, pe } = this.source;
    const count = tlb.matches(query, this.#found);
    const found = this.#found.slice(0, count) as WalkedEntry[];
    const held = this.#mode.speculative ? [] : (order.unsynchronised(pe, query) as readonly WalkedEntry[]);
    for (const each of held) this.#held.add(each);
    return [...found, ...held].filter((each) => this.#fits(each) && !this.#isFresh(each));
  }

  /**
   * Whether a walk that begins with the one entry now finds what the other holds, and nothing else: both lead to the same. Where stage 2 takes part in what
   * follows, that is not so.
   */
  #leadsTo({ fetches, setting, stage }: WalkedEntry, other: WalkedEntry): boolean {
    const { order, pe } = this.source;
    const longer = other.fetches;
    if (stage !== other.stage || (stage !== 'stage2' && setting.format2 !== undefined)) return false;
    if (longer.length <= fetches.length || setting.shape !== other.setting.shape || this.#held.has(other)) return false;
    return longer.every((each, index) => {
      const own = fetches[index];
      if (own !== undefined) return own.pa === each.pa && own.lo === each.lo && own.hi === each.hi;
      const settled = order.descriptors(pe, each.pa).length + order.early(pe, each.pa).length === 0;
      return settled && this.#isNow(each);
    });
  }

  #isNow({ pa, lo, hi }: Fetched): boolean {
    return this.source.read(pa, this.#word) && this.#word.lo >>> 0 === lo && this.#word.hi >>> 0 === hi;
  }

  /** Tables continue in the walk of the setting in force; a combined leaf is all of its own. */
  #fits({ setting, kind, stage }: WalkedEntry): boolean {
    if (kind === 'leaf' && stage === 'combined') return setting.control.on === this.setting.control.on && this.setting.format2 !== undefined;
    return setting.shape === this.setting.shape;
  }

  #isFresh({ setting, fetches, stage }: WalkedEntry): boolean {
    const roots = setting.root2 === this.setting.root2 && (stage === 'stage2' || setting.root1 === this.setting.root1);
    return roots && fetches.every((each) => this.#isNow(each));
  }
}

const STAGE2: readonly TlbStage[] = ['stage2'];
