import type { OutputAddress } from '@granule/geometry/bits';
import type { Granule, TableGeometry } from '@granule/geometry';
import type { FaultValue } from './fault.js';
import type { Format } from './format.js';
import type { Outcome } from './outcome.js';
import type { ExplainedField, Field } from './words.js';

/** What an implementation has, from its ID registers. Names are the features' own, lower case. */
export interface Features {
  /** Physical address size, bits: 32, 36, 40, 42, 44, 48, 52. */
  readonly paBits: number;
  readonly granules1: readonly Granule[];
  readonly granules2: readonly Granule[];
  /** FEAT_LPA2 at stage 1 / stage 2 for 4K and 16K. */
  readonly lpa2Granules1: readonly Granule[];
  readonly lpa2Granules2: readonly Granule[];
  readonly lpa: boolean;
  readonly lva: boolean;
  readonly ttst: boolean;
  readonly xnx: boolean;
  readonly s2fwb: boolean;
  readonly ttl: boolean;
  readonly tlbirange: boolean;
  readonly hpds: boolean;
  readonly hpds2: boolean;
  /** FEAT_HAFDBS: hardware access flag / dirty state. */
  readonly haf: boolean;
  readonly hdbs: boolean;
  readonly pan: boolean;
  readonly pan3: boolean;
  readonly e0pd: boolean;
  readonly vhe: boolean;
  readonly xs: boolean;
  readonly cnp: boolean;
  readonly bti: boolean;
  /** FEAT_BBM level, 0…2. */
  readonly bbm: number;
  readonly idc: boolean;
  readonly dic: boolean;
  /** VMID bits, 8 or 16. */
  readonly vmidBits: number;
}

export interface FormatConfig {
  readonly geometry: TableGeometry;
  readonly features?: Partial<Features>;
  /** Stage 1: the MAIR in force; without it memory types are `unknown` and requests must name `attrIndex`. */
  readonly mair?: bigint;
  /** Stage 2: HCR_EL2.FWB. */
  readonly fwb?: boolean;
  /** Stage 1: hierarchical permission disable (HPD). */
  readonly hpd?: boolean;
  /** With DS = 1: the SH0/SH1 that stands for every leaf, 0…3. */
  readonly sh?: number;
  readonly upper?: boolean;
}

/** System registers by their Arm names, 64-bit values. */
export type Registers = Readonly<Record<string, bigint>>;

/** One translation table that registers put in force. */
export interface RegimeRoot {
  /** `s2`, `el10`, `el20`, `el2`, … */
  readonly regime: string;
  readonly upper: boolean;
  readonly format: Format;
  readonly root: OutputAddress;
  /** The registers that said so, for people: `VTTBR_EL2/VTCR_EL2`. */
  readonly from: string;
  /** Whether table addresses are physical, or IPAs of stage 2 (`HCR_EL2.VM` is 1 and this is the EL1&0 regime). */
  readonly tableAddresses: 'physical' | 'ipa';
  readonly asid?: number;
  readonly vmid?: number;
}

export interface RegisterCodec {
  readonly names: readonly string[];
  layout(name: string): readonly Field[] | undefined;
  /** Named fields with meanings, most significant first. Refused: `register.unknown`, `register.too-wide`. */
  explain(name: string, value: bigint, features?: Partial<Features>): Outcome<readonly ExplainedField[]>;
  decode(name: string, value: bigint): Outcome<Readonly<Record<string, bigint>>>;
  /** RES1 bits are set, RES0 bits and fields left out are zero. Refused: `register.unknown-field`, `register.value-too-wide`. */
  encode(name: string, fields: Readonly<Record<string, bigint | number>>): Outcome<bigint>;
  features(registers: Registers): Features;
  /** Control and base register values for a stage-2 or stage-1 table: VTCR/VTTBR, TCR/TTBR. */
  encodeStage2(config: {
    readonly geometry: TableGeometry;
    readonly features: Partial<Features>;
    readonly root?: OutputAddress;
    readonly vmid?: number;
    readonly ha?: boolean;
  }): Outcome<{
    readonly vtcr: bigint;
    readonly vttbr: bigint;
  }>;
  /** Every table of this regime that the registers put in force; a TTBR that is switched off (EPD) is left out. Refused: `registers.*`. */
  roots(registers: Registers, regime: string, features?: Partial<Features>): Outcome<readonly RegimeRoot[]>;
}

/** Operand of a maintenance or AT instruction, by field. */
export interface InstructionCodec {
  readonly names: readonly string[];
  encode(name: string, fields: Readonly<Record<string, bigint | number>>): Outcome<bigint>;
  decode(name: string, operand: bigint): Outcome<Readonly<Record<string, bigint>>>;
  explain(name: string, operand: bigint): Outcome<readonly ExplainedField[]>;
}

export interface FaultCodec {
  /** PAR after an address-translation instruction that faulted. */
  par(fault: FaultValue): bigint;
  /** Fault status code: DFSC/IFSC/FST, 6 bits. */
  statusCode(fault: FaultValue): number;
}

export interface Backend {
  readonly contract: 1;
  readonly name: string;
  readonly regimes: readonly string[];
  /** Refused: `format.*` where regime and configuration do not go together. */
  format(regime: string, config: FormatConfig): Outcome<Format>;
  readonly registers: RegisterCodec;
  readonly instructions: InstructionCodec;
  readonly faults: FaultCodec;
}
