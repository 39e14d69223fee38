import { putSlot, takeSlot, type Slot } from '@granule/geometry/bits';
import type { AttributeRequest, Attributes, Change, MemoryType, Shareability } from '../format.js';
import { done, refused, type Outcome, type Refused } from '../outcome.js';
import type { Field, Words } from '../words.js';
import { optionalSlot, slotOf } from './field-codec.js';
import { SHAREABILITY } from './memory-codec.js';

/** Permissions to add in place. */
export interface Relaxation {
  readonly read?: boolean;
  readonly write?: boolean;
  readonly px?: boolean;
  readonly ux?: boolean;
}

/** Attributes of the leaves of one regime. Type and address bits are not theirs. */
export interface LeafCodec {
  readonly defaults: Attributes;
  decode(lo: number, hi: number): Attributes;
  encode(request: AttributeRequest): Outcome<Words>;
  relax(add: Relaxation): Outcome<Change>;
  /** Equal for two leaves exactly where hardware gives them the same memory type. */
  memoryKey(lo: number, hi: number): string;
}

/**
 * What a request leaves out: readable and writable, not executable, accessed, all else off. One literal, so that every format's defaults
 * have one object shape.
 */
export function leafDefaults(memory: MemoryType, attrIndex: number, shareability: Shareability): Attributes {
  return Object.freeze({
    read: true,
    write: true,
    px: false,
    ux: false,
    user: false,
    memory,
    attrIndex,
    shareability,
    af: true,
    dbm: false,
    contiguous: false,
    nG: false,
    ns: false,
    gp: false,
    software: 0,
  });
}

export function noChange(): Change {
  return { loClear: 0, loSet: 0, hiClear: 0, hiSet: 0 };
}

/** Asked for by name, refused by name (`attributes.not-in-regime`): what no descriptor of the regime has. */
export function absentAttribute(want: AttributeRequest, names: readonly (keyof Attributes)[], source: string): Refused | undefined {
  const name = names.find((each) => want[each] === true);
  if (name === undefined) return undefined;
  return refused('attributes.not-in-regime', `Attribute ${name} cannot be true: this descriptor has no such field.`, source);
}

/** Where the fields of {@link CommonLeaf} are described. */
export interface CommonClauses {
  readonly software: string;
  readonly shareability: string;
}

/** The fields that the leaves of both stages share, by their names in the layout: SH, AF, DBM where there is one, Contiguous, Software. */
export class CommonLeaf {
  readonly defaultShareability: Shareability;
  private readonly afSlot: Slot;
  private readonly dbmSlot: Slot | undefined;
  private readonly contiguousSlot: Slot;
  private readonly softwareSlot: Slot;
  /** Absent with DS = 1, where {@link fixed} stands for every leaf. */
  private readonly sh: Slot | undefined;
  private readonly fixed: Shareability;
  private readonly clauses: CommonClauses;

  /** @param fixed what every leaf is where the layout has no SH */
  constructor(layout: readonly Field[], clauses: CommonClauses, fixed: Shareability = 'inner') {
    this.afSlot = slotOf(layout, 'AF');
    this.dbmSlot = optionalSlot(layout, 'DBM');
    this.contiguousSlot = slotOf(layout, 'Contiguous');
    this.softwareSlot = slotOf(layout, 'Software');
    this.sh = optionalSlot(layout, 'SH');
    this.fixed = fixed;
    this.defaultShareability = this.sh === undefined ? fixed : 'inner';
    this.clauses = clauses;
  }

  af(lo: number, hi: number): boolean {
    return takeSlot(this.afSlot, lo, hi) !== 0;
  }

  dbm(lo: number, hi: number): boolean {
    return this.dbmSlot !== undefined && takeSlot(this.dbmSlot, lo, hi) !== 0;
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

  /** Refused: `attributes.software`, `attributes.shareability`. That there is no DBM is the caller's to refuse. */
  encode({ af, dbm, contiguous, software, shareability }: Attributes): Outcome<Words> {
    if (!Number.isInteger(software) || software < 0 || software > 15) {
      return refused('attributes.software', `Software bits ${software} are not an integer from 0 to 15.`, this.clauses.software);
    }
    if (this.sh === undefined && shareability !== this.fixed) {
      const sentence = `Shareability ${shareability} cannot be: with DS = 1 every leaf is ${this.fixed} shareable, by TCR or VTCR.`;
      return refused('attributes.shareability', sentence, this.clauses.shareability);
    }
    const words = { lo: 0, hi: 0 };
    putSlot(words, this.afSlot, af ? 1 : 0);
    if (this.dbmSlot !== undefined) putSlot(words, this.dbmSlot, dbm ? 1 : 0);
    putSlot(words, this.contiguousSlot, contiguous ? 1 : 0);
    putSlot(words, this.softwareSlot, software);
    if (this.sh !== undefined) putSlot(words, this.sh, SHAREABILITY.indexOf(shareability));
    return done(words);
  }
}
