import {
  done,
  refused,
  type AttributeRequest,
  type Attributes,
  type Change,
  type Field,
  type MemoryType,
  type Outcome,
} from '@granule/contract';
import type { Words } from '@granule/contract';
import { hasField, putSlot, slotMask, slotOf, takeSlot, type Slot } from '../fields.js';
import { CommonLeaf, noChange, type LeafCodec, type Relaxation } from './leaf.js';
import { mairByte, mairMemory } from './memory-type.js';
import type { Shape } from './shape.js';

const FORMATS = 'DDI 0487 D8.3.1';

/**
 * Attributes of a stage-1 leaf. With two privileges AP[1] is EL0 access and UXN, PXN are apart; `el2` has AP[1] RES1 and one XN bit. `px`
 * and `ux` are the descriptor's own bits: that EL0-writable memory is never executable at EL1, SCTLR.WXN and hierarchical attributes are
 * the walker's to apply.
 */
export class Stage1Leaf implements LeafCodec {
  readonly defaults: Attributes;
  private readonly common: CommonLeaf;
  private readonly regime: string;
  private readonly readOnly: Slot;
  /** AP[1], nG, and the two execute-never bits of a two-privilege regime; in `el2` both are the one XN. */
  private readonly user: Slot | undefined;
  private readonly nG: Slot | undefined;
  private readonly uxn: Slot;
  private readonly pxn: Slot;
  private readonly res1: Slot | undefined;
  private readonly gp: Slot;
  private readonly ns: Slot;
  private readonly attrIndx: Slot;
  /** Memory types of Attr0…Attr7. */
  private readonly memory: readonly MemoryType[];
  private readonly hasMair: boolean;

  constructor(shape: Shape, layout: readonly Field[]) {
    const two = hasField(layout, 'UXN');
    const optional = (name: string): Slot | undefined => (hasField(layout, name) ? slotOf(layout, name) : undefined);
    this.common = new CommonLeaf(shape, layout);
    this.regime = shape.regime;
    this.readOnly = slotOf(layout, 'AP[2]');
    this.user = optional('AP[1]');
    this.nG = optional('nG');
    this.uxn = slotOf(layout, two ? 'UXN' : 'XN');
    this.pxn = slotOf(layout, two ? 'PXN' : 'XN');
    this.res1 = optional('RES1');
    this.gp = slotOf(layout, 'GP');
    this.ns = slotOf(layout, 'NS');
    this.attrIndx = slotOf(layout, 'AttrIndx');
    const { mair } = shape;
    this.hasMair = mair !== undefined;
    this.memory = Array.from({ length: 8 }, (_, index) => (mair === undefined ? 'unknown' : mairMemory(mairByte(mair, index))));
    const attrIndex = Math.max(0, this.memory.indexOf('normal'));
    this.defaults = Object.freeze({
      read: true,
      write: true,
      px: false,
      ux: false,
      user: false,
      memory: this.memory[attrIndex],
      attrIndex,
      shareability: this.common.defaultShareability,
      af: true,
      dbm: false,
      contiguous: false,
      nG: false,
      ns: false,
      gp: false,
      software: 0,
    });
  }

  decode(lo: number, hi: number): Attributes {
    const attrIndex = takeSlot(this.attrIndx, lo, hi);
    return {
      read: true,
      write: takeSlot(this.readOnly, lo, hi) === 0,
      px: takeSlot(this.pxn, lo, hi) === 0,
      ux: takeSlot(this.uxn, lo, hi) === 0,
      user: this.user !== undefined && takeSlot(this.user, lo, hi) !== 0,
      memory: this.memory[attrIndex],
      attrIndex,
      shareability: this.common.shareability(lo, hi),
      af: this.common.af(lo, hi),
      dbm: this.common.dbm(lo, hi),
      contiguous: this.common.contiguous(lo, hi),
      nG: this.nG !== undefined && takeSlot(this.nG, lo, hi) !== 0,
      ns: takeSlot(this.ns, lo, hi) !== 0,
      gp: takeSlot(this.gp, lo, hi) !== 0,
      software: this.common.software(lo, hi),
    };
  }

  encode(request: AttributeRequest): Outcome<Words> {
    const want = { ...this.defaults, ...request };
    const misfit = this.misfit(want);
    if (misfit !== undefined) return refused('attributes.not-in-regime', misfit, FORMATS);
    const attrIndex = this.attrIndexOf(request);
    if (attrIndex.kind !== 'done') return attrIndex;
    const words = this.common.encode(want);
    if (words.kind !== 'done') return words;
    putSlot(words.value, this.readOnly, want.write ? 0 : 1);
    putSlot(words.value, this.pxn, want.px ? 0 : 1);
    putSlot(words.value, this.uxn, want.ux ? 0 : 1);
    if (this.user !== undefined) putSlot(words.value, this.user, want.user ? 1 : 0);
    if (this.nG !== undefined) putSlot(words.value, this.nG, want.nG ? 1 : 0);
    if (this.res1 !== undefined) putSlot(words.value, this.res1, 1);
    putSlot(words.value, this.gp, want.gp ? 1 : 0);
    putSlot(words.value, this.ns, want.ns ? 1 : 0);
    putSlot(words.value, this.attrIndx, attrIndex.value);
    return words;
  }

  relax(add: Relaxation): Outcome<Change> {
    const clear = { lo: 0, hi: 0 };
    const set = { lo: 0, hi: 0 };
    if (add.write === true) clear.lo = slotMask(this.readOnly).lo;
    if (this.user === undefined && add.px !== undefined && add.ux !== undefined && add.px !== add.ux) {
      return refused('relax.not-in-regime', `px ${add.px} with ux ${add.ux} cannot be: ${this.regime} has one XN bit.`, FORMATS);
    }
    for (const [allowed, slot] of [
      [add.px, this.pxn],
      [add.ux, this.uxn],
    ] as const) {
      if (allowed !== undefined) (allowed ? clear : set).hi |= slotMask(slot).hi;
    }
    return done({ ...noChange(), loClear: clear.lo, hiClear: clear.hi, hiSet: set.hi });
  }

  memoryKey(lo: number, hi: number): string {
    const index = takeSlot(this.attrIndx, lo, hi);
    const memory = this.memory[index];
    return memory === 'unknown' || memory === 'reserved' ? `AttrIndx ${index}` : memory;
  }

  private misfit(want: Attributes): string | undefined {
    if (!want.read) return 'Attribute read cannot be false: a stage-1 descriptor has no permission that forbids reading alone.';
    if (this.user !== undefined) return undefined;
    if (want.user) return 'Attribute user cannot be true: el2 has one privilege.';
    if (want.nG) return 'Attribute nG cannot be true: el2 has no ASID.';
    if (want.px !== want.ux) return `px ${want.px} with ux ${want.ux} cannot be: el2 has one XN bit.`;
    return undefined;
  }

  private attrIndexOf({ memory, attrIndex }: AttributeRequest): Outcome<number> {
    const source = 'DDI 0487 D8.6.1';
    if (attrIndex !== undefined) {
      if (Number.isInteger(attrIndex) && attrIndex >= 0 && attrIndex <= 7) return done(attrIndex);
      return refused('attributes.attr-index', `attrIndex ${attrIndex} is not an AttrIndx from 0 to 7.`, source);
    }
    if (memory === undefined || memory === this.defaults.memory) return done(this.defaults.attrIndex);
    if (!this.hasMair) {
      return refused('attributes.no-mair', `Memory type ${memory} needs a MAIR to be found in: give mair, or attrIndex.`, source);
    }
    const found = memory === 'reserved' ? -1 : this.memory.indexOf(memory);
    if (found >= 0) return done(found);
    return refused('attributes.memory-type', `No attribute of the MAIR is ${memory}.`, source);
  }
}
