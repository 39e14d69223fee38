import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { fake, pageTableConformance } from '@granule/conformance';
import { createTableArena } from '@granule/memory';
import { armv7Stage1Geometry, armv7Stage2Geometry } from '@granule/geometry';
import { describe, it } from 'vitest';
import { pgtable } from '../src/index.js';
import { value } from './support.js';

const memory = ({ pageShift, pages }: { readonly pageShift: number; readonly pages: number }) =>
  createTableArena({ pageShift, maxPages: pages, initialPages: pages });

describe('the core on the fake format', () => {
  pageTableConformance(pgtable, { describe, it, backend: fake, memory, runs: 4 });
});

describe('the core on ARMv8 formats', () => {
  const config = (regime: string) => (regime === 's2' ? {} : { mair: 0xff44_0c04_00ffn });
  pageTableConformance(pgtable, { describe, it, backend: armv8, memory, config, regimes: ['s2', 'el2', 'el10'], runs: 3 });
});

describe('the core on ARMv7 formats', () => {
  const geometries = [
    value(armv7Stage1Geometry({ vaBits: 32 })),
    value(armv7Stage1Geometry({ vaBits: 25 })),
    value(armv7Stage2Geometry({ ipaBits: 40 })),
    value(armv7Stage2Geometry({ ipaBits: 34, startLevel: 2 })),
  ];
  const config = (regime: string) => (regime === 's2' ? {} : { mair: 0xff00_0004_eeaa_4400n });
  pageTableConformance(pgtable, { describe, it, backend: armv7Lpae, memory, geometries, config, runs: 3 });
});
