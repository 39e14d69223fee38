import {
  type AttributeRequest, type Backend, type Features, type Format, type MemoryType, type Outcome, type PageTable, type Registers, done, notModelled, refused,
} from '@granule/contract';
import type { TableGeometry, TablePool } from '@granule/geometry';
import { tablePool } from '@granule/geometry';
import { alignDown, alignUp, formatSize, hex, MAX_ADDRESS, type OutputAddress, pow2 } from '@granule/geometry/bits';
import { createTableArena, savePages, type TableArena } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import type { Region, RegionType } from './region-map.js';

export interface BuildOptions {
  readonly backend: Backend;
  readonly regime: string;
  readonly geometry: TableGeometry;
  readonly features: Partial<Features>;
  /** Where the tables will stand: the entry table first, the others behind it. */
  readonly base: OutputAddress;
  readonly regions: readonly Region[];
  /** Regions that are not whole pages are rounded outwards; default: they are refused. */
  readonly roundOut?: boolean;
}

/** Tables that stand ready to be copied to their base. */
export interface BuiltTables {
  readonly table: PageTable;
  readonly regions: readonly Region[];
  /** What puts them in force. */
  readonly registers: Registers;
  readonly pool: TablePool;
  /** From the base on, little-endian. */
  readonly bytes: Uint8Array;
}

const SOURCE = 'granule build';
/** Bytes of tables at most: what maps 256 GiB by 4K pages. */
const MAX_TABLE_BYTES = 2 ** 29;

/** MAIR bytes by memory type (DDI 0487 D24.2, MAIR_EL1; DDI 0406C B4.1, MAIR0). */
const MAIR_BYTES: Partial<Record<MemoryType, number>> = {
  'device-nGnRnE': 0x00, 'device-nGnRE': 0x04, 'device-nGRE': 0x08, 'device-GRE': 0x0c, 'normal-nc': 0x44, 'normal-wt': 0xbb, 'normal': 0xff,
};

/** The memory types that a map uses, in the order of their first use; the rest of the register is zero. */
function mairOf(regions: readonly Region[]): bigint {
  const used = [...new Set(regions.map(({ type }) => MAIR_BYTES[type.memory] ?? 0))];
  return used.reduce((mair, byte, index) => mair | (BigInt(byte) << BigInt(8 * index)), 0n);
}

/** Code of the two-level regimes of AArch64 is the higher level's; elsewhere one bit says both. */
function attributesOf({ permissions, memory }: RegionType, { regime }: Format): AttributeRequest {
  const px = permissions[2] === 'X';
  return { read: permissions[0] === 'R', write: permissions[1] === 'W', px, ux: px && regime !== 'el10' && regime !== 'el20', memory };
}

function rounded({ regions, geometry, roundOut }: BuildOptions): Outcome<readonly Region[]> {
  const { pageShift, granule, iaBits } = geometry;
  const whole: Region[] = [];
  for (const region of regions) {
    const start = alignDown(region.start, pageShift);
    const size = alignUp(region.start + region.size, pageShift) - start;
    const output = region.output - (region.start - start);
    const place = `Line ${region.line}: The region at ${hex(region.start)} of ${formatSize(region.size)}`;
    if (output < 0 || alignDown(output, pageShift) !== output) {
      return refused('map.output', `${place} cannot be mapped to ${hex(region.output)} by ${granule} pages.`, SOURCE);
    }
    if (roundOut !== true && (start !== region.start || size !== region.size)) {
      return refused('map.not-pages', `${place} is not whole pages of ${granule}.`, SOURCE);
    }
    if (start + size > pow2(iaBits)) {
      return refused('map.beyond-ia', `${place} ends beyond the ${iaBits}-bit input address.`, SOURCE);
    }
    whole.push({ ...region, start, size, output });
  }
  return done(whole);
}

function formatOf({ backend, regime, geometry, features, regions }: BuildOptions): Outcome<Format> {
  const stage = geometry.stage === 2 ? (features.s2fwb === true ? { fwb: true } : {}) : { mair: mairOf(regions) };
  return backend.format(regime, { geometry, features, ...stage });
}

/** Pages for the tables, from the base on. Refused: `build.base`. */
function arenaAt(base: OutputAddress, { pageShift, entryAlignment, oaBits }: TableGeometry): Outcome<TableArena> {
  const alignment = Math.max(entryAlignment, pow2(pageShift));
  const room = Math.min(MAX_TABLE_BYTES, pow2(oaBits) - base, MAX_ADDRESS - base);
  if (base % alignment !== 0 || room < alignment) {
    return refused('build.base', `The base ${hex(base)} is not a multiple of ${formatSize(alignment)} with room for a table below 2^${oaBits}.`, SOURCE);
  }
  return done(createTableArena({ pageShift, base, maxPages: Math.floor(room / pow2(pageShift)) }));
}

function mapAll(table: PageTable, regions: readonly Region[]): Outcome<undefined> {
  for (const { line, start, size, output, type } of regions) {
    const mapped = table.map(start, size, output, attributesOf(type, table.format));
    if (mapped.kind !== 'done') {
      return { ...mapped, sentence: `Line ${line}: ${mapped.sentence}` };
    }
  }
  return done(undefined);
}

/** Not modelled: `build.registers`, where the backend does not encode them. */
function registersOf({ backend: { name, registers: codec }, regime, geometry, features, regions }: BuildOptions, root: OutputAddress): Outcome<Registers> {
  const stage = geometry.stage === 1 ? { mair: mairOf(regions) } : { fwb: features.s2fwb === true };
  return (
    codec.encodeRegime?.({ regime, geometry, features, root, ...stage }) ??
    notModelled('build.registers', `The backend ${name} does not encode the registers of a regime.`, SOURCE)
  );
}

/**
 * Tables for a region map, as `PageTable.map` makes them: the largest blocks that fit, nothing contiguous. Refused: `map.output`, `map.not-pages`,
 * `map.beyond-ia`, `build.base`, what the format and `PageTable.map` refuse, `geometry.regions-overlap` (after rounding), `registers.*`; not modelled:
 * `build.registers`, where the backend does not encode them.
 */
export function buildTables(options: BuildOptions): Outcome<BuiltTables> {
  const { geometry, base } = options;
  const regions = rounded(options);
  if (regions.kind !== 'done') return regions;
  const pool = tablePool(geometry, regions.value.map(({ start, size, output }) => ({ start, size, oa: output })));
  if (pool.kind !== 'done') return pool;
  const format = formatOf(options);
  if (format.kind !== 'done') return format;
  const arena = arenaAt(base, geometry);
  if (arena.kind !== 'done') return arena;
  const made = createPageTable({ format: format.value, memory: arena.value });
  if (made.kind !== 'done') return made;
  const table = made.value;
  const mapped = mapAll(table, regions.value);
  if (mapped.kind !== 'done') return mapped;
  const registers = registersOf(options, table.root);
  if (registers.kind !== 'done') return registers;
  const [run] = savePages(arena.value);
  return done({ table, regions: regions.value, registers: registers.value, pool: pool.value, bytes: run.bytes });
}
