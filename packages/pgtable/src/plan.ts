import type { Change, Format } from '@granule/contract';
import { levelIndex } from '@granule/contract';
import type { Level } from '@granule/geometry';

/**
 * What the core needs of a format in its loops, copied once per format into one shape: halves are signed 32-bit integers, everything that
 * may be larger sits in a Float64Array. Engines then see the same representation for every backend and granule; with plain fields that are
 * small for one format and large for another, a walk costs ten times as much (measured). Arrays are indexed by `levelIndex`.
 */
export class Plan {
  readonly pageShift: number;
  readonly pageBytes: number;
  /** 32-bit words of a table page. */
  readonly pageWords: number;
  /** Entries of a table below the entry table. */
  readonly tableEntries: number;
  readonly startLevel: Level;
  readonly rootEntries: number;
  /** Bytes that one entry of a level spans, their logarithm, and their exact reciprocal. */
  readonly span: Float64Array;
  readonly shift: Int32Array;
  readonly inverse: Float64Array;
  /** See FormatNumbers. */
  readonly typeMask: Int32Array;
  readonly leafType: Int32Array;
  readonly tableType: Int32Array;
  readonly leafOaLo: Int32Array;
  readonly leafOaHi: Int32Array;
  readonly tableOaLo: number;
  readonly tableOaHi: number;
  /** High halves of an address up to this give a page number below 2^31: high << highShift | low >>> pageShift. */
  readonly smallHigh: number;
  readonly highShift: number;
  /** log2 of tableEntries. */
  readonly stride: number;
  /** log2 of pageWords. */
  readonly wordShift: number;
  readonly oaPlainBits: number;
  readonly oaTopLsb: number;
  /** The top address bits of a low half, in place; 0 without them. */
  readonly oaTopMask: number;
  readonly afLo: number;
  readonly afHi: number;
  readonly contiguousLo: number;
  readonly contiguousHi: number;
  readonly softwareLo: number;
  readonly softwareHi: number;
  readonly permissionLo: number;
  readonly permissionHi: number;
  readonly writeProtect: Change;
  /** What the one-page paths read, as scalars (a typed-array access costs five instructions): levels 2 and 3, and 1 / pageBytes. */
  readonly inversePage: number;
  /** Pages below a level-2 table. */
  readonly parentPages: number;
  readonly typeMask2: number;
  readonly tableType2: number;
  readonly typeMask3: number;
  readonly leafType3: number;
  readonly leafOaLo3: number;
  readonly leafOaHi3: number;
  private readonly bounds: Float64Array;

  constructor(format: Format) {
    const { pageShift, stride, startLevel, rootEntries, iaBits, oaBits } = format.geometry;
    const n = format.numbers;
    const shifts = [-1, 0, 1, 2, 3].map((level) => pageShift + stride * (3 - level));
    this.pageShift = pageShift;
    this.pageBytes = 2 ** pageShift;
    this.pageWords = 2 ** (pageShift - 2);
    this.tableEntries = 2 ** stride;
    this.startLevel = startLevel;
    this.rootEntries = rootEntries;
    this.span = Float64Array.from(shifts, (s) => 2 ** s);
    this.shift = Int32Array.from(shifts);
    this.inverse = Float64Array.from(shifts, (s) => 2 ** -s);
    this.typeMask = Int32Array.from(n.typeMask);
    this.leafType = Int32Array.from(n.leafType);
    this.tableType = Int32Array.from(n.tableType);
    this.leafOaLo = Int32Array.from(n.leafOaLo);
    this.leafOaHi = Int32Array.from(n.leafOaHi);
    this.tableOaLo = n.tableOaLo | 0;
    this.tableOaHi = n.tableOaHi | 0;
    this.smallHigh = 2 ** (pageShift - 1) - 1;
    this.highShift = 32 - pageShift;
    this.wordShift = pageShift - 2;
    this.stride = stride;
    this.oaPlainBits = n.oaPlainBits;
    this.oaTopLsb = n.oaTopLsb;
    this.oaTopMask = n.oaTopBits === 0 ? 0 : ((1 << n.oaTopBits) - 1) << n.oaTopLsb;
    this.afLo = n.afLo | 0;
    this.afHi = n.afHi | 0;
    this.contiguousLo = n.contiguousLo | 0;
    this.contiguousHi = n.contiguousHi | 0;
    this.softwareLo = n.softwareLo | 0;
    this.softwareHi = n.softwareHi | 0;
    this.permissionLo = n.permissionLo | 0;
    this.permissionHi = n.permissionHi | 0;
    this.writeProtect = n.writeProtect;
    this.inversePage = 2 ** -pageShift;
    this.parentPages = 2 ** (2 * stride);
    this.typeMask2 = this.typeMask[3];
    this.tableType2 = this.tableType[3];
    this.typeMask3 = this.typeMask[4];
    this.leafType3 = this.leafType[4];
    this.leafOaLo3 = this.leafOaLo[4];
    this.leafOaHi3 = this.leafOaHi[4];
    this.bounds = Float64Array.of(2 ** iaBits, 2 ** Math.min(oaBits, n.oaPlainBits), 2 ** n.oaPlainBits);
  }

  /** 2^iaBits. */
  get limit(): number {
    return this.bounds[0];
  }

  /** Output addresses below this need only the plain bits, and fit. */
  get outputLimit(): number {
    return this.bounds[1];
  }

  /** 2^oaPlainBits. */
  get plainLimit(): number {
    return this.bounds[2];
  }

  /** Whether the architecture has leaves at this level. */
  hasLeaves(level: Level): boolean {
    return this.leafType[levelIndex(level)] !== -1;
  }

  /** Output address of a leaf of the level with this index. */
  leafOutput(lo: number, hi: number, li: number): number {
    return this.output(lo, hi, this.leafOaLo[li], this.leafOaHi[li]);
  }

  /** The next table's address. */
  tableOutput(lo: number, hi: number): number {
    return this.output(lo, hi, this.tableOaLo, this.tableOaHi);
  }

  output(lo: number, hi: number, maskLo: number, maskHi: number): number {
    const plain = (hi & maskHi) * 0x1_0000_0000 + ((lo & maskLo) >>> 0);
    return this.oaTopMask === 0 ? plain : plain + ((lo & this.oaTopMask) >>> this.oaTopLsb) * this.plainLimit;
  }
}

const plans = new WeakMap<Format, Plan>();

export function planOf(format: Format): Plan {
  let plan = plans.get(format);
  if (plan === undefined) {
    plan = new Plan(format);
    plans.set(format, plan);
  }
  return plan;
}
