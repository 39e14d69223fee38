import { armv8 } from '@granule/armv8';
import { fake, pageTableConformance } from '@granule/conformance';
import { createTableArena } from '@granule/memory';
import { describe, it } from 'vitest';
import { pgtable } from '../src/index.js';

const memory = ({ pageShift, pages }: { readonly pageShift: number; readonly pages: number }) =>
  createTableArena({ pageShift, maxPages: pages, initialPages: pages });

describe('the core on the fake format', () => {
  pageTableConformance(pgtable, { describe, it, backend: fake, memory, runs: 4 });
});

describe('the core on ARMv8 formats', () => {
  const config = (regime: string) => (regime === 's2' ? {} : { mair: 0xff44_0c04_00ffn });
  pageTableConformance(pgtable, { describe, it, backend: armv8, memory, config, regimes: ['s2', 'el2', 'el10'], runs: 3 });
});
