import type { AttributeRequest, Failure, Mode, Outcome } from '@granule/contract';
import { DONE, ENTRY, levelIndex, refused } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { alignDown, hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { placeOutput } from '../leaf-runs.js';
import type { MapPlan } from '../map.js';
import { canBeLeaf, planMap, tablesBelow } from '../map.js';
import type { Tried } from '../map-linux.js';
import { DESCEND, LinuxWalk, REFUSED, TAKEN, differs } from '../map-linux.js';
import type { GranulePageTable } from '../page-table.js';
import type { Table } from '../table.js';
import { writeEntry } from '../table.js';
import type { Run, Visitor } from '../walk.js';
import { STOP, walk } from '../walk.js';
import { hypPatterns } from './attributes.js';

export interface HypMapOptions {
  readonly mode?: Mode;
}

/** hyp_map_walker: writes as it goes. */
class HypMap extends LinuxWalk {
  /** A table under a block-sized range stays: hyp maps visit leaf and invalid entries alone. */
  override enter(): number {
    return 0;
  }

  /** hyp_map_walker_try_leaf on a valid leaf. */
  protected override tryLeaf(level: Level, word: number, address: number): Tried {
    const { t } = this;
    const want = this.wanted(level, address);
    if (!differs(t, word, want, 0, 0)) {
      return TAKEN;
    }
    if (!differs(t, word, want, t.plan.softwareLo, t.plan.softwareHi)) {
      writeEntry(t, word, want.lo, want.hi, level, address, true);
      return TAKEN;
    }
    if (level < 3) {
      return DESCEND;
    }
    this.failure = { ...wouldChange(address, level), progress: address - this.m.start };
    return REFUSED;
  }

  /** No break-before-make, as in Linux: the live block is overwritten by the table, and what it mapped beside the range is lost. */
  protected override tableOver(word: number, level: Level, address: number): void {
    const { t } = this;
    const entry = t.descriptorFor(t.takePage(), t.tableBits);
    writeEntry(t, word, entry.lo, entry.hi, level, address, true);
  }
}

function wouldChange(address: number, level: Level) {
  return refused(
    'hyp.would-change',
    `${hex(address)} is mapped already by a level-${String(level)} leaf, of which a hyp mapping changes nothing but software bits.`,
    'Linux hyp_map_walker: -EINVAL',
  );
}

/** First pass of an exact hyp map: refuses what it must not change and counts tables. */
class HypMapCheck implements Visitor {
  pages = 0;
  failure: Failure | undefined;

  constructor(
    private readonly t: Table,
    private readonly m: MapPlan,
  ) {}

  visit(run: Run): number {
    const { t, m } = this;
    if (run.kind !== ENTRY.leaf) {
      this.pages += tablesBelow(t.plan, m.leafAt, run.level, run.from, run.to);
      return run.count;
    }
    const { softwareLo, softwareHi, span } = t.plan;
    const li = levelIndex(run.level);
    for (let i = 0; i < run.count; i++) {
      const address = run.address + i * span[li];
      const want = placeOutput(t.plan, m.lo[li], m.hi[li], address + m.offset);
      if (!canBeLeaf(t, m, run.level, address) || differs(t, run.word + 2 * i, want, softwareLo, softwareHi)) {
        this.failure = wouldChange(Math.max(address, m.start), run.level);
        return STOP;
      }
    }
    return run.count;
  }
}

/**
 * Maps [ia, ia + size) to [output, …) in a hyp (EL2) stage-1 table, by the largest blocks that fit from the format's `linuxMinBlockLevel`
 * on. Only absent entries are filled: an entry that says the same already is success, one that differs in software bits alone is rewritten
 * in place, a table that is there stays a table. Attributes: readable always, never writable and executable, never executable device
 * memory; the access flag is always set. Ends with DSB ISHST and ISB; no TLB invalidation, since nothing valid changes but software bits.
 *
 * exact: any other valid leaf in the way is refused (`hyp.would-change`), as is an exhausted pool (`pool.exhausted`), with nothing changed.
 * linux: as kvm_pgtable_hyp_map, which stops half-way: at level 3 such a leaf is -EINVAL (`hyp.would-change`); a live block above is
 * overwritten by a table without break-before-make, which loses the rest of the block and breaks DDI 0487 D8.17.1 (Linux warns and goes
 * on). The outcome's `progress` is how many bytes were done. The page offset of `output` is dropped. Linux counts a block so overwritten
 * twice, so that its table is never freed; counts here stay the number of non-zero entries.
 */
export function hypMap(
  table: GranulePageTable,
  ia: InputAddress,
  size: number,
  output: OutputAddress,
  attributes: AttributeRequest,
  options: HypMapOptions = {},
): Outcome<undefined> {
  const t = table.table;
  const linux = options.mode === 'linux';
  const patterns = hypPatterns(t, attributes);
  if ('kind' in patterns) {
    return patterns;
  }
  const m = planMap(t, ia, size, linux ? alignDown(output, t.plan.pageShift) : output, patterns, t.format.linuxMinBlockLevel);
  if ('kind' in m) {
    return m;
  }
  const refusal = linux ? undefined : check(t, m);
  if (refusal !== undefined) {
    return refusal;
  }
  const visitor = new HypMap(t, m, {});
  const failure = walk(t, m.start, m.end, visitor) ?? visitor.failure;
  t.sink?.effect({ type: 'dsb', domain: 'ishst' });
  t.sink?.effect({ type: 'isb' });
  return failure ?? DONE;
}

function check(t: Table, m: MapPlan): Failure | undefined {
  const visitor = new HypMapCheck(t, m);
  return walk(t, m.start, m.end, visitor) ?? visitor.failure ?? t.needPages(visitor.pages);
}
