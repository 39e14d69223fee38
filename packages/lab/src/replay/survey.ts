import type { OutputAddress } from '@granule/geometry/bits';
import { parseAddress, parseWord } from '@granule/geometry/bits';
import type { TraceFile } from './run-directory.js';
import { checkpointOf, eventsOf, type TraceCount, type TracedEvent } from './trace-pass.js';

/** A table that the trace makes: `s2_init` or `hyp_init`. A `pgt` that is made again is another table. */
export interface TracedTable {
  readonly kind: 's2' | 'hyp';
  readonly pgt: bigint;
  /** 0: none (hyp). */
  readonly mmu: bigint;
  readonly trace: string;
  readonly line: number;
  /** Physical root, where an event names it, and that event. */
  root?: OutputAddress;
  rootFrom?: string;
  /** Largest range that one `s2_split` was called for, bytes: Linux sizes its cache of pages by that. */
  splitChunk: number;
}

/** What must be known of a trace before its first operation is replayed. */
export interface Survey {
  /** In the order in which they are made. */
  readonly tables: readonly TracedTable[];
  /** Checkpoints in the order of their marks. */
  readonly checkpoints: readonly string[];
  readonly counts: readonly TraceCount[];
  /** Names of operations whose return is traced. */
  readonly returns: ReadonlySet<string>;
  readonly prots: { readonly values: number; readonly withBit3: number };
}

/** A table by the kernel's pointers, as of an event. */
export class TableNames<T extends { readonly pgt: bigint; readonly mmu: bigint }> {
  readonly #byPgt = new Map<bigint, T>();
  readonly #byMmu = new Map<bigint, T>();

  made(table: T): void {
    this.#byPgt.set(table.pgt, table);
    if (table.mmu !== 0n) {
      this.#byMmu.set(table.mmu, table);
    }
  }

  gone(table: Pick<T, 'pgt' | 'mmu'>): void {
    this.#byPgt.delete(table.pgt);
    this.#byMmu.delete(table.mmu);
  }

  ofPgt(pgt: bigint): T | undefined {
    return this.#byPgt.get(pgt);
  }

  ofMmu(mmu: bigint): T | undefined {
    return this.#byMmu.get(mmu);
  }
}

/** The table that an event makes; undefined where it makes none. */
function tableMadeBy({ decoded, trace, line }: TracedEvent): TracedTable | undefined {
  if (decoded?.event === 's2_init') {
    return { kind: 's2', pgt: decoded.fields.pgt, mmu: decoded.fields.mmu, trace, line, splitChunk: 0 };
  }
  return decoded?.event === 'hyp_init' ? { kind: 'hyp', pgt: decoded.fields.pgt, mmu: 0n, trace, line, splitChunk: 0 } : undefined;
}

export function survey(traces: readonly TraceFile[]): Survey {
  const tables: TracedTable[] = [];
  const checkpoints = new Set<string>();
  const returns = new Set<string>();
  const prots = { values: 0, withBit3: 0 };
  const names = new TableNames<TracedTable>();
  const counts: TraceCount[] = [];
  for (const event of eventsOf(traces, counts)) {
    const made = tableMadeBy(event);
    if (made !== undefined) {
      tables.push(made);
      names.made(made);
    }
    const checkpoint = checkpointOf(event.decoded);
    if (checkpoint !== undefined) {
      checkpoints.add(checkpoint);
    }
    if (event.decoded?.event.endsWith('_ret') === true) {
      returns.add(event.decoded.event.slice(0, -'_ret'.length));
    }
    noteRoot(event, names);
    noteFields(event, names, prots);
  }
  return { tables, checkpoints: [...checkpoints], counts, returns, prots };
}

/** TLB maintenance and unmapping print `pgd_phys` beside `pgt` and `mmu`, whatever their name. */
function noteRoot({ source, trace, line }: TracedEvent, names: TableNames<TracedTable>): void {
  const text = /\bpgd_phys=(\w+)/.exec(source.text)?.[1];
  const root = text === undefined ? undefined : parseAddress(text);
  if (root === undefined) {
    return;
  }
  const pointer = (name: string): bigint => parseWord(new RegExp(`\\b${name}=(\\w+)`).exec(source.text)?.[1] ?? '') ?? 0n;
  const table = names.ofPgt(pointer('pgt')) ?? names.ofMmu(pointer('mmu'));
  if (table !== undefined && table.root === undefined) {
    table.root = root;
    table.rootFrom = `${source.event}, line ${line} of ${trace}`;
  }
}

function noteFields({ decoded }: TracedEvent, names: TableNames<TracedTable>, prots: { values: number; withBit3: number }): void {
  if (decoded?.event === 's2_map' || decoded?.event === 's2_relax_perms' || decoded?.event === 'hyp_map') {
    prots.values += 1;
    prots.withBit3 += (decoded.fields.prot & 8n) === 0n ? 0 : 1;
  }
  const split = decoded?.event === 's2_split' ? names.ofPgt(decoded.fields.pgt) : undefined;
  if (split !== undefined && decoded?.event === 's2_split') {
    split.splitChunk = Math.max(split.splitChunk, decoded.fields.size);
  }
}
