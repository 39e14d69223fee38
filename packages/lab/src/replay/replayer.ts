import { type Outcome, done } from '@granule/contract';
import { createTableArena, type TableArena } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import { isKnownEvent, type DecodedEvent, type RunFile, type TraceFields } from '@granule/snapshot';
import { withoutDoing } from './answers.js';
import { Checkpoints } from './checkpoints.js';
import { type KernelTables, type PlacedTable, placeTables } from './kernel-tables.js';
import { isOperation, type KernelRules, type LiveTable, type OperationName, perform } from './operations.js';
import { PROGRESS_EVENTS, type ReplayOptions } from './options.js';
import { protLayoutOf } from './prot.js';
import type { CheckpointComparison, ReplayReport } from './report.js';
import type { TraceFile } from './run-directory.js';
import { type Survey, TableNames } from './survey.js';
import { Tally } from './tally.js';
import { checkpointOf, eventsOf, type TraceCount, type TracedEvent } from './trace-pass.js';

/** An operation whose call was seen and whose return was not yet. */
interface Pending {
  readonly event: TracedEvent;
  readonly name: OperationName;
  readonly on: LiveTable;
}

const POOL_BYTES = 2 ** 27;

/** Second pass over a run's traces: does what they tell. */
export class Replayer {
  readonly #options: ReplayOptions;
  /** In all traces. */
  readonly #events: number;
  readonly #about: RunFile;
  readonly #returns: ReadonlySet<string>;
  /** What {@link TracedTable} number i of the survey is. */
  readonly #placed: readonly (PlacedTable | undefined)[];
  readonly #rules: KernelRules;
  readonly #checkpoints: Checkpoints;
  readonly #tally = new Tally();
  readonly #arenas = new Map<number, TableArena>();
  readonly #live = new Set<LiveTable>();
  readonly #names = new TableNames<{ readonly pgt: bigint; readonly mmu: bigint; readonly live: LiveTable }>();
  /** By task. */
  readonly #pending = new Map<number, Pending>();
  readonly #compared: CheckpointComparison[] = [];
  #made = 0;

  constructor(options: ReplayOptions, about: RunFile, survey: Survey, known: readonly KernelTables[]) {
    this.#options = options;
    this.#about = about;
    this.#events = survey.counts.reduce((sum, { events }) => sum + events, 0);
    this.#returns = survey.returns;
    this.#placed = placeTables(survey.tables, known);
    this.#checkpoints = new Checkpoints(options);
    const { withBit3, values } = survey.prots;
    this.#rules = { prot: protLayoutOf(about.kernel, withBit3, values), attributes: new Map() };
  }

  run(traces: readonly TraceFile[]): Outcome<Omit<ReplayReport, 'contradictions'>> {
    const counts: TraceCount[] = [];
    for (const event of eventsOf(traces, counts)) {
      this.#tell(event);
      const checkpoint = checkpointOf(event.decoded);
      if (checkpoint === undefined) {
        this.#event(event);
      } else if (!this.#compared.some(({ name }) => name === checkpoint)) {
        [...this.#pending.keys()].forEach((pid) => this.#flush(pid));
        const compared = this.#checkpoints.compare(checkpoint, [...this.#live]);
        if (compared.kind !== 'done') {
          return compared;
        }
        this.#compared.push(compared.value);
        if (checkpoint === this.#options.until) {
          break;
        }
      }
    }
    [...this.#pending.keys()].forEach((pid) => this.#flush(pid));
    return done(this.#report(counts));
  }

  #tell({ source: { number } }: TracedEvent): void {
    if (number % PROGRESS_EVENTS === 0) {
      this.#options.progress?.('events of the trace', number, this.#events);
    }
  }

  #event(event: TracedEvent): void {
    const { decoded, source } = event;
    if (decoded === undefined) {
      if (!isKnownEvent(source.event)) {
        this.#tally.unknown(source.event);
      }
    } else if (isOperation(decoded.event)) {
      this.#call(event, decoded.event, (decoded.fields as TraceFields<OperationName>).pgt);
    } else if (source.event.endsWith('_ret') && 'ret' in decoded.fields) {
      this.#return(event, decoded.fields.ret);
    } else if (!this.#wholeTables(event, decoded)) {
      this.#tally.other(source.event);
    }
  }

  /** Events that make tables, or change them as a whole. False: another event. */
  #wholeTables(event: TracedEvent, decoded: DecodedEvent): boolean {
    if (decoded.event === 's2_init' || decoded.event === 'hyp_init') {
      this.#make(event);
    } else if (decoded.event === 'unmap_stage2_range') {
      const on = this.#names.ofMmu(decoded.fields.mmu)?.live;
      this.#onRange(event, on === undefined ? [] : [on], 's2_unmap', decoded.fields.start, decoded.fields.size);
    } else if (decoded.event === 'nested_s2_unmap') {
      this.#onRange(event, this.#shadows(), 's2_unmap', 0, Infinity);
    } else if (decoded.event === 'nested_s2_wp') {
      this.#onRange(event, this.#shadows(), 's2_wrprotect', 0, Infinity);
    } else {
      return false;
    }
    return true;
  }

  #make(event: TracedEvent): void {
    const placed = this.#placed[this.#made];
    this.#made += 1;
    const live = placed && this.#create(placed, event);
    this.#tally.of(event.source.event)[live === undefined ? 'notReplayed' : 'done'] += 1;
    if (live !== undefined) {
      this.#live.add(live);
      this.#names.made({ ...live.placed.traced, live });
    }
  }

  #create(placed: PlacedTable, event: TracedEvent): LiveTable | undefined {
    const { format } = placed.like;
    const { pageShift } = format.geometry;
    const maxPages = Math.max(1, Math.floor((this.#options.tableBytes ?? POOL_BYTES) / 2 ** pageShift));
    const memory = this.#arenas.get(pageShift) ?? createTableArena({ pageShift, maxPages });
    this.#arenas.set(pageShift, memory);
    const table = createPageTable({ format, memory });
    if (table.kind === 'done') {
      return { placed, table: table.value, touches: [], destroyed: false };
    }
    this.#tally.note(event, table);
    return undefined;
  }

  #shadows(): readonly LiveTable[] {
    return [...this.#live].filter(({ placed }) => placed.shadow);
  }

  /** The call of an operation: done now, or at its return. */
  #call(event: TracedEvent, name: OperationName, pgt: bigint): void {
    const { pid } = event.source;
    this.#flush(pid);
    const on = this.#names.ofPgt(pgt)?.live;
    if (on === undefined) {
      this.#tally.of(name).notReplayed += 1;
    } else if (this.#returns.has(name)) {
      this.#pending.set(pid, { event, name, on });
    } else {
      this.#perform({ event, name, on }, undefined);
    }
  }

  #return({ source }: TracedEvent, ret: number): void {
    const pending = this.#pending.get(source.pid);
    if (pending !== undefined && source.event === `${pending.name}_ret`) {
      this.#pending.delete(source.pid);
      this.#perform(pending, ret);
    }
  }

  /** An operation whose return was lost is taken as done. */
  #flush(pid: number): void {
    const pending = this.#pending.get(pid);
    if (pending !== undefined) {
      this.#pending.delete(pid);
      this.#tally.unanswered();
      this.#perform(pending, undefined);
    }
  }

  #perform({ event, name, on }: Pending, ret: number | undefined): void {
    const fields = event.decoded!.fields as TraceFields<OperationName>;
    const othersUnderWay = [...this.#pending.values()].some((each) => each.on === on);
    const outcome = withoutDoing(name, ret, othersUnderWay) ?? perform(on, name, fields, this.#rules);
    const { addr, size } = { addr: 0, size: 1, ...fields };
    if (name !== 's2_flush') {
      on.touches.push({ operation: name, trace: event.trace, line: event.line, start: addr, end: addr + size });
    }
    this.#tally.account(event, name, on, outcome, ret);
    if (on.destroyed) {
      this.#live.delete(on);
      this.#names.gone(on.placed.traced);
    }
  }

  /** What the kernel does in steps, of which the large ones need not be in the trace. A range that reaches beyond a table ends with it. */
  #onRange(event: TracedEvent, tables: readonly LiveTable[], name: 's2_unmap' | 's2_wrprotect', start: number, size: number): void {
    this.#tally.of(event.source.event).done += 1;
    for (const on of tables) {
      const end = Math.min(start + size, 2 ** on.table.format.geometry.iaBits);
      if (start < end) {
        on.touches.push({ operation: event.source.event, trace: event.trace, line: event.line, start, end });
        const outcome = perform(on, name, { pgt: on.placed.traced.pgt, addr: start, size: end - start }, this.#rules);
        if (outcome.kind !== 'done') {
          this.#tally.note(event, outcome);
        }
      }
    }
  }

  #report(traces: readonly TraceCount[]): Omit<ReplayReport, 'contradictions'> {
    const tables = this.#compared.flatMap((each) => each.tables);
    const total = (of: 'total' | 'equal' | 'identical'): number => tables.reduce((sum, { mappings }) => sum + mappings[of], 0);
    const problems = this.#compared.some((each) => each.problems.length > 0);
    return {
      run: this.#about.run,
      kernel: this.#about.kernel,
      cpu: this.#about.cpu,
      prot: this.#rules.prot,
      traces,
      checkpoints: this.#compared,
      ...this.#tally.report(),
      totals: { mappings: total('total'), equal: total('equal'), identical: total('identical') },
      exact: tables.length > 0 && tables.every(({ exact }) => exact) && !problems && this.#tally.exact,
    };
  }
}
