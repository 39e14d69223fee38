import fc from 'fast-check';
import type { Granule } from '@granule/geometry';
import { ConformanceError, forAll, type Budget } from '../law.js';
import type { NestedLaw, NestedSubject } from './bench.js';
import { nestedSteps, type NestedStep } from './steps.js';
import { World, type WorldOptions } from './world.js';

/** Steps after which the layer does not do what the two stages say. */
export interface Counterexample {
  readonly steps: readonly NestedStep[];
  /** The same as short sentences, the last one of what is wrong. */
  readonly sentences: readonly string[];
  readonly assertion: string;
}

/** Runs steps in a fresh VM; what went wrong at the last one that was run, if anything did. */
export function runNestedSteps(subject: NestedSubject, options: WorldOptions, steps: readonly NestedStep[]): Counterexample | undefined {
  const world = new World(subject, options);
  for (const [i, step] of steps.entries()) {
    try {
      world.run(step);
    } catch (error) {
      if (!(error instanceof ConformanceError)) throw error;
      const done = steps.slice(0, i + 1);
      return { steps: done, sentences: [...done.map((each) => world.text(each)), error.sentence], assertion: error.assertion };
    }
  }
  return undefined;
}

/** The same without any step that it does not need. */
function reduced(subject: NestedSubject, options: WorldOptions, found: Counterexample): Counterexample {
  for (let i = found.steps.length - 1; i >= 0; i--) {
    const shorter = runNestedSteps(subject, options, found.steps.toSpliced(i, 1));
    if (shorter !== undefined) return reduced(subject, options, shorter);
  }
  return found;
}

/**
 * A sequence of steps that shows what is wrong with a layer, as short as shrinking makes it: no step of it can be left out. Undefined: none was found in this
 * budget.
 */
export function nestedCounterexample(subject: Omit<NestedSubject, 'budget'>, options: WorldOptions, budget: Budget, length = 40): Counterexample | undefined {
  const whole: NestedSubject = { ...subject, budget };
  const report = fc.check(
    fc.property(nestedSteps(length), (steps) => runNestedSteps(whole, options, steps) === undefined),
    { numRuns: budget.runs, ...(budget.seed === undefined ? {} : { seed: budget.seed }) },
  );
  const found = report.counterexample === null ? undefined : runNestedSteps(whole, options, report.counterexample[0]);
  return found && reduced(whole, options, found);
}

function composes(subject: NestedSubject, options: WorldOptions): void {
  forAll(nestedSteps(40), subject.budget, (steps) => {
    const wrong = runNestedSteps(subject, options, steps);
    if (wrong !== undefined) throw new ConformanceError(wrong.assertion, wrong.sentences.join(' '));
  });
}

const GRANULES: readonly Granule[] = ['4K', '16K', '64K'];

/**
 * Every granule of a guest hypervisor on every one of a host, as far as there is such a thing: the host has no page for less than its own, so KVM offers no
 * smaller granule (Linux limit_nv_id_reg, FEAT_GTG).
 */
const MIXES: readonly WorldOptions[] = GRANULES.flatMap((granule, i) => GRANULES.slice(0, i + 1).map((hostGranule) => ({ granule, hostGranule, ha: granule === '16K' })));

export const compositionLaws: readonly NestedLaw[] = MIXES.map((options) => ({
  name: 'composition',
  sentence: `what a guest reaches is what both stages say, ${options.granule} pages on ${options.hostGranule} pages`,
  check: (subject) => { composes(subject, options); },
}));
