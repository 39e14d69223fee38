import type { RegisterCodec } from '@granule/contract';
import { controls } from '../controls/controls.js';
import { systemRegisters } from './codec.js';
import { features } from './features.js';
import { encodeRegime } from './regime.js';
import { roots } from './roots.js';
import { encodeStage2 } from './stage2.js';

/** System registers. `TCR_EL2` is the layout with HCR_EL2.E2H = 0, `TCR_EL2_E2H` the same register with E2H = 1. */
export const registers: RegisterCodec = {
  ...systemRegisters,
  features,
  encodeStage2,
  encodeRegime,
  roots,
  controls,
};
