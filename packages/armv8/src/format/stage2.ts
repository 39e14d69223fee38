import {
  done,
  refused,
  type AttributeRequest,
  type Attributes,
  type Change,
  type Field,
  type MemoryType,
  type Outcome,
  type Words,
} from '@granule/contract';
import {
  absentAttribute,
  CommonLeaf,
  leafDefaults,
  noChange,
  slotOf,
  STAGE2_MEMORY,
  stage2MemAttr,
  type LeafCodec,
  type MemoryWords,
  type Relaxation,
} from '@granule/contract/codec';
import { putSlot, takeSlot, type Slot } from '@granule/geometry/bits';
import { COMMON_CLAUSES } from './layouts.js';
import { STAGE2_MEMORY_FWB } from './memory-type.js';
import { fixedShareability, type Shape } from './shape.js';

const PERMISSIONS = 'DDI 0487 D8.4.2';

/** Attributes of a stage-2 leaf. */
export class Stage2Leaf implements LeafCodec {
  readonly defaults: Attributes;
  private readonly common: CommonLeaf;
  private readonly s2ap: Slot;
  private readonly xn: Slot;
  private readonly memAttr: Slot;
  private readonly xnx: boolean;
  private readonly memory: readonly MemoryType[];
  private readonly memoryWords: MemoryWords;

  constructor(shape: Shape, layout: readonly Field[]) {
    this.common = new CommonLeaf(layout, COMMON_CLAUSES, fixedShareability(shape));
    this.s2ap = slotOf(layout, 'S2AP');
    this.xn = slotOf(layout, 'XN');
    this.memAttr = slotOf(layout, 'MemAttr');
    this.xnx = shape.features.xnx === true;
    this.memory = shape.fwb ? STAGE2_MEMORY_FWB : STAGE2_MEMORY;
    this.memoryWords = { where: `with HCR_EL2.FWB ${shape.fwb ? 1 : 0}`, source: 'DDI 0487 D8.6.5' };
    this.defaults = leafDefaults('normal', this.memory.indexOf('normal'), this.common.defaultShareability);
  }

  decode(lo: number, hi: number): Attributes {
    const s2ap = takeSlot(this.s2ap, lo, hi);
    const xn = takeSlot(this.xn, lo, hi);
    const memAttr = takeSlot(this.memAttr, lo, hi);
    const [px, ux] = this.executeOf(xn);
    return {
      read: (s2ap & 1) !== 0,
      write: (s2ap & 2) !== 0,
      px,
      ux,
      user: false,
      memory: this.memory[memAttr],
      attrIndex: memAttr,
      shareability: this.common.shareability(lo, hi),
      af: this.common.af(lo, hi),
      dbm: this.common.dbm(lo, hi),
      contiguous: this.common.contiguous(lo, hi),
      nG: false,
      ns: false,
      gp: false,
      software: this.common.software(lo, hi),
    };
  }

  encode(request: AttributeRequest): Outcome<Words> {
    const absent = absentAttribute(request, ['user', 'nG', 'ns', 'gp'], 'DDI 0487 D8.3.1');
    if (absent !== undefined) return absent;
    const want = { ...this.defaults, ...request };
    const memAttr = stage2MemAttr(this.memory, request, this.memoryWords);
    if (memAttr.kind !== 'done') return memAttr;
    const xn = this.xnOf(want.px, want.ux, 'attributes.execute-needs-xnx');
    if (xn.kind !== 'done') return xn;
    const words = this.common.encode(want);
    if (words.kind !== 'done') return words;
    putSlot(words.value, this.s2ap, (want.read ? 1 : 0) + (want.write ? 2 : 0));
    putSlot(words.value, this.xn, xn.value);
    putSlot(words.value, this.memAttr, memAttr.value);
    return words;
  }

  relax(add: Relaxation): Outcome<Change> {
    const set = { lo: 0, hi: 0 };
    const clear = { lo: 0, hi: 0 };
    putSlot(set, this.s2ap, (add.read === true ? 1 : 0) + (add.write === true ? 2 : 0));
    if (add.px !== undefined || add.ux !== undefined) {
      if (this.xnx && (add.px === undefined || add.ux === undefined)) {
        return refused(
          'relax.execute-incomplete',
          'With FEAT_XNX both px and ux must be given: XN[1:0] encodes them together.',
          PERMISSIONS,
        );
      }
      const px = add.px ?? add.ux === true;
      const xn = this.xnOf(px, add.ux ?? px, 'relax.execute-needs-xnx');
      if (xn.kind !== 'done') return xn;
      putSlot(clear, this.xn, this.xn.mask);
      putSlot(set, this.xn, xn.value);
    }
    return done({ ...noChange(), loSet: set.lo, hiClear: clear.hi, hiSet: set.hi });
  }

  /** Raw MemAttr: reserved ones too are of one type only with themselves. */
  memoryKey(lo: number, hi: number): string {
    return String(takeSlot(this.memAttr, lo, hi));
  }

  /** XN[54:53] with FEAT_XNX: 00 both, 01 EL0 only, 10 none, 11 EL1 only; without, bit 54 forbids both. */
  private executeOf(xn: number): readonly [px: boolean, ux: boolean] {
    if (!this.xnx) return xn === 0 ? [true, true] : [false, false];
    const ux = xn === 0b00 || xn === 0b01;
    const px = xn === 0b00 || xn === 0b11;
    return [px, ux];
  }

  private xnOf(px: boolean, ux: boolean, id: string): Outcome<number> {
    if (!this.xnx) {
      if (px === ux) return done(px ? 0 : 1);
      return refused(id, `px ${px} with ux ${ux} needs FEAT_XNX: one XN bit stands for EL1 and EL0 alike.`, PERMISSIONS);
    }
    if (ux) return done(px ? 0b00 : 0b01);
    return done(px ? 0b11 : 0b10);
  }
}
