import type { Features, Shareability } from '@granule/contract';
import { SHAREABILITY } from '@granule/contract/codec';
import type { Level, TableGeometry } from '@granule/geometry';

export type Regime = 's2' | 'el2' | 'el10' | 'el20';

/** What decides where the fields of a descriptor are: the configuration that layout rows are chosen by. */
export interface Shape {
  readonly regime: Regime;
  readonly geometry: TableGeometry;
  readonly features: Partial<Features>;
  /** 52-bit output addresses with 64K: OA[51:48] in [15:12]. From FEAT_LPA, or where features do not say from the output size in use. */
  readonly lpa: boolean;
  /** Stage 2: HCR_EL2.FWB. */
  readonly fwb: boolean;
  /** Stage 1: the MAIR in force. */
  readonly mair: bigint | undefined;
  /** Stage 1: hierarchical attributes of tables are disabled. */
  readonly hpd: boolean;
  /** DS = 1: SH of every leaf, from TCR or VTCR. */
  readonly sh: number;
}

/** The shape of one descriptor kind at one level. */
export interface LevelShape extends Shape {
  readonly level: Level;
}

/**
 * Whether a leaf may stand at this level (DDI 0487 D8.3.1, block descriptor tables): pages at level 3; blocks at level 2; at level 1 with
 * 4K, with 16K and DS = 1, and with 64K where 52-bit addresses are implemented; at level 0 with 4K and DS = 1.
 */
export function leafLegal(shape: Shape, level: number): boolean {
  return level >= topBlockLevel(shape) && level <= 3;
}

function topBlockLevel({ geometry, lpa }: Shape): number {
  switch (geometry.granule) {
    case '4K':
      return geometry.ds ? 0 : 1;
    case '16K':
      return geometry.ds ? 1 : 2;
    case '64K':
      return lpa ? 1 : 2;
  }
}

/** Output-address bits below this stand at their own place. */
export function plainBits({ geometry }: Shape): number {
  return geometry.ds ? 50 : 48;
}

/** What every leaf is with DS = 1, where descriptors have no SH. */
export function fixedShareability({ sh }: Shape): Shareability {
  return SHAREABILITY[sh];
}

/** Where the top bits of an output address are: [lsb, count]; count 0 without them. */
export function topField({ geometry, lpa }: Shape): { readonly lsb: number; readonly bits: number } {
  if (geometry.ds) return { lsb: 8, bits: 2 };
  return lpa ? { lsb: 12, bits: 4 } : { lsb: 12, bits: 0 };
}
