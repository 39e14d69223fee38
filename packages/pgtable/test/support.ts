import { armv8 } from '@granule/armv8';
import { type Recorder, effectText, expandAll, recorder } from '@granule/conformance';
import type {
  AttributeRequest,
  Backend,
  Coherence,
  Effect,
  Features,
  Format,
  FormatConfig,
  LookupResult,
  Outcome,
} from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { type Granule, type Level, type TableGeometry, entrySpan, stage1Geometry, stage2Geometry } from '@granule/geometry';
import { type TableArena, createTableArena } from '@granule/memory';
import { type GranulePageTable, createPageTable, newLookup } from '../src/index.js';

export const K = 2 ** 10;
export const M = 2 ** 20;
export const G = 2 ** 30;
export const PAGE = 4 * K;
/** Where tables of these tests live. */
export const BASE = 0x4000_0000;

export const RW: AttributeRequest = { read: true, write: true };
export const RO: AttributeRequest = { read: true, write: false };
export const RX: AttributeRequest = { read: true, write: false, px: true, ux: true };

/** The value of an outcome; the test fails with its sentence otherwise. */
export function value<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'done') {
    return outcome.value;
  }
  throw new Error(`${outcome.id}: ${outcome.sentence}`);
}

/** `done`, or the kind and id of the failure. */
export const answer = (outcome: Outcome<unknown>): string => (outcome.kind === 'done' ? 'done' : `${outcome.kind} ${outcome.id}`);

export const stage2 = (granule: Granule, ipaBits: number, startLevel?: Level): TableGeometry =>
  value(stage2Geometry({ granule, ipaBits, features: { lpa: true, lpa2: true }, ...(startLevel === undefined ? {} : { startLevel }) }));

export const stage1 = (granule: Granule, vaBits: number): TableGeometry => value(stage1Geometry({ granule, vaBits }));

export interface Bench {
  readonly format: Format;
  readonly memory: TableArena;
  readonly table: GranulePageTable;
  readonly log: Recorder;
}

export interface BenchOptions {
  readonly backend?: Backend;
  readonly regime?: string;
  readonly geometry?: TableGeometry;
  readonly features?: Partial<Features>;
  readonly config?: Omit<FormatConfig, 'geometry' | 'features'>;
  /** Pages of the pool, entry tables included. */
  readonly pages?: number;
  readonly coherence?: Coherence;
  /** False: nobody listens. */
  readonly recorded?: boolean;
}

/** A table in an arena of its own; by default ARMv8 stage 2, 4K, 40-bit IPA, with a recorder. */
export function bench(options: BenchOptions = {}): Bench {
  const {
    backend = armv8,
    regime = 's2',
    geometry = stage2('4K', 40),
    features = {},
    config = {},
    pages = 64,
    coherence,
    recorded = true,
  } = options;
  const format = value(backend.format(regime, { geometry, features, ...config }));
  const memory = createTableArena({ pageShift: geometry.pageShift, base: BASE, initialPages: pages, maxPages: pages });
  const log = recorder();
  const table = value(
    createPageTable({ format, memory, ...(recorded ? { sink: log } : {}), ...(coherence === undefined ? {} : { coherence }) }),
  );
  log.drain();
  return { format, memory, table, log };
}

export function at(table: GranulePageTable, ia: number): LookupResult {
  const out = newLookup();
  table.lookup(ia, out);
  return out;
}

const permissions = (format: Format, { lo, hi, level }: LookupResult): string => {
  const a = format.decodeLeaf(lo, hi, level);
  return `${a.read ? 'R' : '-'}${a.write ? 'W' : '-'}${a.px || a.ux ? 'X' : '-'}`;
};

/** An entry in words: `level 2 leaf 0x200000 RW-`, `level 3 zero`. */
export function shown(table: GranulePageTable, ia: number): string {
  const out = at(table, ia);
  switch (out.kind) {
    case ENTRY.zero:
      return `level ${out.level} zero`;
    case ENTRY.annotated:
      return `level ${out.level} annotated`;
    case ENTRY.leaf:
      return `level ${out.level} leaf 0x${out.output.toString(16)} ${permissions(table.format, out)}`;
    case ENTRY.table:
      return 'table';
  }
}

export interface Snapshot {
  readonly words: Uint32Array;
  readonly counts: Int32Array;
  readonly taken: number;
  readonly free: number;
}

/** The whole arena: words, counts, pages. */
export const snapshot = ({ words, counts, taken, free }: TableArena): Snapshot => ({
  words: words.slice(),
  counts: counts.slice(),
  taken,
  free,
});

/** The effects since the last drain, runs expanded, one line each, without leading zeros. */
export function effects({ log, format }: Bench): readonly string[] {
  return expanded(log.drain(), format).map((each) => effectText(each).replace(/0x0+(?=[0-9a-f])/g, '0x'));
}

export const expanded = (list: readonly Effect[], format: Format): readonly Effect[] =>
  expandAll(list, (level) => entrySpan(format.geometry.granule, level));

/** The effects by type and name alone, without addresses: `write`, `tlbi IPAS2E1IS`, `dsb ish`. */
export function kinds(theBench: Bench): readonly string[] {
  return expanded(theBench.log.drain(), theBench.format).map((each) => {
    if (each.type === 'tlbi' || each.type === 'cmo') {
      return `${each.type} ${each.op}`;
    }
    return each.type === 'dsb' ? `dsb ${each.domain}` : each.type;
  });
}
