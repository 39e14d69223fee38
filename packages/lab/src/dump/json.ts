import { hex } from '@granule/geometry/bits';
import { type AddressPrinter, addressPrinter, type RegimeTables } from '../image/regime-tables.js';
import { addressDigits, wordDigits } from '../image/digits.js';
import type { Scan } from './mappings.js';
import type { DumpWriter, Write } from './writer.js';

/** What a dump says of a table besides its mappings. */
export function tablesJson(tables: RegimeTables): Record<string, unknown> {
  const { granule, iaBits, oaBits, startLevel, entryTables } = tables.format.geometry;
  return {
    regime: tables.name,
    from: tables.from,
    ...(tables.through === undefined ? {} : { through: tables.through.name }),
    root: hex(tables.root),
    upper: tables.format.upper,
    granule,
    inputBits: iaBits,
    outputBits: oaBits,
    startLevel,
    entryTables,
  };
}

const byLevel = (counts: readonly number[]): Record<string, number> =>
  Object.fromEntries(counts.flatMap((count, i) => (count === 0 ? [] : [[String(i - 1), count]])));

export function scanJson(scan: Scan): Record<string, unknown> {
  return {
    summary: {
      mappings: scan.mappings,
      leavesByLevel: byLevel(scan.leaves),
      bytesMapped: scan.bytesMapped,
      tablesByLevel: byLevel(scan.tables),
      bytesOfTables: scan.bytesOfTables,
      invalidNotZero: scan.annotated,
      complete: scan.complete,
    },
    findings: scan.findings,
    moreFindings: scan.moreFindings,
  };
}

/** One object, `granule-dump/1`, written row by row. */
export function jsonWriter(write: Write): DumpWriter {
  let print: AddressPrinter = addressDigits;
  let tableComma = '';
  let rowComma = '';
  return {
    begin: () => write('{"schema":"granule-dump/1","tables":['),
    beginTable(tables) {
      print = addressPrinter(tables);
      const head = JSON.stringify(tablesJson(tables)).slice(0, -1);
      write(`${tableComma}\n${head},"mappings":[`);
      tableComma = ',';
      rowComma = '';
    },
    mapping({ start, end, level, output, lo, hi, leaves, leaf }) {
      const names = leaf.attributes.map((name) => `"${name}"`).join(',');
      const what = `"permissions":"${leaf.permissions}","type":"${leaf.type}","attributes":[${names}]`;
      const where = `"start":"${print(start)}","end":"${print(end)}","level":${level},"output":"${addressDigits(output)}"`;
      write(`${rowComma}\n{${where},${what},"descriptor":"${wordDigits(lo, hi)}","leaves":${leaves}}`);
      rowComma = ',';
    },
    hole({ start, end, level, lo, hi, entries, reserved }) {
      if (lo !== 0 || hi !== 0) {
        const where = `"start":"${print(start)}","end":"${print(end)}","level":${level}`;
        write(`${rowComma}\n{${where},"invalid":true,"reserved":${reserved},"descriptor":"${wordDigits(lo, hi)}","entries":${entries}}`);
        rowComma = ',';
      }
    },
    endTable: (_, scan) => write(`\n],${JSON.stringify(scanJson(scan)).slice(1)}`),
    end: () => write('\n]}\n'),
  };
}
