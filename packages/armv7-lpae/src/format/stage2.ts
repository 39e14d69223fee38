import { done, refused, type AttributeRequest, type Attributes, type Change, type Field, type Outcome, type Words } from '@granule/contract';
import {
  absentAttribute,
  CommonLeaf,
  leafDefaults,
  noChange,
  slotOf,
  STAGE2_MEMORY,
  stage2MemAttr,
  type LeafCodec,
  type Relaxation,
} from '@granule/contract/codec';
import { putSlot, slotMask, takeSlot, type Slot } from '@granule/geometry/bits';
import { COMMON_CLAUSES } from './layouts.js';

const MEMORY = { where: '', source: 'DDI 0406C B3.8' } as const;
const ONE_XN = 'one XN bit stands for PL1 and PL0 alike';

/** Attributes of a stage-2 leaf: HAP, MemAttr and one XN bit. */
export class Stage2Leaf implements LeafCodec {
  readonly defaults: Attributes = leafDefaults('normal', STAGE2_MEMORY.indexOf('normal'), 'inner');
  private readonly common: CommonLeaf;
  private readonly hap: Slot;
  private readonly xn: Slot;
  private readonly memAttr: Slot;

  constructor(layout: readonly Field[]) {
    this.common = new CommonLeaf(layout, COMMON_CLAUSES);
    this.hap = slotOf(layout, 'HAP');
    this.xn = slotOf(layout, 'XN');
    this.memAttr = slotOf(layout, 'MemAttr');
  }

  decode(lo: number, hi: number): Attributes {
    const hap = takeSlot(this.hap, lo, hi);
    const memAttr = takeSlot(this.memAttr, lo, hi);
    const executable = takeSlot(this.xn, lo, hi) === 0;
    return {
      read: (hap & 1) !== 0,
      write: (hap & 2) !== 0,
      px: executable,
      ux: executable,
      user: false,
      memory: STAGE2_MEMORY[memAttr],
      attrIndex: memAttr,
      shareability: this.common.shareability(lo, hi),
      af: this.common.af(lo, hi),
      dbm: false,
      contiguous: this.common.contiguous(lo, hi),
      nG: false,
      ns: false,
      gp: false,
      software: this.common.software(lo, hi),
    };
  }

  encode(request: AttributeRequest): Outcome<Words> {
    const want = { ...this.defaults, ...request };
    const absent = absentAttribute(want, ['user', 'dbm', 'nG', 'ns', 'gp'], 'DDI 0406C B3.6.1');
    if (absent !== undefined) return absent;
    if (want.px !== want.ux) {
      return refused('attributes.not-in-regime', `px ${want.px} with ux ${want.ux} cannot be: ${ONE_XN}.`, 'DDI 0406C B3.7.2');
    }
    const memAttr = stage2MemAttr(STAGE2_MEMORY, request, MEMORY);
    if (memAttr.kind !== 'done') return memAttr;
    const words = this.common.encode(want);
    if (words.kind !== 'done') return words;
    putSlot(words.value, this.hap, (want.read ? 1 : 0) + (want.write ? 2 : 0));
    putSlot(words.value, this.xn, want.px ? 0 : 1);
    putSlot(words.value, this.memAttr, memAttr.value);
    return words;
  }

  relax({ read, write, px, ux }: Relaxation): Outcome<Change> {
    const set = { lo: 0, hi: 0 };
    putSlot(set, this.hap, (read === true ? 1 : 0) + (write === true ? 2 : 0));
    const executable = px ?? ux;
    if (executable === undefined) return done({ ...noChange(), loSet: set.lo });
    if ((ux ?? executable) !== executable) {
      return refused('relax.not-in-regime', `px ${px} with ux ${ux} cannot be: ${ONE_XN}.`, 'DDI 0406C B3.7.2');
    }
    const xn = slotMask(this.xn).hi;
    return done({ ...noChange(), loSet: set.lo, hiClear: executable ? xn : 0, hiSet: executable ? 0 : xn });
  }

  /** Raw MemAttr: reserved ones too are of one type only with themselves. */
  memoryKey(lo: number, hi: number): string {
    return String(takeSlot(this.memAttr, lo, hi));
  }
}
