import { formatConformance } from '@granule/conformance';
import { describe, it } from 'vitest';
import { armv7Lpae } from '../src/index.js';
import { MAIR, STAGE1, STAGE2 } from './support.js';

// One input size a start level and table shape: 32, 31 and 25 bits of VA; 25, 34, 31 and 40 bits of IPA.
const geometries = [
  ...STAGE1.filter(({ iaBits }) => [25, 31, 32].includes(iaBits)),
  ...STAGE2.filter(({ iaBits }) => [25, 31, 34, 40].includes(iaBits)),
];

formatConformance(armv7Lpae, { describe, it, geometries, config: (regime) => (regime === 's2' ? {} : { mair: MAIR }) });
