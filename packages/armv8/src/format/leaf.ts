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
import type { Shareability } from '@granule/contract';
import { hasField, putSlot, slotOf, takeSlot, type Slot } from '../fields.js';
import { SHAREABILITY } from './memory-type.js';
import type { Shape } from './shape.js';

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

/** The fields that leaves of both stages share: SH, AF, DBM, Contiguous, software bits. */
export class CommonLeaf {
  readonly defaultShareability: Shareability;
  private readonly afSlot: Slot;
  private readonly dbmSlot: Slot;
  private readonly contiguousSlot: Slot;
  private readonly softwareSlot: Slot;
  /** Absent with DS = 1, where {@link fixed} stands for every leaf. */
  private readonly sh: Slot | undefined;
  private readonly fixed: Shareability;

  constructor(shape: Shape, layout: readonly Field[]) {
    this.afSlot = slotOf(layout, 'AF');
    this.dbmSlot = slotOf(layout, 'DBM');
    this.contiguousSlot = slotOf(layout, 'Contiguous');
    this.softwareSlot = slotOf(layout, 'Software');
    this.sh = hasField(layout, 'SH') ? slotOf(layout, 'SH') : undefined;
    this.fixed = SHAREABILITY[shape.sh]!;
    this.defaultShareability = this.sh === undefined ? this.fixed : 'inner';
  }

  af(lo: number, hi: number): boolean {
    return takeSlot(this.afSlot, lo, hi) !== 0;
  }

  dbm(lo: number, hi: number): boolean {
    return takeSlot(this.dbmSlot, lo, hi) !== 0;
  }

  contiguous(lo: number, hi: number): boolean {
    return takeSlot(this.contiguousSlot, lo, hi) !== 0;
  }

  software(lo: number, hi: number): number {
    return takeSlot(this.softwareSlot, lo, hi);
  }

  shareability(lo: number, hi: number): Shareability {
    return this.sh === undefined ? this.fixed : SHAREABILITY[takeSlot(this.sh, lo, hi)];
  }

  encode(want: Attributes): Outcome<Words> {
    const { software, shareability } = want;
    if (!Number.isInteger(software) || software < 0 || software > 15) {
      return refused('attributes.software', `Software bits ${software} are not an integer from 0 to 15.`, 'DDI 0487 D8.7');
    }
    if (this.sh === undefined && shareability !== this.fixed) {
      const sentence = `Shareability ${shareability} cannot be: with DS = 1 every leaf is ${this.fixed} shareable, by TCR or VTCR.`;
      return refused('attributes.shareability', sentence, 'DDI 0487 D8.6.2');
    }
    const words = { lo: 0, hi: 0 };
    putSlot(words, this.afSlot, want.af ? 1 : 0);
    putSlot(words, this.dbmSlot, want.dbm ? 1 : 0);
    putSlot(words, this.contiguousSlot, want.contiguous ? 1 : 0);
    putSlot(words, this.softwareSlot, software);
    if (this.sh !== undefined) putSlot(words, this.sh, SHAREABILITY.indexOf(shareability));
    return done(words);
  }
}
