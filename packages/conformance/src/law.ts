import fc from 'fast-check';
import { ConformanceError } from './assertion.js';

export { ConformanceError, ensure, type Runner } from './assertion.js';

/** How long random laws run, and from which seed. */
export interface Budget {
  /** Random cases per law. */
  readonly runs: number;
  /** Absent: a fresh seed every time; a failure prints the one in use. */
  readonly seed?: number;
  /** Whether a failing case is made as small as it gets; default true. */
  readonly shrink?: boolean;
}

/** The budget that a suite's options ask for. */
export function budgetOf({ runs, seed, shrink }: Partial<Budget>, defaultRuns: number): Budget {
  return { runs: runs ?? defaultRuns, ...(seed === undefined ? {} : { seed }), ...(shrink === undefined ? {} : { shrink }) };
}

/**
 * Checks a law on random values. The failure carries the name of the assertion that broke, the smallest value found, and the seed and path
 * that reproduce it; anything thrown that is not an assertion is reported as a crash.
 */
export function forAll<T>(arbitrary: fc.Arbitrary<T>, budget: Budget, law: (value: T) => void): void {
  const report = fc.check(
    fc.property(arbitrary, (value) => law(value)),
    { numRuns: budget.runs, endOnFailure: budget.shrink === false, ...(budget.seed === undefined ? {} : { seed: budget.seed }) },
  );
  if (!report.failed) {
    return;
  }
  const cause: unknown = report.errorInstance;
  const where = `\n  with ${fc.stringify(report.counterexample?.[0])}\n  seed ${report.seed}, path ${report.counterexamplePath ?? 'none'}`;
  if (cause instanceof ConformanceError) {
    throw new ConformanceError(cause.assertion, cause.sentence, where);
  }
  throw new Error(`crash: ${cause instanceof Error ? cause.stack ?? cause.message : String(cause)}${where}`, { cause });
}
