import { bigintHigh, bigintLow, high32, type OutputAddress } from '@granule/geometry/bits';
import { traitsOf, type Access } from './access.js';
import { combine, combineForced, combineShareability, effectiveShareability, encodeMair, makeNonCacheable } from './attributes.js';
import type { Context, Stage1, Stage2 } from './context.js';
import type { DescriptorMemory } from './memory.js';
import { mapFast } from './fast.js';
import { createTranslation, type Translation } from './result.js';
import { take } from './slots.js';
import { stage1 } from './stage1.js';
import { deviceLeaf, PURPOSE, stage2 } from './stage2.js';
import { Walker } from './walker.js';

/** One walk at a time is under way: its state is used again. */
const shared = new Walker();

/**
 * Translates an address as hardware does, into `out`: true where that succeeds, false with `out.fault` where it faults. Memory is not changed; what
 * hardware would write is in `out.updates`, also after a fault. Nothing is allocated.
 *
 * @param lo bits 31:0 of the address, unsigned
 * @param hi bits 63:32; 0 with AArch32
 * @throws RangeError where the context has no such regime
 */
export function translateWords(context: Context, memory: DescriptorMemory, lo: number, hi: number, access: Access, out: Translation): boolean {
  const stage = begin(context, memory, access, out);
  const both = stage.virtualised && access.stages !== 'one' ? context.stage2 : undefined;
  shared.logged = true;
  out.ok = stage1(shared, stage, lo, hi, access.pan === true) && (both === undefined || stage2(shared, both, shared.leaf1.output, PURPOSE.access));
  if (out.ok) finish(shared, stage, both);
  return out.ok;
}

/**
 * {@link translateWords} of an address as one value: a number for the lower range, a bigint for any.
 *
 * @param ia 0 … 2^53 − 1, or a bigint of 64 bits
 */
export function translate(context: Context, memory: DescriptorMemory, ia: number | bigint, access: Access, out: Translation): boolean {
  if (typeof ia === 'number') return translateWords(context, memory, ia >>> 0, high32(ia), access, out);
  return translateWords(context, memory, bigintLow(ia), bigintHigh(ia), access, out);
}

/** Address and rights alone: what an emulator's fast path asks for. */
export interface Mapped {
  output: OutputAddress;
  /** PERMISSION bits, after both stages. */
  permissions: number;
  /** log2 of the bytes around the address that the answer holds for. */
  shift: number;
}

const scratch = createTranslation();

/**
 * Translates without a log of fetches and without attributes. False: a fault; ask {@link translateWords} which. An access that hardware would note in a
 * descriptor (access flag, dirty state) answers false too, since only the whole translation tells what to write.
 */
export function mapWords(context: Context, memory: DescriptorMemory, lo: number, hi: number, access: Access, into: Mapped): boolean {
  const stage = begin(context, memory, access, scratch);
  const both = stage.virtualised && access.stages !== 'one' ? context.stage2 : undefined;
  shared.logged = false;
  if (memory.arena !== undefined && mapFast(shared, memory.arena, stage, both !== undefined, lo, hi, access.pan === true, into)) return true;
  if (!stage1(shared, stage, lo, hi, access.pan === true)) return false;
  if (both !== undefined && !stage2(shared, both, shared.leaf1.output, PURPOSE.access)) return false;
  const { leaf1, leaf2, permissions1, permissions2 } = shared;
  into.output = both === undefined ? leaf1.output : leaf2.output;
  into.permissions = both === undefined ? permissions1 : permissions1 & permissions2;
  into.shift = both === undefined ? leaf1.shift : Math.min(leaf1.shift, leaf2.shift);
  return scratch.updates.count === 0;
}

function stageOf(context: Context, regime: string): Stage1 {
  const stage = context.regimes.get(regime);
  if (stage === undefined) throw new RangeError(`The context has no regime ${regime}; it has ${[...context.regimes.keys()].join(', ')}.`);
  return stage;
}

/** Sets the walker up. What an access before this one has looked up is used again. */
function begin(context: Context, memory: DescriptorMemory, access: Access, out: Translation): Stage1 {
  const stage = context === shared.context && access.regime === shared.regime ? shared.stage : stageOf(context, access.regime);
  shared.context = context;
  shared.regime = access.regime;
  shared.stage = stage;
  shared.memory = memory;
  shared.out = out;
  if (access.type !== shared.access) {
    const { fetch, write, silent } = traitsOf(access.type);
    shared.access = access.type;
    shared.fetch = fetch;
    shared.write = write;
    shared.silent = silent;
  }
  shared.privileged = access.privileged;
  out.fetches.count = 0;
  out.updates.count = 0;
  out.notGlobal = false;
  out.level2 = -2;
  return stage;
}

/** Writes the result of a translation that succeeded. */
function finish(walker: Walker, stage: Stage1, both: Stage2 | undefined): void {
  const { out, leaf1, leaf2, permissions1, permissions2, attributes } = walker;
  if (both !== undefined) combineStages(walker, both);
  out.output = both === undefined ? leaf1.output : leaf2.output;
  out.permissions = both === undefined ? permissions1 : permissions1 & permissions2;
  out.shift = both === undefined ? leaf1.shift : Math.min(leaf1.shift, leaf2.shift);
  out.attributes = walker.written >= 0 ? walker.written : encodeMair(attributes, stage.control.xs);
  out.shareability = effectiveShareability(attributes.byte, walker.shareability);
}

/** Memory attributes of both stages (DDI 0487 AArch64.S2Translate). */
function combineStages(walker: Walker, { control, tables }: Stage2): void {
  const { leaf2, attributes, fetch } = walker;
  const { slots, commonSh } = tables!;
  const memAttr = take(slots.memAttr, leaf2.lo, leaf2.hi);
  const nonCacheable = fetch ? control.instructionNonCacheable : control.dataNonCacheable;
  const asStage1 = control.fwb && (memAttr & 0b111) === 0b111 && !nonCacheable;
  const fnXS = control.xs && take(slots.fnXS, leaf2.lo, leaf2.hi) === 1;
  if (control.fwb) combineForced(attributes, memAttr, nonCacheable);
  else combine(attributes, memAttr, nonCacheable);
  if (fetch && deviceLeaf(control, memAttr)) makeNonCacheable(attributes);
  if (fnXS) attributes.xs = false;
  if (!asStage1 || fnXS) walker.written = -1;
  const sh = commonSh < 0 ? take(slots.sh, leaf2.lo, leaf2.hi) : commonSh;
  walker.shareability = combineShareability(walker.shareability, walker.context.shareability[sh]);
  walker.out.level2 = leaf2.level;
}

