import { FINAL_LEVEL, GRANULES, levelShift, type Granule, type Level } from './granule.js';

/** One stage of translation, as its tables see it. */
export interface TableGeometry {
  readonly stage: 1 | 2;
  readonly granule: Granule;
  /** log2 of the page size: 12, 14, 16. */
  readonly pageShift: number;
  /** Address bits that one whole table resolves: 9, 11, 13. */
  readonly stride: number;
  /** Input address size, bits: 64 − TxSZ (ARMv7: 32 − TxSZ). */
  readonly iaBits: number;
  /** Output address size, bits, that the tables can name: the PS field, at most 48 unless 64K or DS. */
  readonly oaBits: number;
  readonly startLevel: Level;
  /** 4 − startLevel. */
  readonly levels: number;
  /** Concatenated tables at the start level: 1, 2, 4, 8, 16. */
  readonly entryTables: number;
  /** Entries at the start level, over all its tables. */
  readonly rootEntries: number;
  /** Bytes of the entry table: rootEntries * 8. */
  readonly entryBytes: number;
  /** Bytes; the entry table's own size, at least 64 when oaBits is 52 (TTBR bits 5:2 then hold address bits 51:48). */
  readonly entryAlignment: number;
  /** LPA2 descriptors (TCR.DS or VTCR.DS) are in force. Always false with 64K, where the bit has no effect. */
  readonly ds: boolean;
}

/** What decides a {@link TableGeometry}; everything else follows. */
export interface Shape {
  readonly stage: 1 | 2;
  readonly granule: Granule;
  readonly iaBits: number;
  readonly oaBits: number;
  readonly startLevel: Level;
  readonly ds: boolean;
}

/** The geometry of a shape that is known to be legal. */
export function tableGeometry(shape: Shape): TableGeometry {
  const { pageShift, stride } = GRANULES[shape.granule];
  const rootEntries = 2 ** (shape.iaBits - levelShift(shape.granule, shape.startLevel));
  const entryBytes = rootEntries * 8;
  return {
    ...shape,
    pageShift,
    stride,
    levels: FINAL_LEVEL + 1 - shape.startLevel,
    entryTables: Math.max(1, rootEntries / 2 ** stride),
    rootEntries,
    entryBytes,
    entryAlignment: shape.oaBits === 52 ? Math.max(64, entryBytes) : entryBytes,
  };
}
