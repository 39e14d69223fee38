import { armv8 } from '@granule/armv8';
import { nestedConformance } from '@granule/conformance';
import { describe, it } from 'vitest';
import { nestedLayer } from '../src/index.js';

nestedConformance(nestedLayer(), { describe, it, backend: armv8, runs: 60, seed: 6 });
