import { done, refused, type AttributeRequest, type Attributes, type Change, type Field, type Outcome, type Words } from '@granule/contract';
import {
  CommonLeaf,
  hasField,
  leafDefaults,
  noChange,
  optionalSlot,
  slotOf,
  Stage1Memory,
  type LeafCodec,
  type Relaxation,
} from '@granule/contract/codec';
import { putSlot, slotMask, takeSlot, type Slot } from '@granule/geometry/bits';
import { COMMON_CLAUSES } from './layouts.js';
import { mairMemory } from './memory-type.js';
import { fixedShareability, type Shape } from './shape.js';

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
  private readonly memory: Stage1Memory;

  constructor(shape: Shape, layout: readonly Field[]) {
    const two = hasField(layout, 'UXN');
    this.common = new CommonLeaf(layout, COMMON_CLAUSES, fixedShareability(shape));
    this.regime = shape.regime;
    this.readOnly = slotOf(layout, 'AP[2]');
    this.user = optionalSlot(layout, 'AP[1]');
    this.nG = optionalSlot(layout, 'nG');
    this.uxn = slotOf(layout, two ? 'UXN' : 'XN');
    this.pxn = slotOf(layout, two ? 'PXN' : 'XN');
    this.res1 = optionalSlot(layout, 'RES1');
    this.gp = slotOf(layout, 'GP');
    this.ns = slotOf(layout, 'NS');
    this.attrIndx = slotOf(layout, 'AttrIndx');
    this.memory = new Stage1Memory(shape.mair, mairMemory, { where: 'the MAIR', source: 'DDI 0487 D8.6.1' });
    const attrIndex = this.memory.defaultIndex;
    this.defaults = leafDefaults(this.memory.types[attrIndex], attrIndex, this.common.defaultShareability);
  }

  decode(lo: number, hi: number): Attributes {
    const attrIndex = takeSlot(this.attrIndx, lo, hi);
    return {
      read: true,
      write: takeSlot(this.readOnly, lo, hi) === 0,
      px: takeSlot(this.pxn, lo, hi) === 0,
      ux: takeSlot(this.uxn, lo, hi) === 0,
      user: this.user !== undefined && takeSlot(this.user, lo, hi) !== 0,
      memory: this.memory.types[attrIndex],
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
    const attrIndex = this.memory.indexOf(request);
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
    return this.memory.key(takeSlot(this.attrIndx, lo, hi));
  }

  private misfit(want: Attributes): string | undefined {
    if (!want.read) return 'Attribute read cannot be false: a stage-1 descriptor has no permission that forbids reading alone.';
    if (this.user !== undefined) return undefined;
    if (want.user) return 'Attribute user cannot be true: el2 has one privilege.';
    if (want.nG) return 'Attribute nG cannot be true: el2 has no ASID.';
    if (want.px !== want.ux) return `px ${want.px} with ux ${want.ux} cannot be: el2 has one XN bit.`;
    return undefined;
  }
}
