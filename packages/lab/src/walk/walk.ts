import { ENTRY, type EntryKind, type ExplainedField, type FaultValue, type Outcome, done, refused } from '@granule/contract';
import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import { hex } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import { type Run, STOP, walk } from '@granule/pgtable';
import { inherit, type Inherited, type Leaf, leafDescriber, NO_LIMITS } from '../dump/leaf.js';
import { offsetIn, virtualBits } from '../image/addresses.js';
import type { Image } from '../image/image.js';
import { addressOfWord, type RegimeTables } from '../image/regime-tables.js';

/** One descriptor that a walk read. */
export interface WalkStep {
  readonly level: Level;
  readonly index: number;
  /** Where the descriptor is, in the address space that the tables are in. */
  readonly address: OutputAddress;
  /** Tables at IPAs: how stage 2 translates `address`. */
  readonly through?: StageWalk;
  readonly lo: number;
  readonly hi: number;
  readonly kind: EntryKind;
  readonly fields: readonly ExplainedField[];
  /** The next table's address, or the output address of the leaf (of its first byte). */
  readonly output?: OutputAddress;
}

/** How the walk of one stage ended. */
export type StageEnd =
  | { readonly kind: 'translated'; readonly output: OutputAddress; readonly level: Level; readonly leaf: Leaf }
  | { readonly kind: 'fault'; readonly fault: FaultValue; readonly sentence: string }
  /** The image does not hold the table. */
  | { readonly kind: 'lost'; readonly sentence: string };

/** One address through one table. */
export interface StageWalk {
  readonly tables: RegimeTables;
  /** Offset from the start of the range. */
  readonly address: InputAddress;
  readonly steps: readonly WalkStep[];
  readonly end: StageEnd;
}

/** One address through one regime, and stage 2 where that follows. */
export interface AddressWalk {
  readonly regime: string;
  readonly address: bigint;
  /** One, or stage 1 and stage 2. Empty where the address is in no range that is switched on. */
  readonly stages: readonly StageWalk[];
  readonly end: StageEnd;
}

/**
 * Walks one address and tells where it leads. What depends on the access is told, not judged: permissions, and an access flag that is clear
 * ({@link Leaf.accessed}; an access then faults unless {@link RegimeTables.hardwareAccessFlag}).
 *
 * Refused: `walk.address-beyond-input` for an IPA that stage 2 cannot take, and what {@link Image.tables} refuses.
 */
export function walkAddress(image: Image, regime: string, address: bigint): Outcome<AddressWalk> {
  const tables = image.tables(regime);
  if (tables.kind !== 'done') {
    return tables;
  }
  const ranges = tables.value;
  const hit = ranges.find((each) => offsetOf(each, address) !== undefined);
  if (hit === undefined) {
    return outsideRanges(ranges, regime, address);
  }
  const first = walkStage(image, hit, offsetOf(hit, address)!);
  if (first.end.kind !== 'translated' || hit.through === undefined) {
    return done({ regime, address, stages: [first], end: first.end });
  }
  const second = walkStage(image, hit.through, first.end.output);
  return done({ regime, address, stages: [first, second], end: second.end });
}

/** Bit 55 chooses the range where the top byte is ignored; otherwise all the bits above the input size must be equal (DDI 0487 D8.2.3). */
function offsetOf(tables: RegimeTables, address: bigint): InputAddress | undefined {
  if (!tables.topByteIgnored || tables.format.stage === 2) {
    return offsetIn(tables, address);
  }
  const low = address % 2n ** 56n;
  const extended = low >> 55n === 1n ? low + (0xffn << 56n) : low;
  return offsetIn(tables, extended);
}

function outsideRanges(ranges: readonly RegimeTables[], regime: string, address: bigint): Outcome<AddressWalk> {
  const [tables] = ranges;
  const { stage, geometry } = tables.format;
  if (stage === 2 && address >= 2n ** 52n) {
    return refused('walk.address-beyond-input', `The IPA ${hex(address)} has more than 52 bits.`, 'DDI 0487 D8.2');
  }
  const sizes = ranges.map(({ format, range }) =>
    range === undefined ? `${format.geometry.iaBits} bits ${format.upper ? 'at the top' : 'from 0'}` : `${hex(range.start)} to ${hex(range.end)}`,
  );
  const why = `${hex(address)} is outside of ${sizes.join(' and ')}`;
  const level = stage === 2 || virtualBits(tables.format) === 32 ? geometry.startLevel : 0;
  return done({ regime, address, stages: [], end: faultEnd(tables, 'translation', level, Number(address % 2n ** 52n), why) });
}

const FAULT_NAMES = { translation: 'Translation', 'address-size': 'Address size' } as const;
type WalkFault = keyof typeof FAULT_NAMES;

function faultEnd(tables: RegimeTables, type: WalkFault, level: Level, address: InputAddress, why: string): StageEnd {
  const { stage, upper } = tables.format;
  const ipa = stage === 2 ? { ipa: address } : {};
  const fault: FaultValue = { type, level, stage, s1ptw: false, access: 'read', address, upper, ...ipa };
  return { kind: 'fault', fault, sentence: `${FAULT_NAMES[type]} fault, stage ${stage}, level ${level}: ${why}.` };
}

class StageWalker {
  readonly steps: WalkStep[] = [];
  readonly #image: Image;
  readonly #tables: RegimeTables;
  readonly #address: InputAddress;
  #above: Inherited = NO_LIMITS;
  end: StageEnd | undefined;

  constructor(image: Image, tables: RegimeTables, address: InputAddress) {
    this.#image = image;
    this.#tables = tables;
    this.#address = address;
  }

  /** Reads the descriptor of a run of one; false where that ends the walk. */
  step(run: Run): boolean {
    const { format, memory } = this.#tables;
    const { lo, hi, kind, level } = run;
    const address = addressOfWord(memory, run.word, format.geometry.pageShift);
    const through = this.#through(address);
    const output = kind === ENTRY.table ? format.tableOutput(lo, hi) : kind === ENTRY.leaf ? format.leafOutput(lo, hi, level) : undefined;
    this.steps.push({
      level, index: run.index, address, lo, hi, kind, fields: format.explain(lo, hi, level),
      ...(through === undefined ? {} : { through }), ...(output === undefined ? {} : { output }),
    });
    this.end = this.#endOf(run, through, output);
    if (this.end === undefined) {
      this.#above = inherit(this.#above, format.decodeTable(lo, hi));
    }
    return this.end === undefined;
  }

  /** The entry table itself is not there. */
  lostRoot(sentence: string): void {
    const { root, through } = this.#tables;
    const inner = through === undefined ? undefined : walkStage(this.#image, through, root);
    this.end = inner?.end.kind === 'fault' ? this.#stage1WalkFault(inner.end, root) : { kind: 'lost', sentence };
  }

  lost(run: Run, reason: 'outside-memory' | 'page-limit'): void {
    const { through, format } = this.#tables;
    const table = format.tableOutput(run.lo, run.hi);
    const inner = through === undefined ? undefined : walkStage(this.#image, through, table);
    if (inner?.end.kind === 'fault') {
      this.end = this.#stage1WalkFault(inner.end, table);
      return;
    }
    const why = reason === 'page-limit' ? 'was not loaded: the limit of table pages is reached' : 'is not in the image';
    this.end = { kind: 'lost', sentence: `The table at ${hex(table)}, which the entry of level ${run.level} names, ${why}.` };
  }

  #through(address: OutputAddress): StageWalk | undefined {
    const { through } = this.#tables;
    return through === undefined ? undefined : walkStage(this.#image, through, address);
  }

  #stage1WalkFault(end: StageEnd & { kind: 'fault' }, ipa: number): StageEnd {
    const fault = { ...end.fault, s1ptw: true, address: this.#address, ipa, upper: this.#tables.format.upper };
    return { kind: 'fault', fault, sentence: `Stage 2 does not translate the table walk: ${end.sentence}` };
  }

  #endOf(run: Run, through: StageWalk | undefined, output: OutputAddress | undefined): StageEnd | undefined {
    if (through?.end.kind === 'fault') {
      return this.#stage1WalkFault(through.end, through.address);
    }
    const { format } = this.#tables;
    if (output === undefined) {
      return this.#fault('translation', run.level, run.kind === ENTRY.zero ? 'the entry is zero' : 'the entry is not valid');
    }
    if (output >= 2 ** format.geometry.oaBits) {
      return this.#fault('address-size', run.level, `${hex(output)} has more than ${format.geometry.oaBits} bits`);
    }
    return run.kind === ENTRY.table ? undefined : this.#leafEnd(run, output);
  }

  #leafEnd(run: Run, output: OutputAddress): StageEnd {
    const leaf = leafDescriber(this.#tables)(run.lo, run.hi, run.level, this.#above);
    return { kind: 'translated', output: output + (this.#address - run.address), level: run.level, leaf };
  }

  #fault(type: WalkFault, level: Level, why: string): StageEnd {
    return faultEnd(this.#tables, type, level, this.#address, why);
  }
}

/** One address through one table; `address` may be beyond the input size, which is a translation fault. */
export function walkStage(image: Image, tables: RegimeTables, address: number): StageWalk {
  const { geometry } = tables.format;
  if (address >= 2 ** geometry.iaBits) {
    const end = faultEnd(tables, 'translation', geometry.startLevel, address, `${hex(address)} has more than ${geometry.iaBits} bits`);
    return { tables, address, steps: [], end };
  }
  const walker = new StageWalker(image, tables, address);
  const failure = walk(tables, address, address + 1, {
    visit: (run) => {
      walker.step(run);
      return STOP;
    },
    enter: (run) => (walker.step(run) ? 0 : STOP),
    lost: (run, reason) => {
      walker.lost(run, reason);
      return STOP;
    },
  });
  if (failure !== undefined) {
    walker.lostRoot(failure.sentence);
  }
  return { tables, address, steps: walker.steps, end: walker.end! };
}
