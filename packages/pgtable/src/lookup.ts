import type { LookupResult, MappedRange, TableMemory } from '@granule/contract';
import { ENTRY, levelIndex } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import { high32, low32 } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { uniformRun } from './leaf-runs.js';
import type { Tables, Run, Visitor, WalkEnd } from './walk.js';
import { STOP, TABLE_BUDGET, tableWord, walk } from './walk.js';
import type { Plan } from './plan.js';
import { planOf } from './plan.js';

export function newLookup(): LookupResult {
  return { kind: ENTRY.zero, level: 3, lo: 0, hi: 0, word: -1, output: 0 };
}

/**
 * The entry at which a walk for `ia` ends. False, and `out.kind` zero, where `ia` is beyond the input size or a table on the way is not in
 * memory. Allocates nothing.
 */
export function lookup(tables: Tables, ia: InputAddress, out: LookupResult): boolean {
  const plan = planOf(tables.format);
  const { memory, root } = tables;
  if (memory.contiguousPages === 0 && plan.rootEntries > plan.tableEntries && ia >= 0 && ia < plan.limit) {
    // Concatenated entry tables of an image need not lie side by side in the arena: start at the page that holds the entry.
    const index = Math.floor(ia * plan.inverse[levelIndex(plan.startLevel)]);
    const word = memory.wordOf(root + index * 8, 8) | 0;
    return descend(plan, memory, plan.startLevel, word < 0 ? word : word - 2 * (index % plan.tableEntries), plan.tableEntries - 1, ia, out);
  }
  return descend(plan, memory, plan.startLevel, memory.wordOf(root, 8) | 0, plan.rootEntries - 1, ia, out);
}

/** The walk of {@link lookup} from a table of level `from` at word `table`, whose index has these bits. */
export function descend(
  plan: Plan,
  memory: TableMemory,
  from: Level,
  table: number,
  indexMask: number,
  ia: InputAddress,
  out: LookupResult,
): boolean {
  const lo32 = low32(ia);
  const hi32 = high32(ia);
  let mask = indexMask;
  let word = ia >= 0 && ia < plan.limit ? table : -1;
  for (let li = (from + 1) | 0; word >= 0; li++) {
    const shift = plan.shift[li];
    word = (word + 2 * ((shift < 32 ? (lo32 >>> shift) | ((hi32 << 1) << (31 - shift)) : hi32 >>> (shift - 32)) & mask)) | 0;
    const { words } = memory;
    const lo = words[word];
    const hi = words[word + 1];
    const type = lo & plan.typeMask[li];
    if (type !== plan.tableType[li]) {
      const leaf = type === plan.leafType[li];
      out.level = (li - 1) as Level;
      out.lo = lo;
      out.hi = hi;
      out.word = word;
      out.kind = leaf ? ENTRY.leaf : (lo | hi) === 0 ? ENTRY.zero : ENTRY.annotated;
      out.output = leaf ? plan.leafOutput(lo, hi, li) + offsetIn(lo32, hi32, shift) : 0;
      return true;
    }
    word = tableWord(memory, plan, lo, hi);
    mask = plan.tableEntries - 1;
  }
  out.kind = ENTRY.zero;
  return false;
}

/** The low `shift` bits of an address. */
function offsetIn(lo: number, hi: number, shift: number): number {
  return shift < 32 ? lo & ((1 << shift) - 1) : lo + (hi & ((1 << (shift - 32)) - 1)) * 0x1_0000_0000;
}

/** Called for each uniform run of leaves: `count` neighbours of one level with equal attributes whose outputs follow each other. */
export interface MappingVisitor {
  /** STOP ends the walk. */
  leaves(run: Run, word: number, count: number, address: InputAddress): number;
  /** Other entries: zero, annotated. */
  other?(run: Run): number;
  enter?(run: Run): number;
  lost?(run: Run, reason: 'outside-memory' | 'page-limit'): number;
}

/** Visits every uniform run of leaves that meets [start, end), in order. */
export function mappings(
  tables: Tables,
  start: InputAddress,
  end: InputAddress,
  visitor: MappingVisitor,
  budget: number = TABLE_BUDGET,
): WalkEnd {
  const plan = planOf(tables.format);
  const inner: Visitor = {
    visit(run) {
      if (run.kind !== ENTRY.leaf) {
        return visitor.other !== undefined && visitor.other(run) < 0 ? STOP : run.count;
      }
      const span = plan.span[levelIndex(run.level)];
      const { words } = tables.memory;
      for (let i = 0; i < run.count;) {
        const word = run.word + 2 * i;
        const count = uniformRun(plan, words, word, run.count - i, run.level);
        if (visitor.leaves(run, word, count, run.address + i * span) < 0) {
          return STOP;
        }
        i += count;
      }
      return run.count;
    },
    ...(visitor.enter === undefined ? {} : { enter: (run: Run) => visitor.enter?.(run) ?? 0 }),
    ...(visitor.lost === undefined
      ? {}
      : { lost: (run: Run, reason: 'outside-memory' | 'page-limit') => visitor.lost?.(run, reason) ?? 0 }),
  };
  return walk(tables, start, end, inner, budget);
}

/** Leaves that meet the range, one each, in order, at most `limit`. */
export function query(tables: Tables, start: InputAddress, end: InputAddress, limit: number): readonly MappedRange[] {
  const plan = planOf(tables.format);
  const found: MappedRange[] = [];
  walk(tables, start, end, {
    visit(run) {
      const span = plan.span[levelIndex(run.level)];
      for (let i = 0; run.kind === ENTRY.leaf && i < run.count; i++) {
        if (found.length === limit) {
          return STOP;
        }
        const lo = tables.memory.words[run.word + 2 * i];
        const hi = tables.memory.words[run.word + 2 * i + 1];
        const address = run.address + i * span;
        found.push({
          start: address,
          end: address + span,
          level: run.level,
          output: plan.leafOutput(lo, hi, levelIndex(run.level)),
          lo,
          hi,
        });
      }
      return run.count;
    },
  });
  return found;
}
