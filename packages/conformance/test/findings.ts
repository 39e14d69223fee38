import { ConformanceError, type Runner } from '../src/index.js';

/** What a suite said: the assertion that broke, or `crash` for anything else that was thrown. */
export interface Finding {
  readonly test: string;
  readonly assertion: string;
  readonly message: string;
}

/** Runs a suite on the spot and answers what failed. */
export function findings(suite: (runner: Runner) => void): readonly Finding[] {
  const found: Finding[] = [];
  suite({
    describe: (_, body) => body(),
    it: (test, body) => {
      try {
        body();
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        found.push({ test, assertion: error instanceof ConformanceError ? error.assertion : 'crash', message });
      }
    },
  });
  return found;
}

/** The assertions that broke, each once. */
export const assertions = (found: readonly Finding[]): readonly string[] => [...new Set(found.map((each) => each.assertion))].sort();
