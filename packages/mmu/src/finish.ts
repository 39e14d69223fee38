import { combineShareability, SHAREABLE } from './attributes.js';
import type { Stage1, Stage2 } from './context.js';
import { MEMORY, memoryKey, memoryOf } from './memory-types.js';
import { take } from './slots.js';
import type { Tables } from './tables.js';
import { type LeafState, type Walker } from './walker.js';

/** Writes the result of a translation that succeeded; `both`: the stage 2 that its output went through. */
export function finish(walker: Walker, stage: Stage1, both: Stage2 | undefined): void {
  const { out, leaf1, leaf2, tables1 } = walker;
  const last = both === undefined ? leaf1 : leaf2;
  out.output = last.output;
  out.permissions = both === undefined ? walker.permissions1 : walker.permissions1 & walker.permissions2;
  out.shift = Math.min(leaf1.shift, last.shift);
  out.level1 = tables1 === undefined ? -2 : leaf1.level;
  out.level2 = both === undefined ? -2 : leaf2.level;
  out.notGlobal = tables1 !== undefined && take(tables1.slots.nG, leaf1.lo, leaf1.hi) === 1;
  const memory = both === undefined ? memory1(walker, stage) : memory2(walker, stage, both, both.tables!);
  out.attributes = memory & 0xff;
  out.shareability = (memory & MEMORY.outer) !== 0 ? SHAREABLE.outer : shareabilityOf(walker, stage, both, (memory & MEMORY.outer1) !== 0);
}

function attrIndxOf({ tables1, leaf1 }: Walker): number {
  return tables1 === undefined ? 0 : take(tables1.slots.attrIndx, leaf1.lo, leaf1.hi);
}

/** Memory attributes of stage 1 alone, as {@link MEMORY} packs them. */
function memory1(walker: Walker, stage: Stage1): number {
  const { fetch } = walker;
  const attrIndx = attrIndxOf(walker);
  const key = memoryKey(attrIndx, -1, 0, fetch);
  const known = stage.memory[key];
  return known !== 0 ? known : (stage.memory[key] = memoryOf(stage.control, undefined, { attrIndx, memAttr: -1, fnXS: false, fetch: fetch !== 0 }));
}

/** Those of both stages. */
function memory2(walker: Walker, stage: Stage1, { control }: Stage2, { slots }: Tables): number {
  const { leaf2, fetch } = walker;
  const attrIndx = attrIndxOf(walker);
  const memAttr = take(slots.memAttr, leaf2.lo, leaf2.hi);
  const fnXS = take(slots.fnXS, leaf2.lo, leaf2.hi);
  const key = memoryKey(attrIndx, memAttr, fnXS, fetch);
  const known = stage.memory[key];
  return known !== 0 ? known : (stage.memory[key] = memoryOf(stage.control, control, { attrIndx, memAttr, fnXS: fnXS === 1, fetch: fetch !== 0 }));
}

/** Shareability of memory that is not Outer Shareable whatever is said; `outer1`: to stage 1 it was. */
function shareabilityOf(walker: Walker, { control }: Stage1, both: Stage2 | undefined, outer1: boolean): number {
  const { tables1, leaf1, leaf2, context } = walker;
  const said1 = tables1 === undefined ? (control.defaultCacheable ? SHAREABLE.non : SHAREABLE.outer) : context.shareability[shOf(tables1, leaf1)];
  const one = outer1 && context.choices.stage1Shareability === 'effective' ? SHAREABLE.outer : said1;
  return both === undefined ? one : combineShareability(one, context.shareability[shOf(both.tables!, leaf2)]);
}

/** SH as the leaf says, or TCR or VTCR where it has none. */
function shOf({ commonSh, slots }: Tables, { lo, hi }: LeafState): number {
  return commonSh < 0 ? take(slots.sh, lo, hi) : commonSh;
}
