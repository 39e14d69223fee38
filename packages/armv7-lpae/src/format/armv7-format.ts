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
import { bigintHigh, bigintLow, fromHalves, toBigint, type OutputAddress } from '@granule/geometry/bits';
import { hasField, slotOf, takeField, takeSlot, type Slot } from '../fields.js';
import { BREAK_RULES } from './break.js';
import { descriptorLayout } from './layouts.js';
import type { LeafCodec, Relaxation } from './leaf.js';
import { describeField } from './meanings.js';
import { formatNumbers } from './numbers.js';
import { encodeOutput } from './output.js';
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

/** An ARMv7 long-descriptor format. Every regime is an object of this one class, so that loops over formats see one shape. */
export class Armv7Format implements Format {
  readonly contract = 1;
  readonly backend = 'armv7-lpae';
  readonly regime: Regime;
  readonly stage: 1 | 2;
  readonly geometry: TableGeometry;
  readonly upper: boolean;
  readonly numbers: FormatNumbers;
  readonly defaults: Attributes;
  /** KVM on 32-bit hosts maps no 1 GiB blocks (Linux 4.8 stage2_wp_puds: BUG_ON). */
  readonly linuxMinBlockLevel = 2;
  readonly locked: Readonly<Words>;
  readonly tlbi: TlbiSequences;
  private readonly shape: Shape;
  /** Layout of each kind at each level: [kind][level + 1]. */
  private readonly layouts: readonly (readonly (readonly Field[])[])[];
  private readonly leaf: LeafCodec;
  private readonly table: TableCodec;
  private readonly breaks: BreakFields;

  constructor(shape: Shape, upper: boolean) {
    const page = descriptorLayout(ENTRY.leaf, { ...shape, level: 3 });
    this.regime = shape.regime;
    this.stage = shape.geometry.stage;
    this.geometry = shape.geometry;
    this.upper = upper;
    this.numbers = formatNumbers(shape.geometry.stage, page);
    this.leaf = shape.geometry.stage === 2 ? new Stage2Leaf(page) : new Stage1Leaf(shape, page);
    this.defaults = this.leaf.defaults;
    this.locked = Object.freeze({ lo: 0, hi: (LOCKED_TYPE << 28) >>> 0 });
    this.tlbi = tlbiSequences(shape.regime);
    this.shape = shape;
    this.layouts = KINDS.map((kind) => LEVELS.map((level) => descriptorLayout(kind, { ...shape, level })));
    this.table = new TableCodec(shape, descriptorLayout(ENTRY.table, { ...shape, level: 2 }));
    this.breaks = breakFields(page);
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
    if (type < 0) return refused('attributes.level', `Level ${level} does not exist in ARMv7.`, 'DDI 0406C B3.6.1');
    const words = this.leaf.encode(request);
    if (words.kind === 'done') words.value.lo = (words.value.lo | type) >>> 0;
    return words;
  }

  decodeLeaf(lo: number, hi: number): Attributes {
    return this.leaf.decode(lo, hi);
  }

  /** Bits 51:40 of the descriptor are not looked at. */
  leafOutput(lo: number, hi: number, level: Level): OutputAddress {
    return fromHalves((lo & this.numbers.leafOaLo[level + 1]) >>> 0, hi & this.numbers.leafOaHi[level + 1]);
  }

  encodeTable(attributes: Partial<TableAttributes> = {}): Outcome<Words> {
    return this.table.encode(attributes);
  }

  decodeTable(lo: number, hi: number): TableAttributes {
    return this.table.decode(lo, hi);
  }

  tableOutput(lo: number, hi: number): OutputAddress {
    return fromHalves((lo & this.numbers.tableOaLo) >>> 0, hi & this.numbers.tableOaHi);
  }

  encodeOutput(oa: OutputAddress, alignShift: number): Outcome<Words> {
    return encodeOutput(oa, alignShift);
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
    return { type: hi >>> 28, value: (toBigint(lo, hi) >> 1n) & ((1n << 59n) - 1n) };
  }

  relax(add: Relaxation): Outcome<Change> {
    return this.leaf.relax(add);
  }

  /**
   * Conservative where bits alone do not tell: a changed output address counts as one whose contents differ, a changed AttrIndx without a
   * MAIR as another memory type.
   */
  mustBreak(oldLo: number, oldHi: number, newLo: number, newHi: number, level: Level): Rule | undefined {
    const from = this.kind(oldLo, oldHi, level);
    const to = this.kind(newLo, newHi, level);
    if (from < ENTRY.leaf || to < ENTRY.leaf) return undefined;
    if (from !== to) return BREAK_RULES.blockSize;
    if (from === ENTRY.leaf) return this.leafBreak(oldLo, oldHi, newLo, newHi, level);
    if (this.tableOutput(oldLo, oldHi) !== this.tableOutput(newLo, newHi)) return BREAK_RULES.tableAddress;
    const moved = this.decodeTable(oldLo, oldHi).nsTable !== this.decodeTable(newLo, newHi).nsTable;
    return moved ? BREAK_RULES.physicalSpace : undefined;
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
    if (changed(sh)) return BREAK_RULES.shareability;
    if (changed(contiguous)) return BREAK_RULES.contiguous;
    if (nG !== undefined && takeSlot(nG, oldLo, oldHi) === 1 && takeSlot(nG, newLo, newHi) === 0) return BREAK_RULES.global;
    return undefined;
  }
}

/** Fields that decide whether a leaf may change live. */
interface BreakFields {
  readonly contiguous: Slot;
  readonly sh: Slot;
  readonly nG: Slot | undefined;
  readonly ns: Slot | undefined;
}

function breakFields(page: readonly Field[]): BreakFields {
  const optional = (name: string): Slot | undefined => (hasField(page, name) ? slotOf(page, name) : undefined);
  return { contiguous: slotOf(page, 'Contiguous'), sh: slotOf(page, 'SH'), nG: optional('nG'), ns: optional('NS') };
}
