import type { OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { Format } from './format.js';

/**
 * What registers say about translation, freed of register layouts: a backend decodes, a walker reads. Effective values throughout: a field of a
 * feature that is not implemented, or one that another field switches off, has its neutral value here.
 */

/** One table base register and its half of the control register. */
export interface RangeControl {
  /** Absent: the control register is illegal here, and every walk ends in a translation fault before its first fetch. */
  readonly format: Format | undefined;
  /** The base register's table address, bits below its alignment zero; it may exceed the output size, which is an address size fault. */
  readonly base: OutputAddress;
  /** Input address bits: addresses beyond fault. */
  readonly iaBits: number;
  /** TCR.EPDn: no walk, a translation fault. */
  readonly walkOff: boolean;
  /** TCR.E0PDn: unprivileged accesses fault as if no walk were allowed. */
  readonly unprivilegedOff: boolean;
  /** TBI, for data accesses and for instruction fetches (TBID): bits 63:56 are not looked at. */
  readonly topByteIgnored: boolean;
  readonly topByteIgnoredFetch: boolean;
  /** Stage 1: attributes of table descriptors limit those of the leaves below (no HPD). */
  readonly hierarchical: boolean;
  /** SH of every leaf where descriptors have no such field (DS = 1), 0 … 3. */
  readonly shareability: number;
}

/** Stage 1 of one regime. */
export interface Stage1Control {
  readonly regime: string;
  /** Translation is on (SCTLR.M, and nothing of HCR that stands against it). */
  readonly on: boolean;
  /** Two privilege levels, EL0 the lower (EL1&0, EL2&0, PL1&0). */
  readonly unprivileged: boolean;
  readonly state: 'aarch64' | 'aarch32';
  readonly lower: RangeControl;
  readonly upper: RangeControl | undefined;
  /** AArch32 alone: the first address of the upper range, 0 … 2^32 (2^32: there is none). */
  readonly upperStart: number;
  /** Physical address size in bits, the limit of addresses while stage 1 is off. */
  readonly paBits: number;
  /** SCTLR.EE: descriptors are big-endian. */
  readonly bigEndian: boolean;
  /** SCTLR.C, SCTLR.I. */
  readonly dataCache: boolean;
  readonly instructionCache: boolean;
  readonly wxn: boolean;
  /** AArch32 SCTLR.UWXN: what EL0 may write, PL1 may not execute. AArch64 always has that rule. */
  readonly uwxn: boolean;
  /**
   * HCR_EL2.{NV, NV1} = {1, 1}: a guest hypervisor's tables, with EL2's meanings. Bit 54 is PXN, nothing is for EL0 (AP[1], UXN and APTable[0] count as 0),
   * and PSTATE.PAN has no effect.
   */
  readonly guestHypervisor: boolean;
  /** SCTLR.EPAN (FEAT_PAN3): PAN covers pages that EL0 may only execute. */
  readonly epan: boolean;
  /** HCR.DC: while stage 1 is off, memory is Normal Write-Back instead of Device; `tagged` (HCR.DCT): and Tagged. */
  readonly defaultCacheable: boolean;
  readonly defaultTagged: boolean;
  /** Attr0 … Attr7. */
  readonly mair: readonly number[];
  /** TCR.HA, and HD where HA is set too. */
  readonly hardwareAccess: boolean;
  readonly hardwareDirty: boolean;
  /** FEAT_XS: attribute encodings with XS = 0 exist. FEAT_MTE2: 0xf0 is Tagged Normal. */
  readonly xs: boolean;
  readonly mte: boolean;
  /** Level that a fault before the first fetch reports: 0, with AArch32 1. */
  readonly faultLevel: Level;
}

/** Stage 2. */
export interface Stage2Control {
  readonly on: boolean;
  readonly range: RangeControl;
  readonly bigEndian: boolean;
  /** HCR.PTW: a stage-1 table in Device memory is a permission fault. */
  readonly protectedWalk: boolean;
  readonly fwb: boolean;
  /** HCR.CD, HCR.ID: all of Normal memory is Non-cacheable for data, for instructions. */
  readonly dataNonCacheable: boolean;
  readonly instructionNonCacheable: boolean;
  /** FEAT_XNX: XN[1:0]; otherwise bit 54 alone. */
  readonly xnx: boolean;
  /** AArch32 stage 2 without FEAT_XNX: what may not be read may not be executed. */
  readonly executeNeedsRead: boolean;
  readonly hardwareAccess: boolean;
  readonly hardwareDirty: boolean;
  /** FEAT_XS: FnXS forces XS to 0. */
  readonly xs: boolean;
  readonly faultLevel: Level;
}

/** Every stage that a register set describes. */
export interface TranslationControls {
  readonly stage1: readonly Stage1Control[];
  /** The regime whose output stage 2 translates: `el10`, `pl10`. */
  readonly virtualised: string;
  readonly stage2: Stage2Control | undefined;
}

/** Choices that the architecture leaves to an implementation and that decide how registers are read. */
export interface ControlChoices {
  /**
   * TxSZ outside of the implemented range: a level 0 translation fault, or as if it were the nearest legal value. Too small a TxSZ faults always where
   * FEAT_LVA is implemented. DDI 0487, AArch64.S1TxSZFaults and R_VMSAv8 TCR_EL1.T0SZ. Default `fault`.
   */
  readonly txszOutOfRange?: 'fault' | 'clamp';
  /** A reserved or unimplemented granule: which implemented one it acts as (DDI 0487 TCR_EL1.TG0). Default `smallest`. */
  readonly reservedGranule?: 'smallest' | 'largest';
}
