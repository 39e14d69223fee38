import type { Failure, MapOptions, Outcome } from '@granule/contract';
import { DONE, levelIndex, retry } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Skip } from './break-before-make.js';
import { installTable, replaceEntry } from './break-before-make.js';
import type { LeafPatterns, MapPlan } from './map.js';
import { MapCommit, canBeLeaf, planMap } from './map.js';
import type { Table } from './table.js';
import { writeEntry } from './table.js';
import type { Run } from './walk.js';
import { STOP, walk } from './walk.js';

/** What Linux does with each entry: no check beforehand, so it may stop half-way. */
class LinuxMap extends MapCommit {
  failure: Failure | undefined;

  constructor(
    t: Table,
    m: MapPlan,
    skip: Skip,
    private readonly shared: boolean,
  ) {
    super(t, m, skip);
  }

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
      if (canBeLeaf(this.t, this.m, level, at)) {
        if (!this.tryLeaf(level, word + 2 * i, at)) {
          return STOP;
        }
      } else if (this.mayTakePage(Math.max(at, this.m.start))) {
        installTable(this.t, word + 2 * i, level, at, this.skip);
        return i;
      } else {
        return STOP;
      }
    }
    return count;
  }

  /** stage2_map_walker_try_leaf on a valid leaf. False: -EAGAIN. */
  private tryLeaf(level: Level, word: number, address: number): boolean {
    const { t, m } = this;
    const n = t.plan;
    const lo = t.memory.words[word];
    const hi = t.memory.words[word + 1];
    const want = this.wanted(level, address);
    const differs = (permLo: number, permHi: number): boolean => ((lo ^ want.lo) & ~permLo) !== 0 || ((hi ^ want.hi) & ~permHi) !== 0;
    if (!differs(n.permissionLo, n.permissionHi)) {
      this.failure = { ...alreadyMapped(Math.max(address, m.start)), progress: address - m.start };
      return false;
    }
    if (!this.shared && !differs(n.softwareLo, n.softwareHi)) {
      writeEntry(t, word, want.lo, want.hi, level, address, false);
    } else {
      replaceEntry(t, word, level, address, want.lo, want.hi, this.skip);
    }
    return true;
  }

  private mayTakePage(address: number): boolean {
    const none = this.t.needPages(1);
    if (none !== undefined) {
      this.failure = withProgress(none, address - this.m.start);
    }
    return none === undefined;
  }
}

function withProgress(failure: Failure, progress: number): Failure {
  return failure.kind === 'refused' || failure.kind === 'retry' ? { ...failure, progress } : failure;
}

function alreadyMapped(address: number) {
  return retry('map.already-mapped', `${hex(address)} is mapped like that already, permissions aside.`, 'Linux stage2_map_walker_try_leaf: -EAGAIN');
}

/**
 * kvm_pgtable_stage2_map: blocks from `linuxMinBlockLevel` on; an entry that already says the same, permissions aside, is left and the walk ends with
 * `retry` (-EAGAIN); a block under a smaller mapping is broken and its rest is no longer mapped; a table under a larger mapping is replaced. Stops half-way
 * where no page is left (`pool.exhausted`, -ENOMEM), keeping what was done; the outcome's `progress` says how many bytes that was.
 */
export function mapLinux(t: Table, ia: InputAddress, size: number, output: OutputAddress, patterns: LeafPatterns, options: MapOptions): Outcome<undefined> {
  const minLevel = options.pages === true ? 3 : (options.minBlockLevel ?? t.format.linuxMinBlockLevel);
  const m = planMap(t, ia, size, output, patterns, minLevel);
  if ('kind' in m) {
    return m;
  }
  const visitor = new LinuxMap(t, m, options.skip ?? {}, options.shared ?? true);
  const failure = walk(t, m.start, m.end, visitor) ?? visitor.failure;
  t.sink?.effect({ type: 'dsb', domain: 'ishst' });
  return failure ?? DONE;
}
