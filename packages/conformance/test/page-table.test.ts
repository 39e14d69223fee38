import { stage1Geometry, stage2Geometry, type Result, type TableGeometry } from '@granule/geometry';
import { describe, it } from 'vitest';
import { fake, pageTableConformance } from '../src/index.js';
import { referenceCore } from './reference-core.js';
import { TestMemory } from './table-memory.js';

const memory = (options: { readonly pageShift: number; readonly pages: number }): TestMemory => new TestMemory(options);

const all = (outcomes: readonly Result<TableGeometry>[]): readonly TableGeometry[] =>
  outcomes.flatMap((each) => (each.kind === 'done' ? [each.value] : []));

describe('the reference core conforms', () => {
  const geometries = all([
    stage2Geometry({ granule: '4K', ipaBits: 40, startLevel: 1 }),
    stage1Geometry({ granule: '4K', vaBits: 48 }),
    stage2Geometry({ granule: '16K', ipaBits: 40, startLevel: 2 }),
    stage1Geometry({ granule: '64K', vaBits: 36 }),
  ]);
  pageTableConformance(referenceCore(), { describe, it, backend: fake, memory, geometries, runs: 3, seed: 42 });
});
