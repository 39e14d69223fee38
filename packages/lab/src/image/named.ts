import { type Backend, type Features, type Format, type Outcome, type Registers, done, refused } from '@granule/contract';
import { type Granule, type Level, PA_RANGES, type TableGeometry, stage1Geometry, stage2Geometry } from '@granule/geometry';
import { hex, isAligned } from '@granule/geometry/bits';
import type { NamedRegime } from '@granule/snapshot';

const GRANULE_OF_SHIFT: Readonly<Record<number, Granule>> = { 12: '4K', 14: '16K', 16: '64K' };
const SOURCE = 'granule-registers/1, regimes';

/** The file says what is there, not what the machine could do: its geometry is judged with every feature that it may need. */
function geometryOf(named: NamedRegime, features: Features): Outcome<TableGeometry> {
  const granule = GRANULE_OF_SHIFT[named.granuleShift];
  if (granule === undefined) {
    return refused('image.bad-regime', `Regime ${named.name}: granuleShift ${named.granuleShift} is not 12, 14 or 16.`, SOURCE);
  }
  const lpa2 = named.descriptorFormat === 'lpa2';
  const wide = named.descriptorFormat !== 'd64';
  const needed = Math.min(48, Math.max(features.paBits, named.stage === 2 ? named.iaBits : 0));
  const paBits = wide ? 52 : PA_RANGES.find((bits) => bits >= needed)!;
  const common = { granule, paBits, ds: lpa2, features: { ttst: true, lva: true, lpa: wide, lpa2 } };
  const { startLevel } = named;
  const made =
    named.stage === 2
      ? stage2Geometry({ ...common, ipaBits: named.iaBits, ...(startLevel === undefined ? {} : { startLevel: startLevel as Level }) })
      : stage1Geometry({ ...common, vaBits: named.iaBits });
  if (made.kind !== 'done') {
    return refused('image.bad-regime', `Regime ${named.name}: ${made.sentence}.`, made.source);
  }
  return agrees(named, made.value);
}

/** What the file says besides the input size follows from it; a file that contradicts itself is refused. */
function agrees(named: NamedRegime, geometry: TableGeometry): Outcome<TableGeometry> {
  for (const field of ['startLevel', 'rootEntries'] as const) {
    if (named[field] !== undefined && named[field] !== geometry[field]) {
      const { granule, startLevel } = geometry;
      const why = `${geometry[field]} follows from ${granule} pages, ${named.iaBits} input bits and start level ${startLevel}`;
      return refused('image.bad-regime', `Regime ${named.name}: ${field} is ${named[field]}, but ${why}.`, SOURCE);
    }
  }
  if (!isAligned(named.root, Math.log2(geometry.entryAlignment))) {
    const rule = `not a multiple of the entry table's ${geometry.entryAlignment} bytes`;
    return refused('image.bad-regime', `Regime ${named.name}: root ${hex(named.root)} is ${rule}.`, SOURCE);
  }
  return done(geometry);
}

/** The translation regime whose descriptors a named table has: stage 2, or told by the exception level in its name. */
export function regimeOf(named: NamedRegime, backend: Backend, registers: Registers): string {
  if (named.stage === 2) {
    return 's2';
  }
  if (backend.regimes.includes('pl10')) {
    return named.name.includes('pl2') ? 'pl2' : 'pl10';
  }
  const el2 = named.name.includes('el2') && !named.name.includes('guest');
  const e2h = ((registers['HCR_EL2'] ?? 0n) >> 34n) % 2n === 1n;
  return !el2 ? 'el10' : e2h ? 'el20' : 'el2';
}

/** Fields of the TCR (stage 2: VTCR) of a regime; none where the backend has no such register. */
export function controlOf(backend: Backend, registers: Registers, regime: string): Readonly<Record<string, bigint>> {
  const name = regime === 's2' ? 'VTCR_EL2' : regime === 'el10' ? 'TCR_EL1' : 'TCR_EL2';
  const decoded = backend.registers.decode(regime === 'el20' ? 'TCR_EL2_E2H' : name, registers[name] ?? 0n);
  return decoded.kind === 'done' ? decoded.value : {};
}

/**
 * The format of a named table: its geometry as listed, its attributes by the registers of its regime. Stage-2 tables whose own addresses
 * are IPAs are a guest hypervisor's, for which HCR_EL2.FWB of the host does not hold. Refused: `image.bad-regime` and what the backend
 * refuses.
 */
export function namedFormat(named: NamedRegime, backend: Backend, registers: Registers, features: Features): Outcome<Format> {
  const geometry = geometryOf(named, features);
  if (geometry.kind !== 'done') {
    return geometry;
  }
  const regime = regimeOf(named, backend, registers);
  const base = { geometry: geometry.value, features, upper: named.upperRange };
  if (named.stage === 2) {
    const host = named.tableAddresses === 'physical';
    const fwb = host && ((registers['HCR_EL2'] ?? 0n) >> 46n) % 2n === 1n;
    return backend.format(regime, { ...base, fwb });
  }
  const mair = registers[regime === 'el10' ? 'MAIR_EL1' : 'MAIR_EL2'];
  const hpd = features.hpds && controlOf(backend, registers, regime)[regime === 'el2' ? 'HPD' : base.upper ? 'HPD1' : 'HPD0'] === 1n;
  return backend.format(regime, mair === undefined ? { ...base, hpd } : { ...base, hpd, mair });
}
