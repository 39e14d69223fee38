/** What a test runner must offer: vitest's and node:test's `describe` and `it` both fit. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: (name: string, body: () => void) => unknown;
}

/** A law that does not hold. `assertion` is its stable name. */
export class ConformanceError extends Error {
  override readonly name = 'ConformanceError';

  constructor(readonly assertion: string, readonly sentence: string, detail = '') {
    super(`${assertion}: ${sentence}${detail}`);
  }
}

/** Fails under the stable name of an assertion where the condition does not hold. */
export function ensure(assertion: string, condition: boolean, sentence: string | (() => string)): asserts condition {
  if (!condition) {
    throw new ConformanceError(assertion, typeof sentence === 'string' ? sentence : sentence());
  }
}
