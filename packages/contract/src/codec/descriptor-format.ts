import type { Level, TableGeometry } from '@granule/geometry';
import { takeSlot, toBigint, type OutputAddress } from '@granule/geometry/bits';
import type { AttributeRequest, Attributes, Change, Format, FormatNumbers, Rule, TableAttributes, TlbiSequences } from '../format.js';
import type { Outcome, Refused } from '../outcome.js';
import { ENTRY, type EntryKind, type ExplainedField, type Field, type Words } from '../words.js';
import { decodeAnnotation, encodeAnnotation, LOCKED } from './annotation-codec.js';
import { breakFields, slotChanges, type BreakFields, type BreakRules } from './break-rules.js';
import { explainFields } from './field-codec.js';
import type { LeafCodec, Relaxation } from './leaf-codec.js';
import { OutputCodec } from './output-codec.js';

/** Attributes of table descriptors. */
export interface TableCodec {
  decode(lo: number, hi: number): TableAttributes;
  encode(request: Partial<TableAttributes>): Outcome<Words>;
}

/** What a backend says of one regime and geometry. */
export interface DescriptorParts {
  readonly backend: string;
  readonly regime: string;
  readonly geometry: TableGeometry;
  readonly upper: boolean;
  readonly numbers: FormatNumbers;
  readonly linuxMinBlockLevel: Level;
  readonly tlbi: TlbiSequences;
  /** Output addresses are below 2^oaBits; `oaSource` says so. */
  readonly oaBits: number;
  readonly oaSource: string;
  readonly leaf: LeafCodec;
  readonly table: TableCodec;
  /** All 64 bits, most significant first; where the level has no such descriptor those of an invalid entry. */
  readonly layout: (kind: EntryKind, level: Level) => readonly Field[];
  readonly meaning: (kind: EntryKind, level: Level, field: Field, value: bigint, word: bigint) => string;
  /** Why the level has no leaf: `attributes.level`. */
  readonly noLeaf: (level: Level) => Refused;
  readonly breaks: BreakRules;
  /** FEAT_BBM level, 0…2. */
  readonly bbm: number;
}

const LEVELS: readonly Level[] = [-1, 0, 1, 2, 3];
const KINDS: readonly EntryKind[] = [ENTRY.zero, ENTRY.annotated, ENTRY.leaf, ENTRY.table];

/**
 * A long-descriptor format: types in bits 1:0, Linux's notes in invalid entries, fields under their architectural names. Every regime,
 * granule and backend is an object of this one class, so that loops over formats see one shape.
 */
export class DescriptorFormat implements Format {
  readonly contract = 1;
  readonly backend: string;
  readonly regime: string;
  readonly stage: 1 | 2;
  readonly geometry: TableGeometry;
  readonly upper: boolean;
  readonly numbers: FormatNumbers;
  readonly defaults: Attributes;
  readonly linuxMinBlockLevel: Level;
  readonly locked: Readonly<Words> = LOCKED;
  readonly tlbi: TlbiSequences;
  private readonly parts: DescriptorParts;
  /** Layout of each kind at each level: [kind][level + 1]. */
  private readonly layouts: readonly (readonly (readonly Field[])[])[];
  private readonly leaf: LeafCodec;
  private readonly output: OutputCodec;
  private readonly fields: BreakFields;

  constructor(parts: DescriptorParts) {
    this.backend = parts.backend;
    this.regime = parts.regime;
    this.stage = parts.geometry.stage;
    this.geometry = parts.geometry;
    this.upper = parts.upper;
    this.numbers = parts.numbers;
    this.defaults = parts.leaf.defaults;
    this.linuxMinBlockLevel = parts.linuxMinBlockLevel;
    this.tlbi = parts.tlbi;
    this.parts = parts;
    this.layouts = KINDS.map((kind) => LEVELS.map((level) => parts.layout(kind, level)));
    this.leaf = parts.leaf;
    this.output = new OutputCodec(parts.numbers, parts.oaBits, parts.oaSource);
    this.fields = breakFields(this.layout(ENTRY.leaf, 3), this.layout(ENTRY.leaf, 2));
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
    if (type < 0) return this.parts.noLeaf(level);
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
    return this.parts.table.encode(attributes);
  }

  decodeTable(lo: number, hi: number): TableAttributes {
    return this.parts.table.decode(lo, hi);
  }

  tableOutput(lo: number, hi: number): OutputAddress {
    return this.output.decode(lo, hi, this.numbers.tableOaLo, this.numbers.tableOaHi);
  }

  encodeOutput(oa: OutputAddress, alignShift: number): Outcome<Words> {
    return this.output.encode(oa, alignShift);
  }

  encodeAnnotation(type: number, value: bigint): Outcome<Words> {
    return encodeAnnotation(type, value);
  }

  decodeAnnotation(lo: number, hi: number): { readonly type: number; readonly value: bigint } {
    return decodeAnnotation(lo, hi);
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
    const { breaks } = this.parts;
    const from = this.kind(oldLo, oldHi, level);
    const to = this.kind(newLo, newHi, level);
    if (from < ENTRY.leaf || to < ENTRY.leaf) return undefined;
    if (from === ENTRY.table && to === ENTRY.table) {
      if (this.tableOutput(oldLo, oldHi) !== this.tableOutput(newLo, newHi)) return breaks.tableAddress;
      const moved = this.decodeTable(oldLo, oldHi).nsTable !== this.decodeTable(newLo, newHi).nsTable;
      return moved ? breaks.physicalSpace : undefined;
    }
    if (from !== to) {
      const notTranslating = from === ENTRY.leaf ? this.nT(oldLo, oldHi, level) : this.nT(newLo, newHi, level);
      return this.bbmPermits(notTranslating) ? undefined : breaks.blockSize;
    }
    return this.leafBreak(oldLo, oldHi, newLo, newHi, level);
  }

  layout(kind: EntryKind, level: Level): readonly Field[] {
    return this.layouts[kind][level + 1];
  }

  explain(lo: number, hi: number, level: Level): readonly ExplainedField[] {
    const kind = this.kind(lo, hi, level);
    const word = toBigint(lo, hi);
    return explainFields(this.layout(kind, level), word, (field, value) => this.parts.meaning(kind, level, field, value, word));
  }

  private leafBreak(oldLo: number, oldHi: number, newLo: number, newHi: number, level: Level): Rule | undefined {
    const { breaks } = this.parts;
    const { sh, nG, ns, contiguous } = this.fields;
    if (this.leafOutput(oldLo, oldHi, level) !== this.leafOutput(newLo, newHi, level)) return breaks.outputAddress;
    if (slotChanges(ns, oldLo, oldHi, newLo, newHi)) return breaks.physicalSpace;
    if (this.leaf.memoryKey(oldLo, oldHi) !== this.leaf.memoryKey(newLo, newHi)) return breaks.memoryType;
    if (slotChanges(sh, oldLo, oldHi, newLo, newHi)) return breaks.shareability;
    // FEAT_BBM level 1 permits this live, nT or not (DDI 0487 D8.17.2, R_KHRBC).
    if (this.parts.bbm < 1 && slotChanges(contiguous, oldLo, oldHi, newLo, newHi)) return breaks.contiguous;
    if (nG !== undefined && takeSlot(nG, oldLo, oldHi) === 1 && takeSlot(nG, newLo, newHi) === 0) return breaks.global;
    return undefined;
  }

  /** FEAT_BBM level 2 permits a live change between table and block, level 1 that of a block with nT set. */
  private bbmPermits(notTranslating: boolean): boolean {
    const { bbm } = this.parts;
    return bbm >= 2 || (bbm === 1 && notTranslating);
  }

  private nT(lo: number, hi: number, level: Level): boolean {
    return level < 3 && this.fields.nT !== undefined && takeSlot(this.fields.nT, lo, hi) !== 0;
  }
}
