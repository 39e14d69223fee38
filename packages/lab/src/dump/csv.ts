import { type AddressPrinter, addressPrinter } from '../image/regime-tables.js';
import { addressDigits, wordDigits } from '../image/digits.js';
import type { DumpWriter, Write } from './writer.js';

/**
 * The columns of the CSV dump; attributes are separated by spaces. Entries that are invalid but not zero have `!` for permissions and no
 * output.
 */
export const CSV_COLUMNS = 'start,end,level,output,permissions,type,attributes,descriptor';

export function csvWriter(write: Write): DumpWriter {
  let print: AddressPrinter = addressDigits;
  return {
    begin: () => write(`${CSV_COLUMNS}\n`),
    beginTable(tables) {
      print = addressPrinter(tables);
    },
    mapping({ start, end, level, output, lo, hi, leaf }) {
      const descriptor = wordDigits(lo, hi);
      const names = leaf.attributes.join(' ');
      write(
        `${print(start)},${print(end)},${level},${addressDigits(output)},${leaf.permissions},${leaf.type},${names},${descriptor}\n`,
      );
    },
    hole({ start, end, level, lo, hi, reserved }) {
      if (lo !== 0 || hi !== 0) {
        write(`${print(start)},${print(end)},${level},,!,${reserved ? 'reserved' : 'invalid'},,${wordDigits(lo, hi)}\n`);
      }
    },
  };
}
