import { ENTRY, type PageTable } from '@granule/contract';
import { levelShift, type Level } from '@granule/geometry';
import { type InputAddress, type OutputAddress, pow2, toBigint } from '@granule/geometry/bits';

/** One table, of the entry tables all that are concatenated, with its entries in order. */
export interface TableText {
  readonly address: OutputAddress;
  readonly level: Level;
  /** The first input address that it translates. */
  readonly start: InputAddress;
  readonly entries: readonly bigint[];
}

/** Every table that hangs below the root, ascending by address. */
export function tablesOf({ format, memory, root }: PageTable): readonly TableText[] {
  const { granule, startLevel, entryBytes, pageShift } = format.geometry;
  const found: TableText[] = [];
  const visit = (address: OutputAddress, level: Level, start: InputAddress, bytes: number): void => {
    const word = memory.wordOf(address, bytes);
    const entries: bigint[] = [];
    for (let i = 0; i < bytes / 8; i += 1) {
      const [lo, hi] = [memory.words[word + 2 * i], memory.words[word + 2 * i + 1]];
      entries.push(toBigint(lo, hi));
      if (format.kind(lo, hi, level) === ENTRY.table) {
        visit(format.tableOutput(lo, hi), (level + 1) as Level, start + i * pow2(levelShift(granule, level)), pow2(pageShift));
      }
    }
    found.push({ address, level, start, entries });
  };
  visit(root, startLevel, 0, entryBytes);
  return found.sort((a, b) => a.address - b.address);
}
