import type { Features, Outcome } from '@granule/contract';
import {
  type Granule,
  type TableGeometry,
  armv7Stage1Geometry,
  armv7Stage2Geometry,
  stage1Geometry,
  stage2Geometry,
} from '@granule/geometry';
import { CommandFailure } from './failures.js';
import { countOf, granuleOf, levelOf } from './words.js';

/** The options of a verb that say what shape a table has. */
export interface ShapeOptions {
  readonly arch: string;
  readonly granule: string;
  readonly pa?: string;
  readonly features: string;
  readonly startLevel?: string;
  readonly hostGranule?: string;
  readonly hostVa?: string;
}

export interface ShapeRequest {
  readonly granule: Granule;
  readonly stage: 1 | 2;
  readonly bits: number;
  readonly features: Partial<Features>;
}

/** ARMv7 has one granule, one output size and no features to choose. */
function armv7Shape({ stage, bits }: ShapeRequest, { startLevel }: ShapeOptions): Outcome<TableGeometry> {
  if (stage === 1) {
    return armv7Stage1Geometry({ vaBits: bits });
  }
  const chosen = startLevel === undefined ? {} : { startLevel: levelOf(startLevel, '--start-level') as 1 | 2 };
  return armv7Stage2Geometry({ ipaBits: bits, ...chosen });
}

/** What ARMv7 has no choice of. */
export function refuseForeign(options: ShapeOptions): void {
  const given = { '--pa': options.pa, '--host-granule': options.hostGranule, '--host-va': options.hostVa };
  const foreign = Object.entries(given).find(([, value]) => value !== undefined)?.[0];
  const wrong = foreign ?? (options.features === '' ? undefined : '--features');
  if (wrong !== undefined) {
    throw new CommandFailure(`${wrong}: there is no such choice with armv7-lpae.`);
  }
  if (granuleOf(options.granule, '--granule') !== '4K') {
    throw new CommandFailure(`--granule: ARMv7 has 4K alone, not ${options.granule}.`);
  }
}

/** The table that the options ask for. */
export function shape(request: ShapeRequest, options: ShapeOptions): Outcome<TableGeometry> {
  const { granule, stage, bits, features } = request;
  if (options.arch === 'armv7-lpae') {
    return armv7Shape(request, options);
  }
  const lpa2 = features.lpa2Granules2?.includes(granule) ?? false;
  const common = {
    granule,
    features: { lpa: features.lpa ?? false, lva: features.lva ?? false, ttst: features.ttst ?? false, lpa2 },
    ...(options.pa === undefined ? {} : { paBits: countOf(options.pa, '--pa') }),
  };
  if (stage === 1) {
    return stage1Geometry({ ...common, vaBits: bits });
  }
  return stage2Geometry({
    ...common,
    ipaBits: bits,
    ...(options.startLevel === undefined ? {} : { startLevel: levelOf(options.startLevel, '--start-level') }),
    ...(options.hostVa === undefined
      ? {}
      : {
          host: {
            granule: granuleOf(options.hostGranule ?? options.granule, '--host-granule'),
            vaBits: countOf(options.hostVa, '--host-va'),
          },
        }),
  });
}
