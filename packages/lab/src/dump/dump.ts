import { type AddressRange, clip } from '../image/addresses.js';
import type { RegimeTables } from '../image/regime-tables.js';
import { csvWriter } from './csv.js';
import { dotWriter } from './dot.js';
import type { LeafFilter } from './filter.js';
import { htmlWriter } from './html.js';
import { jsonWriter } from './json.js';
import { readMappings, type Scan } from './mappings.js';
import { ptdumpWriter } from './ptdump.js';
import { textWriter } from './text.js';
import { buffered, type DumpWriter, type Write } from './writer.js';

const WRITERS = { text: textWriter, ptdump: ptdumpWriter, json: jsonWriter, csv: csvWriter, dot: dotWriter, html: htmlWriter } as const;

export type DumpFormat = keyof typeof WRITERS;
export const DUMP_FORMATS = Object.keys(WRITERS) as readonly DumpFormat[];

export interface DumpOptions {
  /** The tables of one regime, lower range first. */
  readonly tables: readonly RegimeTables[];
  readonly format: DumpFormat;
  /** Join neighbours with equal attributes and adjoining outputs; true by default. */
  readonly merge?: boolean;
  /** Only these leaves are printed; all are counted. */
  readonly filter?: LeafFilter;
  readonly range?: AddressRange;
  /** See {@link ScanOptions.revisits}. */
  readonly revisits?: number;
}

/**
 * Prints every mapping of a regime in order, as it is found: memory does not grow with the number of mappings but in the `dot` format,
 * which holds one node a table. Answers one scan for each table in the range; a finding in any of them is what exit code 1 stands for.
 */
export function dump(options: DumpOptions, write: Write): readonly Scan[] {
  const out = buffered(write);
  const writer: DumpWriter = WRITERS[options.format](out.write);
  const scans: Scan[] = [];
  writer.begin?.();
  for (const tables of options.tables) {
    const part = options.range === undefined ? {} : clip(tables, options.range);
    if (part !== undefined) {
      writer.beginTable?.(tables);
      const scan = readMappings(tables, sinkOf(writer, options.filter), {
        ...part,
        ...(options.merge === undefined ? {} : { merge: options.merge }),
        ...(options.revisits === undefined ? {} : { revisits: options.revisits }),
      });
      writer.endTable?.(tables, scan);
      scans.push(scan);
    }
  }
  writer.end?.();
  out.flush();
  return scans;
}

function sinkOf(writer: DumpWriter, filter: LeafFilter | undefined): Parameters<typeof readMappings>[1] {
  const { mapping, hole, edge } = writer;
  return {
    mapping: (each) => {
      if (filter === undefined || filter(each.leaf)) {
        mapping?.(each);
      }
    },
    ...(hole === undefined || filter !== undefined ? {} : { hole }),
    ...(edge === undefined ? {} : { table: edge }),
  };
}
