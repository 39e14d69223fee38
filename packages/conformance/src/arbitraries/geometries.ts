import fc from 'fast-check';
import { GRANULES, legalStartLevels, stage1Geometry, type Granule, type TableGeometry } from '@granule/geometry';

const GRANULE_NAMES = Object.keys(GRANULES) as Granule[];

/** Input sizes that reach every start level, concatenation and both kinds of large address. */
const SIZES = [32, 36, 40, 42, 48, 52];

function make(stage: 1 | 2, granule: Granule, iaBits: number): readonly TableGeometry[] {
  const features = iaBits > 48 ? { lpa: true, lva: true, lpa2: true } : {};
  if (stage === 1) {
    const one = stage1Geometry({ granule, vaBits: iaBits, features });
    return one.kind === 'done' ? [one.value] : [];
  }
  const all = legalStartLevels({ granule, ipaBits: iaBits, features });
  return all.kind === 'done' ? all.value : [];
}

/** Every geometry of a stage, over all granules, the input sizes 32…52 and all legal start levels. */
export function geometries(stage: 1 | 2): readonly TableGeometry[] {
  return GRANULE_NAMES.flatMap((granule) => SIZES.flatMap((bits) => make(stage, granule, bits)));
}

/** One geometry a granule and input size, start levels taken in turn: enough for a suite of a few seconds. */
export function someGeometries(stage: 1 | 2): readonly TableGeometry[] {
  return GRANULE_NAMES.flatMap((granule) =>
    SIZES.flatMap((bits, i) => {
      const all = make(stage, granule, bits);
      return all.length === 0 ? [] : [all[i % all.length]];
    }),
  );
}

/** A legal geometry of any granule, input size and start level. */
export function anyGeometry(stage: 1 | 2): fc.Arbitrary<TableGeometry> {
  return fc.constantFrom(...geometries(stage));
}

/** `4K 40-bit from level 1`, with ` DS` for LPA2 descriptors. */
export function geometryName(geometry: TableGeometry): string {
  const { granule, iaBits, startLevel, entryTables, ds } = geometry;
  return `${granule} ${iaBits}-bit from level ${startLevel}${entryTables > 1 ? ` (${entryTables} tables)` : ''}${ds ? ' DS' : ''}`;
}
