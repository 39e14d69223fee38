import {
  done,
  refused,
  type AttributeRequest,
  type Attributes,
  type Change,
  type Field,
  type Outcome,
  type Words,
} from '@granule/contract';
import { putSlot, slotMask, slotOf, takeSlot, type Slot } from '../fields.js';
import { absentAttribute, CommonLeaf, noChange, type LeafCodec, type Relaxation } from './leaf.js';
import { STAGE2_MEMORY } from './memory-type.js';

const MEMORY = 'DDI 0406C B3.8';
const ONE_XN = 'one XN bit stands for PL1 and PL0 alike';

/** Attributes of a stage-2 leaf: HAP, MemAttr and one XN bit. */
export class Stage2Leaf implements LeafCodec {
  readonly defaults: Attributes = Object.freeze({
    read: true,
    write: true,
    px: false,
    ux: false,
    user: false,
    memory: 'normal',
    attrIndex: STAGE2_MEMORY.indexOf('normal'),
    shareability: 'inner',
    af: true,
    dbm: false,
    contiguous: false,
    nG: false,
    ns: false,
    gp: false,
    software: 0,
  });
  private readonly common: CommonLeaf;
  private readonly hap: Slot;
  private readonly xn: Slot;
  private readonly memAttr: Slot;

  constructor(layout: readonly Field[]) {
    this.common = new CommonLeaf(layout);
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
    const absent = absentAttribute(want, ['user', 'dbm', 'nG', 'ns', 'gp']);
    if (absent.kind !== 'done') return absent;
    if (want.px !== want.ux) {
      return refused('attributes.not-in-regime', `px ${want.px} with ux ${want.ux} cannot be: ${ONE_XN}.`, 'DDI 0406C B3.7.2');
    }
    const memAttr = this.memAttrOf(request);
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

  private memAttrOf({ memory, attrIndex }: AttributeRequest): Outcome<number> {
    if (attrIndex !== undefined) {
      if (!Number.isInteger(attrIndex) || attrIndex < 0 || attrIndex > 15) {
        return refused('attributes.attr-index', `attrIndex ${attrIndex} is not a stage-2 MemAttr from 0 to 15.`, MEMORY);
      }
      if (memory !== undefined && memory !== STAGE2_MEMORY[attrIndex]) {
        const means = STAGE2_MEMORY[attrIndex];
        return refused('attributes.memory-conflict', `attrIndex ${attrIndex} at stage 2 is MemAttr ${means}, not ${memory}.`, MEMORY);
      }
      return done(attrIndex);
    }
    const wanted = memory ?? this.defaults.memory;
    const found = wanted === 'reserved' ? -1 : STAGE2_MEMORY.indexOf(wanted);
    if (found >= 0) return done(found);
    return refused('attributes.memory-type', `No stage-2 MemAttr is ${wanted}.`, MEMORY);
  }
}
