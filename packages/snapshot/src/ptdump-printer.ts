import type { Level } from '@granule/geometry';
import { pow2, type InputAddress } from '@granule/geometry/bits';
import { attributesText, PTDUMP_FORMS, type PtdumpForm } from './ptdump-attributes.js';

/** A heading, printed before the first line at or after its address. */
export interface PtdumpMarker {
  readonly start: bigint;
  readonly name: string;
}

const marker = (start: bigint, name: string): PtdumpMarker => ({ start, name });

/**
 * Where the sections of `kernel_page_tables` begin, by kernel, granule and VA size. Linux arch/arm64/include/asm/memory.h (PAGE_OFFSET, PAGE_END, MODULES_VADDR,
 * VMEMMAP_START, PCI_IO_START), pgtable.h (VMALLOC_START, VMALLOC_END) and fixmap.h; KASAN off. FIXADDR_TOT_START depends on the kernel's configuration: this is
 * the one of the recorded runs.
 */
export const PTDUMP_LAYOUTS = {
  'linux-7.2-4k-48': [
    marker(0xffff_0000_0000_0000n, 'Linear Mapping start'),
    marker(0xffff_8000_0000_0000n, 'Linear Mapping end'),
    marker(0xffff_8000_0000_0000n, 'Modules start'),
    marker(0xffff_8000_8000_0000n, 'Modules end'),
    marker(0xffff_8000_8000_0000n, 'vmalloc() area'),
    marker(0xffff_fdff_bf80_0000n, 'vmalloc() end'),
    marker(0xffff_fdff_c000_0000n, 'vmemmap start'),
    marker(0xffff_ffff_c000_0000n, 'vmemmap end'),
    marker(0xffff_ffff_c080_0000n, 'PCI I/O start'),
    marker(0xffff_ffff_c180_0000n, 'PCI I/O end'),
    marker(0xffff_ffff_ff42_a000n, 'Fixmap start'),
    marker(0xffff_ffff_ff80_0000n, 'Fixmap end'),
  ],
} as const satisfies Record<string, readonly PtdumpMarker[]>;
export type PtdumpLayout = keyof typeof PTDUMP_LAYOUTS;

export interface PtdumpPrinterOptions {
  readonly form: PtdumpForm;
  /** log2 of the granule: 12, 14, 16. */
  readonly granuleShift: number;
  readonly iaBits: number;
  readonly startLevel: Level;
  /** Addresses are offsets from the start of the upper VA range, 2^64 − 2^iaBits, and print as VAs. */
  readonly upper?: boolean;
  /** Headings in ascending order; default for stage 2 `Guest IPA` at 0, else none. */
  readonly markers?: readonly PtdumpMarker[];
}

export interface PtdumpPrinter {
  /**
   * `count` neighbouring entries of this level from input address `start` on, all alike in the attributes that the form prints. Entries come in ascending order
   * and without gaps; those that are invalid are noted too, table entries are not: their entries follow instead.
   */
  note(start: InputAddress, level: Level, lo: number, hi: number, count?: number): void;
  /** After the last entry. The kernel's own dump now prints the run that is still open; the stage-2 dump never prints it. */
  finish(): void;
}

const UNITS = 'KMGTPE';
const TWO_64 = 1n << 64n;

/**
 * Prints a table as Linux's ptdump does (arch/arm64/mm/ptdump.c, note_page; kvm/ptdump.c): entries that are equal in level and printed attributes are one line,
 * whatever their output addresses, and a line ends where a section begins. Lines come without their ends, as soon as they are complete.
 */
export function ptdumpPrinter(options: PtdumpPrinterOptions, write: (line: string) => void): PtdumpPrinter {
  return new Printer(options, write);
}

class Printer implements PtdumpPrinter {
  readonly #options: PtdumpPrinterOptions;
  readonly #write: (line: string) => void;
  /** Headings with their addresses as offsets, which are exact numbers. */
  readonly #markers: readonly { readonly start: InputAddress; readonly name: string }[];
  readonly #base: bigint;
  readonly #maskLo: number;
  readonly #maskHi: number;
  #marker = 0;
  #open = false;
  #start: InputAddress = 0;
  #level: Level = 0;
  #lo = 0;
  #hi = 0;

  constructor(options: PtdumpPrinterOptions, write: (line: string) => void) {
    this.#options = options;
    this.#write = write;
    this.#base = options.upper === true ? TWO_64 - (1n << BigInt(options.iaBits)) : 0n;
    const markers = options.markers ?? (options.form === 'kernel' ? [] : [{ start: 0n, name: 'Guest IPA' }]);
    this.#markers = markers.map(({ start, name }) => ({ start: Number(start - this.#base), name }));
    const bits = PTDUMP_FORMS[options.form];
    this.#maskLo = bits.reduce((mask, { maskLo }) => mask | maskLo, 0);
    this.#maskHi = bits.reduce((mask, { maskHi }) => mask | maskHi, 0);
  }

  note(start: InputAddress, level: Level, lo: number, hi: number, count = 1): void {
    const maskedLo = lo & this.#maskLo;
    const maskedHi = hi & this.#maskHi;
    if (!this.#open) {
      this.#open = true;
      this.#begin(start, level, maskedLo, maskedHi);
      this.#headings(start);
    } else if (maskedLo !== this.#lo || maskedHi !== this.#hi || level !== this.#level || this.#reaches(start)) {
      this.#print(start);
      this.#headings(start);
      this.#begin(start, level, maskedLo, maskedHi);
    }
    // A section that begins inside the run splits it at the next entry.
    const span = this.#span(level);
    for (let next = this.#nextMarker(); next < start + count * span; next = this.#nextMarker()) {
      const at = start + Math.ceil((next - start) / span) * span;
      if (at >= start + count * span) {
        break;
      }
      this.#print(at);
      this.#headings(at);
      this.#begin(at, level, maskedLo, maskedHi);
    }
  }

  finish(): void {
    if (this.#open && this.#options.form === 'kernel') {
      this.#print(pow2(this.#options.iaBits));
    }
    this.#open = false;
  }

  #begin(start: InputAddress, level: Level, lo: number, hi: number): void {
    this.#start = start;
    this.#level = level;
    this.#lo = lo;
    this.#hi = hi;
  }

  #nextMarker(): InputAddress {
    return this.#marker < this.#markers.length ? this.#markers[this.#marker].start : Infinity;
  }

  #reaches(address: InputAddress): boolean {
    return address >= this.#nextMarker();
  }

  #headings(address: InputAddress): void {
    while (this.#reaches(address)) {
      this.#write(`---[ ${this.#markers[this.#marker].name} ]---`);
      this.#marker += 1;
    }
  }

  #span(level: Level): number {
    const { granuleShift } = this.#options;
    return pow2(granuleShift + (3 - level) * (granuleShift - 3));
  }

  #print(end: InputAddress): void {
    const attributes = this.#lo === 0 && this.#hi === 0 ? '' : attributesText(PTDUMP_FORMS[this.#options.form], this.#lo, this.#hi);
    const size = sizeText(end - this.#start).padStart(10);
    this.#write(`${this.#address(this.#start)}-${this.#address(end)}   ${size} ${this.#levelName()}${attributes}`);
  }

  /** The end of the upper range wraps to 0, as in the kernel. */
  #address(offset: InputAddress): string {
    return `0x${((this.#base + BigInt(offset)) % TWO_64).toString(16).padStart(16, '0')}`;
  }

  #levelName(): string {
    if (this.#options.form !== 'kernel') {
      return String(this.#level);
    }
    return kernelLevelName(this.#level, this.#options.startLevel);
  }
}

/** Linux's name of a level; the topmost is PGD whatever is folded into it. */
export function kernelLevelName(level: Level, startLevel: Level): string {
  return level === startLevel ? 'PGD' : ['PGD', 'P4D', 'PUD', 'PMD', 'PTE'][level + 1];
}

/** A size of at least 1 KiB in the largest unit that divides it, as note_page prints it. */
function sizeText(bytes: number): string {
  let size = bytes / 1024;
  let unit = 0;
  while (size % 1024 === 0 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size}${UNITS[unit]}`;
}
