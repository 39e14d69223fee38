import type { Progress } from '@granule/lab';

/** Work shorter than this is not worth a word, ms; and no more than one word in so many. */
const QUIET = 1000;
const EVERY = 500;

/** Tells on stderr how far long work is: one line that is written over on a terminal, else a line now and then. */
export function progressOf(): { readonly told: Progress; readonly end: () => void } {
  const start = performance.now();
  const terminal = process.stderr.isTTY;
  let last = start;
  let written = false;
  return {
    told: (what, done, of) => {
      const now = performance.now();
      if (now - start < QUIET || now - last < EVERY * (terminal ? 1 : 10)) {
        return;
      }
      last = now;
      written = true;
      process.stderr.write(`${terminal ? '\r\u001b[K' : ''}granule: ${what}: ${done.toLocaleString('en')} of ${of.toLocaleString('en')}${terminal ? '' : '\n'}`);
    },
    end: () => {
      if (written && terminal) {
        process.stderr.write('\r\u001b[K');
      }
    },
  };
}
