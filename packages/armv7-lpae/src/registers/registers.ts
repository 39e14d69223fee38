import type { RegisterCodec } from '@granule/contract';
import { cp15Registers } from './codec.js';
import { features } from './features.js';
import { controls } from './controls.js';
import { encodeRegime } from './regime.js';
import { roots } from './roots.js';
import { encodeStage2 } from './stage2.js';

/** CP15 registers by their ARMv7 names, the Non-secure copies. */
export const registers: RegisterCodec = {
  ...cp15Registers,
  features,
  encodeStage2,
  encodeRegime,
  roots,
  controls,
};
