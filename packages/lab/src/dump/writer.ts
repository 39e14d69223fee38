import type { RegimeTables } from '../image/regime-tables.js';
import type { Hole, Mapping, Scan, TableEdge } from './mappings.js';

/** Takes text as it is produced, in pieces of any size. */
export type Write = (text: string) => void;

/**
 * One output format: what it prints when. Tables come one after the other (a regime with two ranges has two), each with its rows in order.
 */
export interface DumpWriter {
  readonly begin?: () => void;
  readonly beginTable?: (tables: RegimeTables) => void;
  readonly mapping?: (mapping: Mapping) => void;
  /** Asked for only where the format has it; zero runs come with `lo` and `hi` 0. */
  readonly hole?: (hole: Hole) => void;
  readonly edge?: (edge: TableEdge) => void;
  readonly endTable?: (tables: RegimeTables, scan: Scan) => void;
  readonly end?: () => void;
}

const PIECE = 2 ** 16;

/** Collects short pieces into large ones. */
export function buffered(write: Write): { readonly write: Write; flush(): void } {
  let pieces: string[] = [];
  let length = 0;
  const flush = (): void => {
    if (length > 0) {
      write(pieces.join(''));
      pieces = [];
      length = 0;
    }
  };
  return {
    write(text) {
      pieces.push(text);
      length += text.length;
      if (length >= PIECE) {
        flush();
      }
    },
    flush,
  };
}
