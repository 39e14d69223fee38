import type { FaultValue, Outcome, TranslationControls, Words } from '@granule/contract';
import { done } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { contextOf, createTranslation, type DescriptorMemory, faultOf, type Fetch, readerMemory, swapBytes, translate, type Translation } from '@granule/mmu';
import { offsetIn } from '../image/addresses.js';
import type { Image } from '../image/image.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { DecidedAccess } from './access.js';
import { controlsOf } from './controls.js';

/** What hardware does with one address: the log of `mmu`, and what it says. */
export interface Run {
  readonly tables: readonly RegimeTables[];
  readonly controls: TranslationControls;
  readonly access: DecidedAccess;
  readonly fetches: readonly Fetch[];
  readonly out: Translation;
  /** The fault of the access; absent where it succeeds. */
  readonly fault?: FaultValue;
  /** The fault that ended the walk; absent where it reached an output, if need be past clear access flags. */
  readonly last?: FaultValue;
  /** Access flag faults by the physical address of their leaf; the walk went on as if software had set the flag. */
  readonly flags: ReadonlyMap<OutputAddress, FaultValue>;
}

/** Memory in which software has set the access flags of some leaves. */
class FlaggedMemory implements DescriptorMemory {
  readonly #memory: DescriptorMemory;
  readonly #flags = new Map<OutputAddress, Words>();

  constructor(memory: DescriptorMemory) {
    this.#memory = memory;
  }

  set(physical: OutputAddress, afLo: number, bigEndian: boolean): void {
    this.#flags.set(physical, bigEndian ? { lo: 0, hi: swapBytes(afLo) } : { lo: afLo, hi: 0 });
  }

  load(physical: OutputAddress, into: Words, stage: 1 | 2, level: Level): boolean {
    const loaded = this.#memory.load(physical, into, stage, level);
    const flag = this.#flags.get(physical);
    if (flag !== undefined) {
      into.lo = (into.lo | flag.lo) >>> 0;
      into.hi = (into.hi | flag.hi) >>> 0;
    }
    return loaded;
  }
}

/** The offset of an address in one of these ranges; bit 55 chooses the range where the top byte is ignored (DDI 0487 D8.2.4). */
export function offsetOf(tables: RegimeTables, address: bigint): InputAddress | undefined {
  if (!tables.topByteIgnored || tables.format.stage === 2) {
    return offsetIn(tables, address);
  }
  const low = address % 2n ** 56n;
  return offsetIn(tables, low >> 55n === 1n ? low + (0xffn << 56n) : low);
}

/** The tables of a stage in a run: those of stage 1 need only say their format. */
export function tablesOfStage(ranges: readonly RegimeTables[], stage: 1 | 2): RegimeTables {
  const [tables] = ranges;
  return stage === 2 && tables.format.stage === 1 ? tables.through! : tables;
}

function fetchesOf({ fetches }: Translation, ranges: readonly RegimeTables[], flags: Run['flags']): readonly Fetch[] {
  return fetches.all().map((fetch) => {
    const { afLo } = tablesOfStage(ranges, fetch.stage).format.numbers;
    return flags.has(fetch.physical) ? { ...fetch, lo: (fetch.lo & ~afLo) >>> 0 } : fetch;
  });
}

/**
 * Translates an address through these tables: both stages where stage 1 is at IPAs. An access flag fault is noted and the walk goes on behind it, so that
 * one sees where the tables lead; the first one stays the fault of the access.
 */
export function translateThrough(image: Image, ranges: readonly RegimeTables[], address: bigint, access: DecidedAccess): Outcome<Run> {
  const decoded = controlsOf(image, ranges);
  if (decoded.kind !== 'done') {
    return decoded;
  }
  const controls = decoded.value;
  const memory = new FlaggedMemory(readerMemory((ranges[0].format.stage === 1 ? ranges[0].through ?? ranges[0] : ranges[0]).reader));
  const context = contextOf(controls);
  const [{ regime, bigEndian }] = controls.stage1;
  const asked = { regime, type: access.type, privileged: access.el !== 0 };
  const out = createTranslation();
  const flags = new Map<OutputAddress, FaultValue>();
  while (!translate(context, memory, address, asked, out) && out.fault.type === 'access-flag') {
    const { stage } = out.fault;
    const at = out.fetches.at(out.fetches.count - 1).physical;
    flags.set(at, faultOf(out));
    memory.set(at, tablesOfStage(ranges, stage).format.numbers.afLo, stage === 1 ? bigEndian : controls.stage2!.bigEndian);
  }
  const [first] = flags.values();
  const last = out.ok ? undefined : faultOf(out);
  const fault = first ?? last;
  const fetches = fetchesOf(out, ranges, flags);
  return done({ tables: ranges, controls, access, fetches, out, flags, ...(fault && { fault }), ...(last && { last }) });
}
