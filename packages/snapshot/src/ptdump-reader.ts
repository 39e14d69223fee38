import { done, refused, type ByteSource, type Outcome } from '@granule/contract';
import { linesOf } from './lines.js';
import type { PtdumpForm } from './ptdump-attributes.js';

export interface PtdumpLine {
  /** First address; a VA of the upper range as the 64-bit value it is. */
  readonly start: bigint;
  /** Exclusive; 2^64 where the text wraps to 0. */
  readonly end: bigint;
  /** Level as printed: a digit, or PGD, P4D, PUD, PMD, PTE. */
  readonly level: string;
  /** Names of what is set, in the order of the text: `R`, `W`, `PXNUXN`, `AF`, … (`px ux` is two). Empty: invalid. */
  readonly attributes: readonly string[];
  /** The heading above. */
  readonly section?: string;
  /** Line in the text, from 1. */
  readonly line: number;
}

export interface PtdumpText {
  /** Told by what is printed; undefined where no line has attributes. */
  readonly form: PtdumpForm | undefined;
  readonly sections: readonly string[];
  readonly lines: readonly PtdumpLine[];
}

export interface ReadPtdumpOptions {
  /** Lines to read at most; default 1,000,000. */
  readonly maxLines?: number;
}

const RANGE = /^0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})\s+(\d{1,15})([KMGTPE])\s+(-?\d|PGD|P4D|PUD|PMD|PTE)(?:\s(.*))?$/u;
const HEADING = /^---\[ (.{1,200}) \]---$/u;
const UNITS = 'KMGTPE';
const SOURCE = 'Linux arch/arm64/mm/ptdump.c, note_page';

/**
 * Reads a ptdump text: `kernel_page_tables`, or a VM's `stage2_page_tables`, all three versions. Refused:
 * `ptdump.bad-line` (neither a range nor a heading, or a size that is not that of the range), `ptdump.order` (ranges overlap or run backwards),
 * `ptdump.too-long`; the sentence has the line.
 */
export function readPtdump(text: ByteSource | string, options: ReadPtdumpOptions = {}): Outcome<PtdumpText> {
  const { maxLines = 1_000_000 } = options;
  const lines: PtdumpLine[] = [];
  const sections: string[] = [];
  let number = 0;
  let form: PtdumpForm | undefined;
  for (const each of linesOf(text)) {
    number += 1;
    if (number > maxLines) {
      return refused('ptdump.too-long', `The text has more than ${maxLines} lines.`, SOURCE);
    }
    const heading = HEADING.exec(each);
    if (heading !== null) {
      sections.push(heading[1]);
    } else if (each.trim() !== '') {
      const line = parseLine(each, number, sections.at(-1));
      if (line === undefined) {
        return refused('ptdump.bad-line', `Line ${number} is neither a range with its size and level nor a heading.`, SOURCE);
      }
      if (line.start < (lines.at(-1)?.end ?? 0n)) {
        return refused('ptdump.order', `Line ${number} begins before the range above it ends.`, SOURCE);
      }
      form ??= formOf(line);
      lines.push(line);
    }
  }
  return done({ form, sections, lines });
}

function parseLine(text: string, line: number, section: string | undefined): PtdumpLine | undefined {
  const match = RANGE.exec(text);
  if (match === null) {
    return undefined;
  }
  const [, startText, endText, count, unit, level, rest = ''] = match;
  const start = BigInt(`0x${startText}`);
  const end = BigInt(`0x${endText}`) || 1n << 64n;
  if (end - start !== BigInt(count) << BigInt(10 * (UNITS.indexOf(unit) + 1))) {
    return undefined;
  }
  const attributes = rest.split(/\s+/u).filter((each) => each !== '');
  return { start, end, level, attributes, ...(section !== undefined && { section }), line };
}

function formOf({ level, attributes }: PtdumpLine): PtdumpForm | undefined {
  if (attributes.length === 0) {
    return undefined;
  }
  if (/^P/u.test(level)) {
    return 'kernel';
  }
  if (attributes.some((each) => /^(?:px|PXN)/u.test(each))) {
    return 'stage2';
  }
  return attributes.some((each) => each === 'NX' || each === 'x') ? 'stage2-nx' : 'stage2-inverted-x';
}
