import type { Format } from '@granule/contract';
import { levelShift } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { mappings, type Tables } from '@granule/pgtable';
import { leafDescriber, NO_LIMITS } from '../dump/leaf.js';
import type { GeometryReport, MappingCount, TablesReport } from './report.js';
import type { PageCounts } from './tally.js';

export function geometryReport({ geometry }: Pick<Format, 'geometry'>, vtcr: bigint): GeometryReport {
  const { granule, iaBits, oaBits, startLevel, levels, entryTables, entryBytes, entryAlignment } = geometry;
  return { granule, ipaBits: iaBits, paBits: oaBits, startLevel, levels, entryTables, entryBytes, entryAlignment, vtcr: hex(vtcr) };
}

export function tablesReport({ geometry }: Pick<Format, 'geometry'>, { now, peak }: PageCounts): TablesReport {
  const size = (pages: number): TablesReport['now'] => ({ pages, bytes: pages * 2 ** geometry.pageShift });
  return { now: size(now), peak: size(peak) };
}

/** Leaves of a stage-2 table by level, memory type and permissions, the largest first. */
export function mappingCounts(tables: Tables): readonly MappingCount[] {
  const { format } = tables;
  const { granule, iaBits } = format.geometry;
  const describe = leafDescriber({ format, wxn: false, uwxn: false });
  const found = new Map<string, MappingCount>();
  mappings(tables, 0, 2 ** iaBits, {
    leaves({ level }, word, count) {
      const { words } = tables.memory;
      const { type, permissions } = describe(words[word], words[word + 1], level, NO_LIMITS);
      const key = `${level} ${type} ${permissions}`;
      const leaves = (found.get(key)?.leaves ?? 0) + count;
      found.set(key, { level, type, permissions, leaves, bytes: leaves * 2 ** levelShift(granule, level) });
      return 0;
    },
  });
  return [...found.values()].sort((a, b) => a.level - b.level);
}
