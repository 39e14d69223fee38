import { stage1Geometry, stage2Geometry, type Result, type TableGeometry } from '@granule/geometry';
import { describe, it } from 'vitest';
import { fake, translationConformance } from '../src/index.js';
import { referenceCore } from './reference-core.js';
import { referenceWalker } from './reference-walker.js';
import { TestMemory } from './table-memory.js';

const memory = (options: { readonly pageShift: number; readonly pages: number }): TestMemory => new TestMemory(options);

const all = (outcomes: readonly Result<TableGeometry>[]): readonly TableGeometry[] =>
  outcomes.flatMap((each) => (each.kind === 'done' ? [each.value] : []));

describe('the reference walker conforms on the fake format', () => {
  const geometries = all([
    stage2Geometry({ granule: '4K', ipaBits: 42, startLevel: 1 }),
    stage2Geometry({ granule: '4K', ipaBits: 36, paBits: 36, startLevel: 1 }),
    stage2Geometry({ granule: '16K', ipaBits: 40, startLevel: 2 }),
    stage2Geometry({ granule: '64K', ipaBits: 42, startLevel: 2 }),
    stage1Geometry({ granule: '4K', vaBits: 48 }),
    stage1Geometry({ granule: '16K', vaBits: 36 }),
    stage1Geometry({ granule: '64K', vaBits: 36 }),
  ]);
  translationConformance(referenceWalker(), { describe, it, backend: fake, core: referenceCore(), memory, geometries, runs: 10, seed: 42 });
});
