import { bigintHigh, bigintLow, high32, low32, type OutputAddress } from '@granule/geometry/bits';
import type { Access } from './access.js';
import type { Context, Stage1, Stage2 } from './context.js';
import { finish } from './finish.js';
import type { DescriptorMemory } from './memory.js';
import { createTranslation, type Translation } from './result.js';
import { stage1 } from './stage1.js';
import { stage2 } from './walk.js';
import { Walker } from './walker.js';

/** One walk at a time is under way: its state is used again. */
const shared = new Walker();

/**
 * Translates an address as hardware does, into `out`: true where that succeeds, false with `out.fault` where it faults. Memory is not changed; what
 * hardware would write is in `out.updates`, also after a fault. Nothing is allocated.
 *
 * @param lo bits 31:0 of the address, signed or unsigned (signed is faster: the engines keep those without a box)
 * @param hi bits 63:32, as lo; 0 with AArch32
 * @throws RangeError where the context has no such regime
 */
export function translateWords(context: Context, memory: DescriptorMemory, lo: number, hi: number, access: Access, out: Translation): boolean {
  const stage = begin(context, memory, access, out);
  const both = stage.virtualised && access.stages !== 'one' ? context.stage2 : undefined;
  shared.log = out.fetches;
  const ok = walk(stage, both, lo | 0, hi | 0, access.pan === true) !== 0;
  out.ok = ok;
  if (ok) finish(shared, stage, both);
  return ok;
}

/**
 * {@link translateWords} of an address as one value: a number for the lower range, a bigint for any.
 *
 * @param ia 0 … 2^53 − 1, or a bigint of 64 bits
 */
export function translate(context: Context, memory: DescriptorMemory, ia: number | bigint, access: Access, out: Translation): boolean {
  if (typeof ia === 'number') return translateWords(context, memory, low32(ia), high32(ia), access, out);
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
  shared.log = undefined;
  if (walk(stage, both, lo | 0, hi | 0, access.pan === true) === 0) return false;
  const { leaf1, leaf2, permissions1, permissions2 } = shared;
  into.output = (both === undefined ? leaf1 : leaf2).output;
  into.permissions = both === undefined ? permissions1 : permissions1 & permissions2;
  into.shift = both === undefined ? leaf1.shift : Math.min(leaf1.shift, leaf2.shift);
  return !shared.updated;
}

/** Both stages, or the first alone, into the state of `shared`: 1. 0: a fault. */
function walk(stage: Stage1, both: Stage2 | undefined, lo: number, hi: number, pan: boolean): 0 | 1 {
  if (stage1(shared, stage, lo, hi, pan) === 0) return 0;
  const { outLo, outHi } = shared.leaf1;
  return both === undefined ? 1 : stage2(shared, both, outLo, outHi, 0);
}

function stageOf(context: Context, regime: string): Stage1 {
  const stage = context.regimes.get(regime);
  if (stage === undefined) throw new RangeError(`The context has no regime ${regime}; it has ${[...context.regimes.keys()].join(', ')}.`);
  return stage;
}

/** Sets the walker up. What an access before this one has looked up is used again. */
function begin(context: Context, memory: DescriptorMemory, { type, privileged, regime }: Access, out: Translation): Stage1 {
  if (context !== shared.context || regime !== shared.regime) {
    shared.stage = stageOf(context, regime);
    shared.context = context;
    shared.regime = regime;
  }
  if (type !== shared.access || privileged !== shared.privileged) shared.asks(type, privileged);
  if (out !== shared.out) shared.out = out;
  shared.read(memory);
  shared.updated = false;
  out.fetches.clear();
  out.updates.count = 0;
  return shared.stage;
}
