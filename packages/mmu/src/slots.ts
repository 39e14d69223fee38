import { ENTRY, type Field, type Format } from '@granule/contract';

/** A field of a descriptor inside one half, as numbers; mask 0 where the format has none, which reads as 0. */
export interface Slot {
  /** 0: the low half, 1: the high one. */
  readonly half: 0 | 1;
  readonly shift: number;
  /** Before shifting. */
  readonly mask: number;
}

const NONE: Slot = { half: 0, shift: 0, mask: 0 };

function slot(layout: readonly Field[], ...names: readonly string[]): Slot {
  const field = layout.find(({ name }) => names.includes(name));
  if (field === undefined) return NONE;
  return { half: field.lsb < 32 ? 0 : 1, shift: field.lsb & 31, mask: (2 ** (field.msb - field.lsb + 1) - 1) | 0 };
}

export function take({ half, shift, mask }: Slot, lo: number, hi: number): number {
  return ((half === 0 ? lo : hi) >>> shift) & mask;
}

/** The fields that decide about access and memory, where this format has them: read off its layouts by Arm's names. */
export interface LeafSlots {
  readonly ap2: Slot;
  readonly ap1: Slot;
  /** UXN; XN where a regime or version has but one. */
  readonly uxn: Slot;
  readonly pxn: Slot;
  readonly s2ap: Slot;
  /** Stage 2: XN[1:0], or bit 54 alone. */
  readonly xn: Slot;
  readonly memAttr: Slot;
  readonly attrIndx: Slot;
  readonly sh: Slot;
  readonly dbm: Slot;
  readonly nG: Slot;
  readonly fnXS: Slot;
  readonly apTable: Slot;
  readonly uxnTable: Slot;
  readonly pxnTable: Slot;
  /** The regime has one privilege level: APTable[1] alone. */
  readonly oneBitApTable: boolean;
}

export function slotsOf(format: Format): LeafSlots {
  const leaf = format.layout(ENTRY.leaf, 3);
  const table = format.layout(ENTRY.table, 2);
  return {
    ap2: slot(leaf, 'AP[2]'),
    ap1: slot(leaf, 'AP[1]'),
    uxn: slot(leaf, 'UXN', 'XN'),
    pxn: slot(leaf, 'PXN'),
    s2ap: slot(leaf, 'S2AP', 'HAP'),
    xn: slot(leaf, 'XN'),
    memAttr: slot(leaf, 'MemAttr'),
    attrIndx: slot(leaf, 'AttrIndx'),
    sh: slot(leaf, 'SH'),
    dbm: slot(leaf, 'DBM'),
    nG: slot(leaf, 'nG'),
    fnXS: slot(leaf, 'FnXS'),
    apTable: slot(table, 'APTable', 'APTable[1]'),
    uxnTable: slot(table, 'UXNTable', 'XNTable'),
    pxnTable: slot(table, 'PXNTable'),
    oneBitApTable: table.some(({ name }) => name === 'APTable[1]'),
  };
}
