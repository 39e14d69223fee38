import type { EntryEffect, Failure, MapOptions, Outcome } from '@granule/contract';
import { DONE, levelIndex, retry } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { alignDown, hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Skip } from './break-before-make.js';
import { installTable, replaceEntry } from './break-before-make.js';
import type { LeafPatterns, MapPlan } from './map.js';
import { MapCommit, canBeLeaf, planMap } from './map.js';
import type { Table } from './table.js';
import { writeEntry } from './table.js';
import type { Run } from './walk.js';
import { STOP, walk } from './walk.js';

/** Answers to {@link LinuxWalk.tryLeaf}. */
export const TAKEN = 0;
export const DESCEND = 1;
export const REFUSED = 2;
export type Tried = typeof TAKEN | typeof DESCEND | typeof REFUSED;

/** What Linux's map walkers have in common: nothing is checked beforehand, so they may stop half-way. */
export abstract class LinuxWalk extends MapCommit {
  failure: Failure | undefined;

  /** A valid leaf that the request could be a leaf in place of. REFUSED: `failure` says why. */
  protected abstract tryLeaf(level: Level, word: number, address: number): Tried;

  /** An empty table in place of a valid block. */
  protected abstract tableOver(word: number, level: Level, address: number): void;

  override visit(run: Run): number {
    if (run.kind !== ENTRY.leaf && !canBeLeaf(this.t, this.m, run.level, run.address) && !this.mayTakePage(run.from)) {
      return STOP;
    }
    return super.visit(run);
  }

  protected override leaves(run: Run): number {
    const { level, word, address, count } = run;
    const span = this.t.plan.span[levelIndex(level)];
    for (let i = 0; i < count; i++) {
      const at = address + i * span;
      const tried = canBeLeaf(this.t, this.m, level, at) ? this.tryLeaf(level, word + 2 * i, at) : DESCEND;
      if (tried === REFUSED || (tried === DESCEND && !this.mayTakePage(Math.max(at, this.m.start)))) {
        return STOP;
      }
      if (tried === DESCEND) {
        this.tableOver(word + 2 * i, level, at);
        return i;
      }
    }
    return count;
  }

  private mayTakePage(address: number): boolean {
    const none = this.t.needPages(1);
    if (none !== undefined) {
      this.failure = withProgress(none, address - this.m.start);
    }
    return none === undefined;
  }
}

class LinuxMap extends LinuxWalk {
  constructor(
    t: Table,
    m: MapPlan,
    skip: Skip,
    private readonly shared: boolean,
    after: readonly EntryEffect[],
  ) {
    super(t, m, skip, after);
  }

  /** stage2_map_walker_try_leaf on a valid leaf. */
  protected override tryLeaf(level: Level, word: number, address: number): Tried {
    const { t, m } = this;
    const n = t.plan;
    const want = this.wanted(level, address);
    if (!differs(t, word, want, n.permissionLo, n.permissionHi)) {
      this.failure = { ...alreadyMapped(Math.max(address, m.start)), progress: address - m.start };
      return REFUSED;
    }
    if (!this.shared && !differs(t, word, want, n.softwareLo, n.softwareHi)) {
      writeEntry(t, word, want.lo, want.hi, level, address, false);
    } else {
      replaceEntry(t, word, level, address, want.lo, want.hi, this.skip);
    }
    this.after.forEach((effect) => t.sink?.effect(effect));
    return TAKEN;
  }

  protected override tableOver(word: number, level: Level, address: number): void {
    installTable(this.t, word, level, address, this.skip);
  }
}

/** Whether the entry at `word` and (lo, hi) differ in more than these bits. */
export function differs(
  t: Table,
  word: number,
  want: { readonly lo: number; readonly hi: number },
  exceptLo: number,
  exceptHi: number,
): boolean {
  const { words } = t.memory;
  return ((words[word] ^ want.lo) & ~exceptLo) !== 0 || ((words[word + 1] ^ want.hi) & ~exceptHi) !== 0;
}

function withProgress(failure: Failure, progress: number): Failure {
  return failure.kind === 'refused' || failure.kind === 'retry' ? { ...failure, progress } : failure;
}

function alreadyMapped(address: number) {
  return retry(
    'map.already-mapped',
    `${hex(address)} is mapped like that already, permissions aside.`,
    'Linux stage2_map_walker_try_leaf: -EAGAIN',
  );
}

/** With which a call ends. */
const END: EntryEffect = { type: 'dsb', domain: 'ishst' };

/**
 * kvm_pgtable_stage2_map: blocks from `linuxMinBlockLevel` on; an entry that already says the same, permissions aside, is left and the walk
 * ends with `retry` (-EAGAIN); a block under a smaller mapping is broken and its rest is no longer mapped; a table under a larger mapping
 * is replaced. Stops half-way where no page is left (`pool.exhausted`, -ENOMEM), keeping what was done; the outcome's `progress` says how
 * many bytes that was. The page offset of `output` is dropped.
 */
export function mapLinux(
  t: Table,
  ia: InputAddress,
  size: number,
  output: OutputAddress,
  patterns: LeafPatterns,
  options: MapOptions,
): Outcome<undefined> {
  const minLevel = options.pages === true ? 3 : (options.minBlockLevel ?? t.format.linuxMinBlockLevel);
  const m = planMap(t, ia, size, alignDown(output, t.plan.pageShift), patterns, minLevel);
  if ('kind' in m) {
    return m;
  }
  const eachPage = options.pages === true && options.eachPage === true;
  const visitor = new LinuxMap(t, m, options.skip ?? {}, options.shared ?? true, eachPage ? [END] : []);
  const failure = walk(t, m.start, m.end, visitor) ?? visitor.failure;
  if (!eachPage || failure !== undefined) {
    t.sink?.effect(END);
  }
  return failure ?? DONE;
}
