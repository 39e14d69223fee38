import { done, refused, type AttributeRequest, type Attributes, type Change, type Field, type Outcome, type Words } from '@granule/contract';
import {
  absentAttribute,
  CommonLeaf,
  leafDefaults,
  noChange,
  optionalSlot,
  plainMairMemory,
  slotOf,
  Stage1Memory,
  type LeafCodec,
  type Relaxation,
} from '@granule/contract/codec';
import { putSlot, slotMask, takeSlot, type Slot } from '@granule/geometry/bits';
import { COMMON_CLAUSES } from './layouts.js';
import type { Shape } from './shape.js';

const EXECUTE_NEVER = 'DDI 0406C B3.7.2';

/**
 * Attributes of a stage-1 leaf. XN forbids execution at PL1 and PL0, PXN at PL1 alone; so `ux` is not XN, `px` is neither XN nor PXN, and
 * code for PL1 alone cannot be said. A leaf that is executable at neither is encoded as XN = 1, PXN = 0 (Linux PAGE_KERNEL). `pl2` has one
 * XN bit and AP[1] RES1.
 */
export class Stage1Leaf implements LeafCodec {
  readonly defaults: Attributes;
  private readonly common: CommonLeaf;
  private readonly readOnly: Slot;
  private readonly xn: Slot;
  /** Of `pl10` alone. */
  private readonly two: { readonly user: Slot; readonly nG: Slot; readonly pxn: Slot } | undefined;
  /** Of `pl2` alone. */
  private readonly res1: Slot | undefined;
  private readonly ns: Slot;
  private readonly attrIndx: Slot;
  private readonly memory: Stage1Memory;

  constructor({ regime, mair }: Shape, layout: readonly Field[]) {
    const slot = (name: string): Slot => slotOf(layout, name);
    this.common = new CommonLeaf(layout, COMMON_CLAUSES);
    this.readOnly = slot('AP[2]');
    this.xn = slot('XN');
    this.two = regime === 'pl10' ? { user: slot('AP[1]'), nG: slot('nG'), pxn: slot('PXN') } : undefined;
    this.res1 = optionalSlot(layout, 'RES1');
    this.ns = slot('NS');
    this.attrIndx = slot('AttrIndx');
    this.memory = new Stage1Memory(mair, plainMairMemory, { where: 'MAIR0 and MAIR1', source: 'DDI 0406C B3.8' });
    const attrIndex = this.memory.defaultIndex;
    this.defaults = leafDefaults(this.memory.types[attrIndex], attrIndex, 'inner');
  }

  decode(lo: number, hi: number): Attributes {
    const attrIndex = takeSlot(this.attrIndx, lo, hi);
    const set = (slot: Slot | undefined): boolean => slot !== undefined && takeSlot(slot, lo, hi) !== 0;
    const ux = !set(this.xn);
    return {
      read: true,
      write: !set(this.readOnly),
      px: ux && !set(this.two?.pxn),
      ux,
      user: set(this.two?.user),
      memory: this.memory.types[attrIndex],
      attrIndex,
      shareability: this.common.shareability(lo, hi),
      af: this.common.af(lo, hi),
      dbm: false,
      contiguous: this.common.contiguous(lo, hi),
      nG: set(this.two?.nG),
      ns: set(this.ns),
      gp: false,
      software: this.common.software(lo, hi),
    };
  }

  encode(request: AttributeRequest): Outcome<Words> {
    const want = { ...this.defaults, ...request };
    const absent = absentAttribute(want, this.two === undefined ? ['dbm', 'gp', 'user', 'nG'] : ['dbm', 'gp'], 'DDI 0406C B3.6.1');
    if (absent !== undefined) return absent;
    if (!want.read) {
      const sentence = 'Attribute read cannot be false: a stage-1 descriptor has no permission that forbids reading alone.';
      return refused('attributes.not-in-regime', sentence, 'DDI 0406C B3.7.1');
    }
    const misfit = this.executeMisfit(want.px, want.ux);
    if (misfit !== undefined) return refused('attributes.not-in-regime', misfit, EXECUTE_NEVER);
    const attrIndex = this.memory.indexOf(request);
    if (attrIndex.kind !== 'done') return attrIndex;
    const words = this.common.encode(want);
    if (words.kind !== 'done') return words;
    putSlot(words.value, this.readOnly, want.write ? 0 : 1);
    putSlot(words.value, this.xn, want.ux ? 0 : 1);
    if (this.two !== undefined) {
      putSlot(words.value, this.two.pxn, want.ux && !want.px ? 1 : 0);
      putSlot(words.value, this.two.user, want.user ? 1 : 0);
      putSlot(words.value, this.two.nG, want.nG ? 1 : 0);
    }
    if (this.res1 !== undefined) putSlot(words.value, this.res1, 1);
    putSlot(words.value, this.ns, want.ns ? 1 : 0);
    putSlot(words.value, this.attrIndx, attrIndex.value);
    return words;
  }

  /** Refused: `relax.not-in-regime`, `relax.execute-incomplete`: in `pl10` XN bears on both privileges, so both must be given. */
  relax({ write, px, ux }: Relaxation): Outcome<Change> {
    const loClear = write === true ? slotMask(this.readOnly).lo : 0;
    if (px === undefined && ux === undefined) return done({ ...noChange(), loClear });
    const xn = slotMask(this.xn).hi;
    const user = ux ?? (this.two === undefined ? px : undefined);
    const privileged = px ?? (this.two === undefined ? ux : undefined);
    if (user === undefined || privileged === undefined) {
      const sentence = 'In pl10 both px and ux must be given: XN forbids execution at PL1 and PL0 together.';
      return refused('relax.execute-incomplete', sentence, EXECUTE_NEVER);
    }
    const misfit = this.executeMisfit(privileged, user);
    if (misfit !== undefined) return refused('relax.not-in-regime', misfit, EXECUTE_NEVER);
    if (!user) return done({ ...noChange(), loClear, hiSet: xn });
    const pxn = this.two === undefined ? 0 : slotMask(this.two.pxn).hi;
    return done({ ...noChange(), loClear, hiClear: privileged ? xn + pxn : xn, hiSet: privileged ? 0 : pxn });
  }

  memoryKey(lo: number, hi: number): string {
    return this.memory.key(takeSlot(this.attrIndx, lo, hi));
  }

  private executeMisfit(px: boolean, ux: boolean): string | undefined {
    if (this.two === undefined && px !== ux) return `px ${px} with ux ${ux} cannot be: pl2 has one XN bit.`;
    return px && !ux ? 'px true with ux false cannot be: XN forbids execution at PL1 too.' : undefined;
  }
}
