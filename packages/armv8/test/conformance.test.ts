import { formatConformance } from '@granule/conformance';
import { describe, it } from 'vitest';
import { armv8 } from '../src/index.js';
import { MAIR } from './support.js';

const features = { xnx: true, s2fwb: true, ttl: true, tlbirange: true, lpa: true };

formatConformance(armv8, {
  describe,
  it,
  config: (regime) => (regime === 's2' ? { features } : { features, mair: MAIR }),
});
