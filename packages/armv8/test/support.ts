import type { Features, Format, FormatConfig, Outcome, Words } from '@granule/contract';
import { stage1Geometry, stage2Geometry, type GeometryFeatures, type Granule, type Level, type TableGeometry } from '@granule/geometry';
import { bigintHigh, bigintLow } from '@granule/geometry/bits';
import fc from 'fast-check';
import { format } from '../src/index.js';

export const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];
const EVERYTHING: GeometryFeatures = { lpa: true, lpa2: true, lva: true, ttst: true };

/** The value of an outcome; the test fails with its sentence otherwise. */
export function value<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'done') return outcome.value;
  throw new Error(outcome.sentence);
}

export function idOf(outcome: Outcome<unknown>): string {
  return outcome.kind === 'done' ? 'done' : outcome.id;
}

export function geometryOf(stage: 1 | 2, granule: Granule, wide: boolean): TableGeometry {
  const bits = wide ? 52 : 48;
  const ds = wide && granule !== '64K';
  return stage === 1
    ? value(stage1Geometry({ granule, vaBits: bits, paBits: bits, ds, features: EVERYTHING }))
    : value(stage2Geometry({ granule, ipaBits: bits, paBits: bits, ds, features: EVERYTHING }));
}

export interface Case {
  readonly title: string;
  readonly format: Format;
  readonly config: FormatConfig;
  readonly wide: boolean;
  readonly granule: Granule;
}

const FEATURE_SETS: readonly (readonly [string, Partial<Features>])[] = [
  ['no features', {}],
  [
    'all features',
    {
      xnx: true,
      s2fwb: true,
      hpds: true,
      hpds2: true,
      xs: true,
      bbm: 1,
      ttl: true,
      tlbirange: true,
      lpa: true,
      haf: true,
      hdbs: true,
      bti: true,
    },
  ],
];

/** MAIR with WB, WT, NC, Device-nGnRnE, Device-nGnRE, tagged, WB outer with NC inner, reserved. */
export const MAIR = 0x02_f4_f0_04_00_44_bb_ffn;

export function formatOf(regime: string, config: FormatConfig): Format {
  return value(format(regime, config));
}

/** Every regime, granule, address width and feature set, with S2FWB off and on. */
export const CASES: readonly Case[] = ['s2', 'el2', 'el10', 'el20'].flatMap((regime) =>
  (['4K', '16K', '64K'] as const).flatMap((granule) =>
    [false, true].flatMap((wide) =>
      FEATURE_SETS.flatMap(([name, features]) => {
        const geometry = geometryOf(regime === 's2' ? 2 : 1, granule, wide);
        const base: FormatConfig = { geometry, features: granule === '64K' ? { ...features, lpa: wide } : features, sh: 2 };
        const configs = regime === 's2' ? [base, { ...base, fwb: true }] : [base, { ...base, mair: MAIR }];
        return configs.map((config) => ({
          [fc.toStringMethod]: () => `${regime} ${granule} ${wide ? 52 : 48} ${name} ${config.fwb === true}`,
          title: `${regime} ${granule} ${wide ? 52 : 48} bits, ${name}${config.fwb === true ? ', FWB' : ''}${
            config.mair === undefined ? '' : ', MAIR'
          }`,
          format: formatOf(regime, config),
          config,
          wide,
          granule,
        }));
      }),
    ),
  ),
);

export function halves(word: bigint): Words {
  return { lo: bigintLow(word), hi: bigintHigh(word) };
}

export function bits(word: bigint, msb: number, lsb: number): number {
  return Number((word >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n));
}
