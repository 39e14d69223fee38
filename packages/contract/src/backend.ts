import type { InputAddress, OutputAddress } from '@granule/geometry/bits';
import type { Granule, TableGeometry } from '@granule/geometry';
import type { FaultValue } from './fault.js';
import type { Format } from './format.js';
import type { Outcome } from './outcome.js';
import type { ControlChoices, TranslationControls } from './translation.js';
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
  /** FEAT_MTE2: Tagged memory. */
  readonly mte?: boolean;
  /** FEAT_PAuth: TCR.TBID exists. */
  readonly pauth?: boolean;
  /** FEAT_NV: HCR_EL2.NV and NV1 exist. */
  readonly nv?: boolean;
  /** FEAT_RAS: HCR_EL2.TEA exists. */
  readonly ras?: boolean;
}

/** No optional feature, 4K pages, 8-bit VMIDs, every maintenance due: what an implementation has at least, but for its address size. */
export const NO_FEATURES = Object.freeze<Omit<Features, 'paBits'>>({
  granules1: ['4K'],
  granules2: ['4K'],
  lpa2Granules1: [],
  lpa2Granules2: [],
  lpa: false,
  lva: false,
  ttst: false,
  xnx: false,
  s2fwb: false,
  ttl: false,
  tlbirange: false,
  hpds: false,
  hpds2: false,
  haf: false,
  hdbs: false,
  pan: false,
  pan3: false,
  e0pd: false,
  vhe: false,
  xs: false,
  cnp: false,
  bti: false,
  bbm: 0,
  idc: false,
  dic: false,
  vmidBits: 8,
});

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
  /**
   * The input addresses that go through this table, half-open, counted as its format counts them; absent: all that the format translates. AArch32 with
   * TTBCR.T1SZ = 0: TTBR1 has a table of 4 GiB and translates what TTBR0 leaves of it.
   */
  readonly range?: { readonly start: InputAddress; readonly end: InputAddress };
}

/** A table, and how it is to be put in force. */
export interface RegimeConfig {
  readonly regime: string;
  readonly geometry: TableGeometry;
  readonly features: Partial<Features>;
  /** Address of the entry table. */
  readonly root: OutputAddress;
  /** Stage 1: the memory types that AttrIndx chooses from. */
  readonly mair?: bigint;
  /** Stage 2: HCR_EL2.FWB. */
  readonly fwb?: boolean;
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
  /**
   * Registers by name that put a table of the lower range in force, and no other of its regime: base, control, memory types, and the enables with caches
   * on; walks Inner Shareable and Write-Back. Refused: `registers.*`.
   */
  encodeRegime?(config: RegimeConfig): Outcome<Registers>;
  /** Every table of this regime that the registers put in force; a TTBR that is switched off (EPD) is left out. Refused: `registers.*`. */
  roots(registers: Registers, regime: string, features?: Partial<Features>): Outcome<readonly RegimeRoot[]>;
  /**
   * Everything that a walker needs to know, legal or not: an illegal configuration is a range without a format. Total for any register values; not
   * modelled are extensions that change the descriptor format.
   */
  controls?(registers: Registers, features: Partial<Features>, choices?: ControlChoices): Outcome<TranslationControls>;
}

/** Operand of a maintenance or AT instruction, by field. */
export interface InstructionCodec {
  readonly names: readonly string[];
  encode(name: string, fields: Readonly<Record<string, bigint | number>>): Outcome<bigint>;
  decode(name: string, operand: bigint): Outcome<Readonly<Record<string, bigint>>>;
  explain(name: string, operand: bigint): Outcome<readonly ExplainedField[]>;
}

/** What PAR shows of a translation that succeeded. */
export interface ParSuccess {
  readonly output: OutputAddress;
  /** As a MAIR byte. */
  readonly attributes: number;
  /** SH[1:0]: 0 non, 2 outer, 3 inner. */
  readonly shareability: number;
}

/** The access that was aborted, as far as a syndrome tells of it. */
export interface AbortedAccess {
  /** Exception level (privilege level) that made the access, and the one that the abort is taken to. */
  readonly from: number;
  readonly to: number;
  /** The address as the program gave it, all 64 bits. */
  readonly va: bigint;
  readonly write: boolean;
  /** A cache maintenance or address translation instruction. */
  readonly maintenance?: boolean;
  /** A load or store of one register, which a stage-2 abort describes (ISV): SAS, SSE, SRT, SF, AR. */
  readonly transfer?: { readonly sas: number; readonly signed: boolean; readonly register: number; readonly wide: boolean; readonly ordered: boolean };
}

/** Syndrome registers after an abort: ESR_ELx, HSR, or DFSR or IFSR. `hpfar` is there where the architecture defines it. */
export interface Abort {
  readonly el: number;
  readonly esr: bigint;
  readonly far: bigint;
  readonly hpfar?: bigint;
}

export interface FaultCodec {
  /** PAR after an address-translation instruction that faulted. */
  par(fault: FaultValue): bigint;
  /** PAR after one that succeeded. */
  parSuccess?(translated: ParSuccess): bigint;
  /** Fault status code: DFSC/IFSC/FST, 6 bits. */
  statusCode(fault: FaultValue): number;
  /** The syndrome of an abort. */
  abort?(fault: FaultValue, access: AbortedAccess): Abort;
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
