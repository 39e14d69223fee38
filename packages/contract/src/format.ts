import type { OutputAddress } from '@granule/geometry/bits';
import type { Level, TableGeometry } from '@granule/geometry';
import type { DsbEffect, IsbEffect } from './effects.js';
import type { Outcome } from './outcome.js';
import type { EntryKind, ExplainedField, Field, Words } from './words.js';

export type Shareability = 'non' | 'outer' | 'inner' | 'reserved';

type Cacheability = 'nc' | 'wt' | 'wb';

/**
 * Memory type by name. `normal` is inner and outer Write-Back, `normal-wt` / `normal-nc` both Write-Through / Non-cacheable, `normal-O-I`
 * differs between outer (O) and inner (I). `as-stage1` is stage 2 with FEAT_S2FWB, MemAttr 0b0111. `unknown` is stage 1 without a MAIR to
 * look into.
 */
export type MemoryType =
  | 'device-nGnRnE'
  | 'device-nGnRE'
  | 'device-nGRE'
  | 'device-GRE'
  | 'normal'
  | 'normal-tagged'
  | 'normal-nc'
  | 'normal-wt'
  | `normal-${Cacheability}-${Cacheability}`
  | 'as-stage1'
  | 'reserved'
  | 'unknown';

/**
 * What a leaf says besides its output address, by meaning rather than by bit, for every regime. A field that a regime does not have decodes
 * to the value given here in brackets, and a request for anything else is refused (`attributes.not-in-regime`).
 */
export interface Attributes {
  /** Data reads allowed (stage 1: always true where `px`/`ux` tell nothing else). */
  readonly read: boolean;
  readonly write: boolean;
  /** Execution at EL1 (stage 2 and two-level regimes), or at EL2 in `el2`. */
  readonly px: boolean;
  /** Execution at EL0. `el2` has one XN bit: equal to `px`. Stage 2 without FEAT_XNX: equal to `px`. */
  readonly ux: boolean;
  /** Stage 1 of a two-privilege regime: EL0 may access (AP[1]). [false] */
  readonly user: boolean;
  readonly memory: MemoryType;
  /** Stage 1: AttrIndx 0…7; in a request it wins over `memory`. Stage 2: the raw MemAttr. */
  readonly attrIndex: number;
  /** With LPA2 (DS = 1) a descriptor has no SH field: the one of TCR/VTCR. */
  readonly shareability: Shareability;
  readonly af: boolean;
  /** Dirty bit modifier, bit 51 (FEAT_HAFDBS). */
  readonly dbm: boolean;
  readonly contiguous: boolean;
  /** Stage 1: not global. [false] */
  readonly nG: boolean;
  /** Stage 1: NS. [false] */
  readonly ns: boolean;
  /** Stage 1: guarded page (FEAT_BTI), bit 50. [false] */
  readonly gp: boolean;
  /** Software bits 58:55, 0…15. */
  readonly software: number;
}

/** A request for a leaf: what is left out takes the format's `defaults`. */
export type AttributeRequest = Partial<Attributes>;

/** Hierarchical attributes of a stage-1 table descriptor, bits 63:59. */
export interface TableAttributes {
  readonly nsTable: boolean;
  /** APTable[1:0], 0…3. */
  readonly apTable: number;
  readonly uxnTable: boolean;
  readonly pxnTable: boolean;
}

/** An in-place change of a descriptor: new = (old & ~clear) | set, for each half. */
export interface Change {
  readonly loClear: number;
  readonly loSet: number;
  readonly hiClear: number;
  readonly hiSet: number;
}

/** A rule of the architecture that an event breaks or would break. */
export interface Rule {
  readonly id: string;
  readonly clause: string;
  readonly sentence: string;
}

/** One step of a TLB maintenance sequence; the address, level and size are those of the entry or range at hand. */
export type TlbiStep =
  | { readonly type: 'tlbi'; readonly op: string; readonly takes: 'nothing' | 'address' | 'address-and-level' | 'range' }
  | DsbEffect
  | IsbEffect;

/** What must follow a change of this table, complete with barriers, in order (Linux: arch/arm64/kvm/hyp/nvhe/tlb.c). */
export interface TlbiSequences {
  /**
   * One leaf was broken or unmapped: last level only where the regime has such an operation. Stage 2: by IPA, then all of stage 1 of the
   * VMID.
   */
  readonly leaf: readonly TlbiStep[];
  /** The same for this PE alone (Linux: __kvm_tlb_flush_vmid_ipa_nsh). */
  readonly leafLocal: readonly TlbiStep[];
  /** A table entry was removed: intermediate levels too, no level hint. */
  readonly table: readonly TlbiStep[];
  /** A range of leaves was unmapped; without FEAT_TLBIRANGE everything of the context. */
  readonly range: readonly TlbiStep[];
  /** Everything of this context (VMID, or the EL2 regime). */
  readonly all: readonly TlbiStep[];
}

/**
 * The numbers that hot loops read, once per operation. One object shape for all formats, so that these loops stay monomorphic with several
 * backends in use. Per-level arrays are indexed by {@link levelIndex} (level −1…3 → 0…4). All halves are unsigned 32-bit values but the
 * types, which are compared with the (signed) result of `lo & typeMask`.
 */
export interface FormatNumbers {
  /**
   * Kind of an entry, decided on its low half: leaf where (lo & typeMask) === leafType, table where === tableType, else zero or annotated.
   */
  readonly typeMask: readonly number[];
  /** −1 where the level has no leaf. */
  readonly leafType: readonly number[];
  /** −1 at level 3. */
  readonly tableType: readonly number[];
  /** Bits of a leaf that hold its output address at their own place. */
  readonly leafOaLo: readonly number[];
  readonly leafOaHi: readonly number[];
  /** Bits of a table descriptor that hold the next table's address at their own place. */
  readonly tableOaLo: number;
  readonly tableOaHi: number;
  /** Output-address bits below this stand at their own place: 48, or 50 with LPA2. The low half holds the others: */
  readonly oaPlainBits: number;
  /**
   * OA[oaPlainBits + oaTopBits − 1 : oaPlainBits] are bits [oaTopLsb + oaTopBits − 1 : oaTopLsb] of the low half; oaTopBits is 0 without
   * them.
   */
  readonly oaTopLsb: number;
  readonly oaTopBits: number;
  /** Access flag: the bit of a leaf that is set once accessed. */
  readonly afLo: number;
  readonly afHi: number;
  /** What takes the right to write away from a leaf. */
  readonly writeProtect: Change;
  /** (lo & writableLoMask) === writableLo and the same for hi: the leaf permits writes (or hardware may make it so: DBM). */
  readonly writableLoMask: number;
  readonly writableLo: number;
  readonly writableHiMask: number;
  readonly writableHi: number;
  /** Software bits of a leaf. */
  readonly softwareLo: number;
  readonly softwareHi: number;
  /** Bits of a leaf that are permissions only: a change of these alone is what Linux's stage-2 map answers with -EAGAIN. */
  readonly permissionLo: number;
  readonly permissionHi: number;
  /** The contiguous bit. */
  readonly contiguousLo: number;
  readonly contiguousHi: number;
}

/**
 * The unit one swaps: data and pure functions of bits for one regime and geometry. Nothing here touches memory. Leaf and table functions
 * take the level as Arm numbers it, −1…3.
 */
export interface Format {
  readonly contract: 1;
  /** Name of the backend: `armv8`, `armv7-lpae`, `fake`. */
  readonly backend: string;
  /** `el10 el20 el2 s2` (ARMv8), `pl10 pl2 s2` (ARMv7). */
  readonly regime: string;
  readonly stage: 1 | 2;
  readonly geometry: TableGeometry;
  /** Stage 1: this table translates the upper VA range (TTBR1); addresses inside are offsets from its start, 2^64 − 2^iaBits (`pl10`: 2^32 − 2^iaBits). */
  readonly upper: boolean;
  readonly numbers: FormatNumbers;
  readonly defaults: Attributes;
  /** Shallowest level at which Linux/KVM maps a block (KVM_PGTABLE_MIN_BLOCK_LEVEL); the architecture's own limit is `numbers.leafType`. */
  readonly linuxMinBlockLevel: Level;
  /** Invalid entry that marks break-before-make in progress (Linux: KVM_INVALID_PTE_LOCKED). */
  readonly locked: Readonly<Words>;
  readonly tlbi: TlbiSequences;

  kind(lo: number, hi: number, level: Level): EntryKind;
  /** Attribute bits of a leaf of this level (no address). Refused: `attributes.*`. */
  encodeLeaf(request: AttributeRequest, level: Level): Outcome<Words>;
  decodeLeaf(lo: number, hi: number, level: Level): Attributes;
  /** Output address of a leaf, bytes; low bits of the level's span read as zero. */
  leafOutput(lo: number, hi: number, level: Level): OutputAddress;
  /** Attribute bits of a table descriptor (no address). */
  encodeTable(attributes?: Partial<TableAttributes>): Outcome<Words>;
  decodeTable(lo: number, hi: number): TableAttributes;
  /** Address of the next table, bytes. */
  tableOutput(lo: number, hi: number): OutputAddress;
  /**
   * An output address as the bits of a leaf or table descriptor; refused `oa.*` where it is too large for the format or not aligned to
   * 2^shift.
   */
  encodeOutput(oa: OutputAddress, alignShift: number): Outcome<Words>;
  /** An invalid entry that carries a note: type 1…15 in bits 63:60, value in 59:1. Refused: `annotation.*`. */
  encodeAnnotation(type: number, value: bigint): Outcome<Words>;
  decodeAnnotation(lo: number, hi: number): { readonly type: number; readonly value: bigint };
  /**
   * The in-place change that adds these permissions (never removes read or write; execute is set exactly where given). Refused: `relax.*`.
   */
  relax(add: { readonly read?: boolean; readonly write?: boolean; readonly px?: boolean; readonly ux?: boolean }): Outcome<Change>;
  /**
   * May this entry change in place? `undefined`: yes. Otherwise the break-before-make rule that forbids it (DDI 0487 D8.17.1 and the TLB
   * maintenance requirements). Total: answers for every pair of words.
   */
  mustBreak(oldLo: number, oldHi: number, newLo: number, newHi: number, level: Level): Rule | undefined;
  /**
   * The fields of a descriptor of this kind and level, all 64 bits, most significant first; those of an invalid entry where the level has no such
   * descriptor.
   */
  layout(kind: EntryKind, level: Level): readonly Field[];
  /** Named fields with meanings, most significant first; total, every bit belongs to exactly one field. */
  explain(lo: number, hi: number, level: Level): readonly ExplainedField[];
}
