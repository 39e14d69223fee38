import type { Format, FormatConfig, Outcome, Words } from '@granule/contract';
import { armv7Stage1Geometry, armv7Stage2Geometry, type Level, type TableGeometry } from '@granule/geometry';
import { bigintHigh, bigintLow } from '@granule/geometry/bits';
import { format } from '../src/index.js';

export const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];

/** The value of an outcome; the test fails with its sentence otherwise. */
export function value<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'done') return outcome.value;
  throw new Error(outcome.sentence);
}

export function idOf(outcome: Outcome<unknown>): string {
  return outcome.kind === 'done' ? 'done' : outcome.id;
}

/** Every stage-1 geometry. */
export const STAGE1: readonly TableGeometry[] = Array.from({ length: 8 }, (_, t0sz) => value(armv7Stage1Geometry({ vaBits: 32 - t0sz })));

/** Every stage-2 geometry: 25 to 40 bits, with both start levels where both are legal. */
export const STAGE2: readonly TableGeometry[] = Array.from({ length: 16 }, (_, index) => 25 + index).flatMap((ipaBits) =>
  ([1, 2] as const).flatMap((startLevel) => {
    const made = armv7Stage2Geometry({ ipaBits, startLevel });
    return made.kind === 'done' ? [made.value] : [];
  }),
);

/** Linux on 32-bit Arm with LPAE: Strongly-ordered, Non-cacheable, Write-Through, Write-Back; Device; Write-Back write-allocate. */
export const MAIR = 0xff00_0004_eeaa_4400n;

export function formatOf(regime: string, config: Partial<FormatConfig> = {}): Format {
  return value(format(regime, { geometry: regime === 's2' ? STAGE2.at(-1)! : STAGE1[0], ...config }));
}

export interface Case {
  readonly title: string;
  readonly format: Format;
  readonly mair: bigint | undefined;
}

/** Every regime; stage 1 without and with a MAIR. */
export const CASES: readonly Case[] = [
  { title: 's2', format: formatOf('s2'), mair: undefined },
  ...['pl10', 'pl2'].flatMap((regime) => [
    { title: regime, format: formatOf(regime), mair: undefined },
    { title: `${regime}, MAIR`, format: formatOf(regime, { mair: MAIR }), mair: MAIR },
  ]),
];

export function halves(word: bigint): Words {
  return { lo: bigintLow(word), hi: bigintHigh(word) };
}

export function bits(word: bigint, msb: number, lsb: number): number {
  return Number((word >> BigInt(lsb)) & ((1n << BigInt(msb - lsb + 1)) - 1n));
}
