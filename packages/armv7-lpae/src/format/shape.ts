import type { Level, TableGeometry } from '@granule/geometry';

export type Regime = 'pl10' | 'pl2' | 's2';

/** What decides where the fields of a descriptor are: the configuration that layout rows are chosen by. */
export interface Shape {
  readonly regime: Regime;
  readonly geometry: TableGeometry;
  /** Stage 1: MAIR1:MAIR0 (PL2: HMAIR1:HMAIR0) in force. */
  readonly mair: bigint | undefined;
}

/** The shape of one descriptor kind at one level. */
export interface LevelShape extends Shape {
  readonly level: Level;
}

/** Output addresses have 40 bits, and all of them stand at their own place (DDI 0406C B3.6.1). */
export const OA_BITS = 40;

/** Blocks of 1 GiB and 2 MiB at levels 1 and 2, pages at level 3. Levels −1 and 0 do not exist (DDI 0406C B3.6.1). */
export function leafLegal(level: number): boolean {
  return level >= 1 && level <= 3;
}

/** Tables stand at levels 1 and 2. */
export function tableLegal(level: number): boolean {
  return level === 1 || level === 2;
}
