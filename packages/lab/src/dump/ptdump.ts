import { type PtdumpMarker, type PtdumpPrinter, PTDUMP_LAYOUTS, ptdumpPrinter } from '@granule/snapshot';
import { firstAddress, virtualBits } from '../image/addresses.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { DumpWriter, Write } from './writer.js';

/** Section headings of a kernel's own tables: those of the layout with this granule and VA size, where there is one. */
function markersOf(tables: RegimeTables): readonly PtdumpMarker[] {
  const { upper, geometry } = tables.format;
  return upper && geometry.granule === '4K' && geometry.iaBits === 48 ? PTDUMP_LAYOUTS['linux-7.2-4k-48'] : [];
}

function printerOf(tables: RegimeTables, write: Write): PtdumpPrinter {
  const { geometry, upper } = tables.format;
  const { pageShift: granuleShift, iaBits, startLevel } = geometry;
  const line = (text: string): void => write(`${text}\n`);
  const common = { granuleShift, iaBits, startLevel, upper: upper && virtualBits(tables.format) === 64 };
  return geometry.stage === 2
    ? ptdumpPrinter({ ...common, form: 'stage2' }, line)
    : ptdumpPrinter({ ...common, form: 'kernel', markers: markersOf(tables) }, line);
}

/** Text as the kernel's own ptdump prints it: `kernel_page_tables` for stage 1, `stage2_page_tables` for stage 2. */
export function ptdumpWriter(write: Write): DumpWriter {
  let printer: PtdumpPrinter | undefined;
  /** The printer knows upper ranges of 64 bits alone: those of 32 are plain addresses to it. */
  let first = 0;
  return {
    beginTable(tables) {
      printer = printerOf(tables, write);
      first = virtualBits(tables.format) === 64 ? 0 : Number(firstAddress(tables));
    },
    mapping: ({ start, level, lo, hi, leaves }) => printer?.note(first + start, level, lo, hi, leaves),
    hole: ({ start, level, lo, hi, entries }) => printer?.note(first + start, level, lo, hi, entries),
    endTable: () => printer?.finish(),
  };
}
