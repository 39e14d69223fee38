import type { PoolCount } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import type { BuiltTables } from './build.js';
import { tablesOf } from './tables.js';

const poolJson = ({ byLevel, pages, bytes }: PoolCount): unknown => ({ byLevel, pages, bytes });

/** `granule-build/1`: of each table the entries that are not zero. */
export function buildJson({ table, regions, registers, pool }: BuiltTables): unknown {
  const { format, root } = table;
  const { granule, iaBits, oaBits, startLevel, levels, entryTables, entryBytes, entryAlignment } = format.geometry;
  return {
    schema: 'granule-build/1',
    arch: format.backend,
    regime: format.regime,
    granule,
    inputBits: iaBits,
    outputBits: oaBits,
    startLevel,
    levels,
    entryTables,
    entryBytes,
    entryAlignment,
    base: hex(root),
    registers: Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, hex(value)])),
    pool: { exact: poolJson(pool.exact), worst: poolJson(pool.worst) },
    regions: regions.map(({ start, size, output, type, label }) => ({
      start: hex(start), end: hex(start + size), output: hex(output), permissions: type.permissions, type: type.memory, label,
    })),
    tables: tablesOf(table).map(({ address, level, start, entries }) => ({
      address: hex(address),
      level,
      start: hex(start),
      entries: entries.flatMap((value, index) => (value === 0n ? [] : [{ index, descriptor: hex(value) }])),
    })),
  };
}

/** The registers as `granule-registers/1`, to read the tables back with. */
export function buildRegistersJson({ registers }: BuiltTables): unknown {
  return { schema: 'granule-registers/1', registers: Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, hex(value)])) };
}
