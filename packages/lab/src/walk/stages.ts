import { ENTRY, type FaultValue } from '@granule/contract';
import { levelShift } from '@granule/geometry';
import { hex, type OutputAddress } from '@granule/geometry/bits';
import type { Fetch } from '@granule/mmu';
import { inherit, leafDescriber, NO_LIMITS } from '../dump/leaf.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { StageEnd, StageWalk, Translated, WalkStep } from './address-walk.js';
import { faultEnd } from './cause.js';
import { offsetOf, type Run } from './translation.js';

/** How a stage-2 table translates an address where other tables are; undefined where nothing can be said. */
type Space = (tables: RegimeTables, ipa: OutputAddress) => StageWalk | undefined;

/** The fetches of one walk of one stage. */
interface Part {
  readonly tables: RegimeTables;
  /** Offset from the start of the range. */
  readonly address: number;
  readonly fetches: readonly Fetch[];
  /** The fault that ended it; absent where it came to a leaf. */
  readonly failure?: FaultValue;
}

interface Stages {
  readonly stages: readonly StageWalk[];
  readonly end: StageEnd;
}

/** A run told stage by stage: what each descriptor says, and how each walk ended. */
export function stagesOf(run: Run, address: bigint, space: Space): Stages {
  const [tables] = run.tables;
  const offset = offsetOf(tables, address);
  if (offset === undefined) {
    return { stages: [], end: faultEnd(run, run.fault!, [], address) };
  }
  const parts = new Parts(run, space);
  if (tables.format.stage === 2) {
    const only = parts.stage2({ tables, address: offset, fetches: run.fetches, ...(run.last && { failure: run.last }) });
    return { stages: [only], end: only.end };
  }
  const stages = parts.both(tables, offset, address);
  return { stages, end: endOf(run, stages) };
}

/** The end of the whole: the fault of the access, or where the last stage leads. */
function endOf({ fault, last }: Run, stages: readonly StageWalk[]): StageEnd {
  const { end } = stages[stages.length - 1];
  const faults = stages.flatMap(allEnds).filter((each) => each.kind === 'fault');
  const own = faults.find((each) => each.fault === fault);
  if (own === undefined) {
    return end;
  }
  return withPast(own, last === undefined ? reached(end) : undefined);
}

function allEnds({ steps, unread, end }: StageWalk): readonly StageEnd[] {
  const inner = steps.flatMap(({ through }) => (through === undefined ? [] : [through.end]));
  return [...inner, ...(unread === undefined ? [] : [unread.end]), end];
}

class Parts {
  readonly #run: Run;
  readonly #space: Space;

  constructor(run: Run, space: Space) {
    this.#run = run;
    this.#space = space;
  }

  /** Stage 1, with stage 2 of each of its descriptors and of its output where it is at IPAs. */
  both(tables: RegimeTables, offset: number, address: bigint): readonly StageWalk[] {
    const { fetches, last } = this.#run;
    const own = fetches.filter(({ stage }) => stage === 1);
    const rest = fetches.slice(own.length === 0 ? 0 : fetches.lastIndexOf(own[own.length - 1]) + 1);
    const first = { tables, address: offset, fetches: own };
    const steps = this.#steps(first, (at) => this.#groupOf(tables, at));
    const host = tables.through;
    const onTable = last?.stage === 2 && last.s1ptw;
    if (last !== undefined && (last.stage === 1 || onTable)) {
      const read = onTable && host !== undefined && !(own.length > 0 && isLeaf(steps));
      const unread = read ? this.stage2({ tables: host, address: last.ipa!, fetches: rest, failure: last }) : undefined;
      const end = unread?.end ?? this.#failed({ ...first, failure: last }, steps, address);
      return [{ tables, address: offset, steps, ...(unread && { unread }), end }];
    }
    const end = this.#leafEnd(first, steps);
    const one: StageWalk = { tables, address: offset, steps, end };
    const output = reached(end)!.output;
    return host === undefined ? [one] : [one, this.stage2({ tables: host, address: output, fetches: rest, ...(last && { failure: last }) })];
  }

  /** One walk of stage 2. Its tables may be at IPAs themselves, which software goes through. */
  stage2(part: Part): StageWalk {
    const { tables, address, failure } = part;
    const { through } = tables;
    const steps = this.#steps(part, (at) => (through === undefined ? undefined : this.#space(through, at.address)));
    if (failure === undefined) {
      return { tables, address, steps, end: this.#leafEnd(part, steps) };
    }
    const unread = through === undefined || failure.type !== 'external-abort-on-walk' ? undefined : this.#space(through, nextTable(part, steps));
    const end = unread?.end.kind === 'fault' ? onTableWalk(unread.end) : this.#failed(part, steps);
    return { tables, address, steps, ...(unread && { unread }), end };
  }

  /** Stage 2 of the descriptor that this fetch of stage 1 read: the fetches right before it. */
  #groupOf(tables: RegimeTables, fetch: Fetch): StageWalk | undefined {
    if (tables.through === undefined) {
      return undefined;
    }
    const { fetches } = this.#run;
    const at = fetches.indexOf(fetch);
    const before = fetches.slice(0, at).findLastIndex(({ stage }) => stage === 1);
    return this.stage2({ tables: tables.through, address: fetch.address, fetches: fetches.slice(before + 1, at) });
  }

  #steps({ tables, fetches }: Part, through: (fetch: Fetch) => StageWalk | undefined): readonly WalkStep[] {
    const { format } = tables;
    let table = tables.root;
    return fetches.map((fetch) => {
      const { lo, hi, level, address } = fetch;
      const kind = format.kind(lo, hi, level);
      const output = kind === ENTRY.table ? format.tableOutput(lo, hi) : kind === ENTRY.leaf ? format.leafOutput(lo, hi, level) : undefined;
      const inner = through(fetch);
      const step = { level, index: (address - table) / 8, address, lo, hi, kind, fields: format.explain(lo, hi, level) };
      table = output ?? table;
      return { ...step, ...(inner && { through: inner }), ...(output !== undefined && { output }) };
    });
  }

  /** The leaf that a walk came to, or its access flag fault with the leaf behind it. */
  #leafEnd(part: Part, steps: readonly WalkStep[]): StageEnd {
    const { tables, address, fetches } = part;
    const { lo, hi, level, output } = steps[steps.length - 1];
    const above = steps.slice(0, -1).reduce((limits, step) => inherit(limits, tables.format.decodeTable(step.lo, step.hi)), NO_LIMITS);
    const leaf = leafDescriber(tables)(lo, hi, level, above);
    const past: Translated = { output: output! + (address % 2 ** levelShift(tables.format.geometry.granule, level)), level, leaf };
    const flag = this.#run.flags.get(fetches[fetches.length - 1].physical);
    return flag === undefined ? { kind: 'translated', ...past } : { ...faultEnd(this.#run, flag, fetches), past };
  }

  #failed(part: Part, steps: readonly WalkStep[], address?: bigint): StageEnd {
    const failure = part.failure!;
    if (failure.type !== 'external-abort-on-walk') {
      const physical = part.fetches.at(-1)?.physical;
      const flag = physical === undefined ? undefined : this.#run.flags.get(physical);
      return faultEnd(this.#run, flag ?? failure, part.fetches, address);
    }
    const { from } = part.tables;
    const names = steps.length === 0 ? from : `the entry of level ${steps[steps.length - 1].level}`;
    return { kind: 'lost', sentence: `The table at ${hex(nextTable(part, steps))}, which ${names} names, is not in the image.` };
  }
}

function isLeaf(steps: readonly WalkStep[]): boolean {
  return steps[steps.length - 1].kind === ENTRY.leaf;
}

/** The table that a walk could not read. */
function nextTable({ tables }: Part, steps: readonly WalkStep[]): OutputAddress {
  return steps.length === 0 ? tables.root : steps[steps.length - 1].output!;
}

/** Where a walk leads, whether the access gets there or not. */
export function reached(end: StageEnd): Translated | undefined {
  return end.kind === 'translated' ? end : end.kind === 'fault' ? end.past : undefined;
}

/** A fault with where the tables lead behind it. */
export function withPast({ kind, fault, sentence, cause }: StageEnd & { kind: 'fault' }, past: Translated | undefined): StageEnd {
  const bare = { kind, fault, sentence, cause };
  return past === undefined ? bare : { ...bare, past: { output: past.output, level: past.level, leaf: past.leaf } };
}

/** What keeps software from reading a table, as a fault of the walk that needs it. */
function onTableWalk({ kind, fault, sentence, cause }: StageEnd & { kind: 'fault' }): StageEnd {
  return { kind, fault: { ...fault, s1ptw: true }, cause, sentence: `Stage 2 does not translate the table walk: ${sentence}` };
}
