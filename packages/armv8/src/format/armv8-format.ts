import {
  done,
  ENTRY,
  refused,
  type AttributeRequest,
  type Attributes,
  type Change,
  type EntryKind,
  type ExplainedField,
  type Field,
  type Format,
  type FormatNumbers,
  type Outcome,
  type Rule,
  type TableAttributes,
  type TlbiSequences,
  type Words,
} from '@granule/contract';
import type { Level, TableGeometry } from '@granule/geometry';
import { bigintHigh, bigintLow, toBigint, type OutputAddress } from '@granule/geometry/bits';
import { hasField, slotOf, takeField, takeSlot, type Slot } from '../fields.js';
import { BREAK_RULES } from './break.js';
import { descriptorLayout } from './layouts.js';
import type { LeafCodec, Relaxation } from './leaf.js';
import { describeField } from './meanings.js';
import { formatNumbers } from './numbers.js';
import { OutputCodec } from './output.js';
import type { Regime, Shape } from './shape.js';
import { Stage1Leaf } from './stage1.js';
import { Stage2Leaf } from './stage2.js';
import { TableCodec } from './table.js';
import { tlbiSequences } from './tlbi.js';

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];
const KINDS: readonly EntryKind[] = [ENTRY.zero, ENTRY.annotated, ENTRY.leaf, ENTRY.table];
const ANNOTATION_SOURCE = 'Linux kvm_pgtable.h KVM_INVALID_PTE_TYPE_MASK, KVM_INVALID_PTE_ANNOT_MASK';
/** KVM_INVALID_PTE_TYPE_LOCKED in bits 63:60. */
const LOCKED_TYPE = 1;

/** A VMSAv8-64 descriptor format. Every regime and granule is an object of this one class, so that loops over formats see one shape. */
export class Armv8Format implements Format {
  readonly contract = 1;
  readonly backend = 'armv8';
  readonly regime: Regime;
  readonly stage: 1 | 2;
  readonly geometry: TableGeometry;
  readonly upper: boolean;
  readonly numbers: FormatNumbers;
  readonly defaults: Attributes;
  readonly linuxMinBlockLevel: Level;
  readonly locked: Readonly<Words>;
  readonly tlbi: TlbiSequences;
  private readonly shape: Shape;
  /** Layout of each kind at each level: [kind][level + 1]. */
  private readonly layouts: readonly (readonly (readonly Field[])[])[];
  private readonly leaf: LeafCodec;
  private readonly table: TableCodec;
  private readonly output: OutputCodec;
  private readonly breaks: BreakFields;

  constructor(shape: Shape, upper: boolean) {
    const page = descriptorLayout(ENTRY.leaf, { ...shape, level: 3 });
    this.regime = shape.regime;
    this.stage = shape.geometry.stage;
    this.geometry = shape.geometry;
    this.upper = upper;
    this.numbers = formatNumbers(shape, page);
    this.leaf = shape.geometry.stage === 2 ? new Stage2Leaf(shape, page) : new Stage1Leaf(shape, page);
    this.defaults = this.leaf.defaults;
    this.linuxMinBlockLevel = shape.geometry.granule === '4K' ? 1 : 2;
    this.locked = Object.freeze({ lo: 0, hi: (LOCKED_TYPE << 28) >>> 0 });
    this.tlbi = tlbiSequences(shape.regime, shape.features);
    this.shape = shape;
    this.layouts = KINDS.map((kind) => LEVELS.map((level) => descriptorLayout(kind, { ...shape, level })));
    this.table = new TableCodec(shape, descriptorLayout(ENTRY.table, { ...shape, level: 2 }));
    this.output = new OutputCodec(shape);
    this.breaks = breakFields(page, this.layouts[ENTRY.leaf][3]);
  }

  kind(lo: number, hi: number, level: Level): EntryKind {
    const type = lo & 0b11;
    if (type === this.numbers.leafType[level + 1]) return ENTRY.leaf;
    if (type === this.numbers.tableType[level + 1]) return ENTRY.table;
    return lo === 0 && hi === 0 ? ENTRY.zero : ENTRY.annotated;
  }

  /** Attribute bits and type of a leaf. Refused: `attributes.*`; `attributes.level` where the level has no leaf. */
  encodeLeaf(request: AttributeRequest, level: Level): Outcome<Words> {
    const type = this.numbers.leafType[level + 1];
    if (type < 0) {
      const { granule, ds } = this.geometry;
      const sentence = `Level ${level} has no block descriptor with the ${granule} granule and DS ${ds ? 1 : 0}.`;
      return refused('attributes.level', sentence, 'DDI 0487 D8.3.1');
    }
    const words = this.leaf.encode(request);
    if (words.kind === 'done') words.value.lo = (words.value.lo | type) >>> 0;
    return words;
  }

  decodeLeaf(lo: number, hi: number): Attributes {
    return this.leaf.decode(lo, hi);
  }

  leafOutput(lo: number, hi: number, level: Level): OutputAddress {
    return this.output.decode(lo, hi, this.numbers.leafOaLo[level + 1], this.numbers.leafOaHi[level + 1]);
  }

  encodeTable(attributes: Partial<TableAttributes> = {}): Outcome<Words> {
    return this.table.encode(attributes);
  }

  decodeTable(lo: number, hi: number): TableAttributes {
    return this.table.decode(lo, hi);
  }

  tableOutput(lo: number, hi: number): OutputAddress {
    return this.output.decode(lo, hi, this.numbers.tableOaLo, this.numbers.tableOaHi);
  }

  encodeOutput(oa: OutputAddress, alignShift: number): Outcome<Words> {
    return this.output.encode(oa, alignShift);
  }

  encodeAnnotation(type: number, value: bigint): Outcome<Words> {
    if (!Number.isInteger(type) || type < 1 || type > 15) {
      return refused('annotation.type', `Annotation type ${type} is not an integer from 1 to 15.`, ANNOTATION_SOURCE);
    }
    if (value < 0n || value >= 1n << 59n) {
      return refused('annotation.value', `Annotation value ${value} does not fit the 59 bits 59:1.`, ANNOTATION_SOURCE);
    }
    const word = (BigInt(type) << 60n) | (value << 1n);
    return done({ lo: bigintLow(word), hi: bigintHigh(word) });
  }

  decodeAnnotation(lo: number, hi: number): { readonly type: number; readonly value: bigint } {
    const word = toBigint(lo, hi);
    return { type: hi >>> 28, value: (word >> 1n) & ((1n << 59n) - 1n) };
  }

  relax(add: Relaxation): Outcome<Change> {
    return this.leaf.relax(add);
  }

  /**
   * Conservative where bits alone do not tell: a changed output address counts as one whose contents differ, a changed AttrIndx without a
   * MAIR as another memory type. Between a table and a block it says whether the *size* may change live; that the subtree says the same as
   * the block is the caller's to keep.
   */
  mustBreak(oldLo: number, oldHi: number, newLo: number, newHi: number, level: Level): Rule | undefined {
    const from = this.kind(oldLo, oldHi, level);
    const to = this.kind(newLo, newHi, level);
    if (from < ENTRY.leaf || to < ENTRY.leaf) return undefined;
    if (from === ENTRY.table && to === ENTRY.table) {
      if (this.tableOutput(oldLo, oldHi) !== this.tableOutput(newLo, newHi)) return BREAK_RULES.tableAddress;
      const moved = this.decodeTable(oldLo, oldHi).nsTable !== this.decodeTable(newLo, newHi).nsTable;
      return moved ? BREAK_RULES.physicalSpace : undefined;
    }
    if (from !== to) {
      const notTranslating = from === ENTRY.leaf ? this.nT(oldLo, oldHi, level) : this.nT(newLo, newHi, level);
      return this.bbmPermits(notTranslating) ? undefined : BREAK_RULES.blockSize;
    }
    return this.leafBreak(oldLo, oldHi, newLo, newHi, level);
  }

  layout(kind: EntryKind, level: Level): readonly Field[] {
    return this.layouts[kind][level + 1];
  }

  explain(lo: number, hi: number, level: Level): readonly ExplainedField[] {
    const kind = this.kind(lo, hi, level);
    const word = toBigint(lo, hi);
    return this.layout(kind, level).map((field) => {
      const value = takeField(field, word);
      return { ...field, value, meaning: describeField({ ...this.shape, level }, kind, field, value, word) };
    });
  }

  private leafBreak(oldLo: number, oldHi: number, newLo: number, newHi: number, level: Level): Rule | undefined {
    const { sh, nG, ns, contiguous } = this.breaks;
    const changed = (slot: Slot): boolean => takeSlot(slot, oldLo, oldHi) !== takeSlot(slot, newLo, newHi);
    if (this.leafOutput(oldLo, oldHi, level) !== this.leafOutput(newLo, newHi, level)) return BREAK_RULES.outputAddress;
    if (ns !== undefined && changed(ns)) return BREAK_RULES.physicalSpace;
    if (this.leaf.memoryKey(oldLo, oldHi) !== this.leaf.memoryKey(newLo, newHi)) return BREAK_RULES.memoryType;
    if (sh !== undefined && changed(sh)) return BREAK_RULES.shareability;
    if (changed(contiguous) && !this.bbmPermits(this.nT(oldLo, oldHi, level) && this.nT(newLo, newHi, level)))
      return BREAK_RULES.contiguous;
    if (nG !== undefined && takeSlot(nG, oldLo, oldHi) === 1 && takeSlot(nG, newLo, newHi) === 0) return BREAK_RULES.global;
    return undefined;
  }

  /** FEAT_BBM level 2 permits a live change of size, level 1 that of a block with nT set. */
  private bbmPermits(notTranslating: boolean): boolean {
    const bbm = this.shape.features.bbm ?? 0;
    return bbm >= 2 || (bbm === 1 && notTranslating);
  }

  private nT(lo: number, hi: number, level: Level): boolean {
    return level < 3 && this.breaks.nT !== undefined && takeSlot(this.breaks.nT, lo, hi) !== 0;
  }
}

/** Fields that decide whether a leaf may change live. */
interface BreakFields {
  readonly contiguous: Slot;
  readonly sh: Slot | undefined;
  readonly nG: Slot | undefined;
  readonly ns: Slot | undefined;
  readonly nT: Slot | undefined;
}

function breakFields(page: readonly Field[], block: readonly Field[]): BreakFields {
  const optional = (layout: readonly Field[], name: string): Slot | undefined =>
    hasField(layout, name) ? slotOf(layout, name) : undefined;
  return {
    contiguous: slotOf(page, 'Contiguous'),
    sh: optional(page, 'SH'),
    nG: optional(page, 'nG'),
    ns: optional(page, 'NS'),
    nT: optional(block, 'nT'),
  };
}
