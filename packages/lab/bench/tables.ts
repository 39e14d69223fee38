import { armv8 } from '@granule/armv8';
import { fake } from '@granule/conformance';
import type { Backend, Format, Outcome } from '@granule/contract';
import { stage2Geometry, type Granule } from '@granule/geometry';
import { createTableArena } from '@granule/memory';
import { createPageTable, newLookup, type GranulePageTable } from '@granule/pgtable';

export function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') {
    throw new Error(outcome.sentence);
  }
  return outcome.value;
}

export function stage2Format(backend: Backend, granule: Granule, ipaBits: number, lpa = false): Format {
  const features = { lpa, lpa2: lpa };
  const geometry = must(stage2Geometry({ granule, ipaBits, paBits: lpa ? 52 : backend === fake ? 44 : 48, ...(lpa ? { features } : {}) }));
  return must(backend.format('s2', { geometry, features: { xnx: true } }));
}

export function emptyTable(format: Format, initialPages: number): GranulePageTable {
  return must(createPageTable({ format, memory: createTableArena({ pageShift: format.geometry.pageShift, initialPages }) }));
}

export const RW = { read: true, write: true, px: false, ux: false, memory: 'normal' } as const;
export const GIB = 2 ** 30;

/** Sends every operation through formats of several backends and granules, so that nothing is measured with only one in use. */
export function warmUp(): void {
  const formats = [
    ...(['4K', '16K', '64K'] as const).flatMap((granule) => [stage2Format(fake, granule, 40), stage2Format(armv8, granule, 40)]),
    stage2Format(armv8, '4K', 48),
    stage2Format(armv8, '64K', 48, true),
    stage2Format(armv8, '4K', 52, true),
  ];
  for (const format of formats) {
    exercise(emptyTable(format, 1024));
  }
}

function exercise(table: GranulePageTable): void {
  const page = 2 ** table.format.geometry.pageShift;
  const found = newLookup();
  for (let round = 0; round < 12; round++) {
    must(table.map(GIB, 32 * 2 ** 20, 5 * GIB, RW, { pages: true }));
    must(table.writeProtect(GIB, 32 * 2 ** 20));
    must(table.age(GIB, 32 * 2 ** 20, true));
    must(table.unmap(GIB, 32 * 2 ** 20));
    for (let i = 0; i < 3000; i++) {
      must(table.map(GIB + i * page, page, 7 * GIB + i * page, RW));
      table.lookup(GIB + ((i * 37) % 3000) * page, found);
    }
    must(table.unmap(GIB, 3000 * page));
    must(table.map(GIB, GIB, 2 * GIB, RW));
    must(table.split(GIB, GIB));
    must(table.merge(GIB, GIB));
    must(table.unmap(GIB, GIB));
  }
}
