import {
  done,
  refused,
  type AttributeRequest,
  type Attributes,
  type Change,
  type Field,
  type Outcome,
  type Shareability,
  type Words,
} from '@granule/contract';
import { putSlot, slotOf, takeSlot, type Slot } from '../fields.js';
import { SHAREABILITY } from './memory-type.js';

/** Permissions to add in place. */
export interface Relaxation {
  readonly read?: boolean;
  readonly write?: boolean;
  readonly px?: boolean;
  readonly ux?: boolean;
}

/** What the two stages do differently about a leaf's attributes. Type and address bits are not theirs. */
export interface LeafCodec {
  readonly defaults: Attributes;
  decode(lo: number, hi: number): Attributes;
  encode(request: AttributeRequest): Outcome<Words>;
  relax(add: Relaxation): Outcome<Change>;
  /** Equal for two leaves exactly where hardware gives them the same memory type. */
  memoryKey(lo: number, hi: number): string;
}

export function noChange(): Change {
  return { loClear: 0, loSet: 0, hiClear: 0, hiSet: 0 };
}

/** Asked for by name, refused by name: what no ARMv7 descriptor of the regime has. */
export function absentAttribute(want: Attributes, names: readonly (keyof Attributes)[]): Outcome<undefined> {
  const name = names.find((each) => want[each] === true);
  if (name === undefined) return done(undefined);
  return refused('attributes.not-in-regime', `Attribute ${name} cannot be true: this descriptor has no such field.`, 'DDI 0406C B3.6.1');
}

/** The fields that leaves of both stages share: SH, AF, Contiguous, software bits. */
export class CommonLeaf {
  private readonly afSlot: Slot;
  private readonly contiguousSlot: Slot;
  private readonly softwareSlot: Slot;
  private readonly sh: Slot;

  constructor(layout: readonly Field[]) {
    this.afSlot = slotOf(layout, 'AF');
    this.contiguousSlot = slotOf(layout, 'Contiguous');
    this.softwareSlot = slotOf(layout, 'Software');
    this.sh = slotOf(layout, 'SH');
  }

  af(lo: number, hi: number): boolean {
    return takeSlot(this.afSlot, lo, hi) !== 0;
  }

  contiguous(lo: number, hi: number): boolean {
    return takeSlot(this.contiguousSlot, lo, hi) !== 0;
  }

  software(lo: number, hi: number): number {
    return takeSlot(this.softwareSlot, lo, hi);
  }

  shareability(lo: number, hi: number): Shareability {
    return SHAREABILITY[takeSlot(this.sh, lo, hi)];
  }

  encode({ af, contiguous, software, shareability }: Attributes): Outcome<Words> {
    if (!Number.isInteger(software) || software < 0 || software > 15) {
      return refused('attributes.software', `Software bits ${software} are not an integer from 0 to 15.`, 'DDI 0406C B3.6.2');
    }
    const words = { lo: 0, hi: 0 };
    putSlot(words, this.afSlot, af ? 1 : 0);
    putSlot(words, this.contiguousSlot, contiguous ? 1 : 0);
    putSlot(words, this.softwareSlot, software);
    putSlot(words, this.sh, SHAREABILITY.indexOf(shareability));
    return done(words);
  }
}
