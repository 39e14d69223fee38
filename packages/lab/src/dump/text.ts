import { formatSize } from '@granule/geometry/bits';
import { type AddressPrinter, addressPrinter, inputName, outputName, type RegimeTables } from '../image/regime-tables.js';
import { addressDigits, wordDigits } from '../image/digits.js';
import type { Hole, Mapping } from './mappings.js';
import { counted, findingLines, leafNoun, summaryLines, titleLine } from './summary.js';
import type { DumpWriter, Write } from './writer.js';

const RANGE_WIDTH = 37;

const leavesText = (mapping: Mapping): string => `${mapping.leaves} ${leafNoun(mapping.level)}${mapping.leaves === 1 ? '' : 's'}`;

/** One mapping as a row of the text dump, without the end of line. */
export function mappingRow(mapping: Mapping, print: AddressPrinter, permissionWidth = 3): string {
  const { leaf } = mapping;
  const range = `${print(mapping.start)}-${print(mapping.end)}`.padEnd(RANGE_WIDTH);
  const size = formatSize(mapping.end - mapping.start).padStart(7);
  const attributes = leaf.attributes.filter((name) => name !== 'BLK').join(' ');
  const permissions = leaf.permissions.padEnd(permissionWidth);
  const output = addressDigits(mapping.output);
  const type = leaf.type.padEnd(13);
  return `${range} ${size}  ${mapping.level}  ${leavesText(mapping).padEnd(10)}  ${output}  ${permissions}  ${type} ${attributes}`;
}

/** The heading over {@link mappingRow}. */
export function mappingHeading(tables: RegimeTables): string {
  const input = inputName(tables).padEnd(RANGE_WIDTH);
  const permissions = 'PERM'.padEnd(permissionWidthOf(tables) + 1);
  return `${input}    SIZE  L  LEAVES      ${outputName(tables).padEnd(18)}  ${permissions} TYPE          ATTRIBUTES`;
}

/** Columns that permissions take: two exception levels need more. */
export function permissionWidthOf(tables: RegimeTables): number {
  const { regime } = tables.format;
  return regime === 'el10' || regime === 'el20' || regime === 'pl10' ? 15 : 3;
}

export function textWriter(write: Write): DumpWriter {
  let print: AddressPrinter = addressDigits;
  let width = 3;
  const hole = ({ start, end, level, lo, hi, entries, reserved }: Hole): void => {
    if (lo !== 0 || hi !== 0) {
      const what = `${counted(entries, 'entry', 'entries')} ${wordDigits(lo, hi)}, ${reserved ? 'reserved' : 'invalid but not zero'}`;
      write(`${print(start)}-${print(end)} ${formatSize(end - start).padStart(7)}  ${level}  ! ${what}\n`);
    }
  };
  return {
    beginTable(tables) {
      print = addressPrinter(tables);
      width = permissionWidthOf(tables);
      write(`${titleLine(tables)}\n${mappingHeading(tables)}\n`);
    },
    mapping: (mapping) => write(`${mappingRow(mapping, print, width).trimEnd()}\n`),
    hole,
    endTable(_, scan) {
      write(`${[...summaryLines(scan), ...findingLines(scan)].join('\n')}\n`);
    },
  };
}
