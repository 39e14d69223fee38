import { type Outcome, type PhysicalReader, done, refused } from '@granule/contract';
import { type CheckpointOptions, openCheckpoint } from './checkpoints.js';
import { contradictionsOf } from './contradictions.js';
import type { KernelTables } from './kernel-tables.js';
import type { ReplayOptions } from './options.js';
import { Replayer } from './replayer.js';
import type { ReplayReport } from './report.js';
import { openTraces, readAbout, readSteps } from './run-directory.js';
import { type Survey, survey } from './survey.js';
import { tornInside } from './torn.js';

const SOURCE = 'granule replay --ops';

/**
 * Drives the page-table core with the page-table operations that a real kernel's trace tells (`s2_…`, `hyp_…`), each as Linux does it,
 * and compares the tables with those in that kernel's memory wherever the trace says `hold cN`. Geometry and format of a table come from
 * the registers at the checkpoints. An operation is done where its return is traced, or else where its call is, so that what the kernel
 * found is what the core finds. Answers are compared with the kernel's: -11 (EAGAIN) with `retry`, other errors with a refusal,
 * s2_test_clear_young with the age. Where the kernel ran out of pages (-12), or lost to an operation that is still under way on another
 * CPU (-11), nothing is done.
 *
 * Refused: `replay.missing-file`, `replay.trace-incomplete`, `replay.no-checkpoint`, `replay.no-table`, and what the readers of the files
 * refuse. What is wrong with single lines or tables is in the report.
 */
export function replayOps(options: ReplayOptions): Outcome<ReplayReport> {
  const about = readAbout(options.files);
  if (about.kind !== 'done') {
    return about;
  }
  const traces = openTraces(options.files);
  if (traces.kind !== 'done') {
    return traces;
  }
  const surveyed = survey(traces.value);
  const torn = tornInside(surveyed.counts, options);
  if (torn !== undefined) {
    return torn;
  }
  const known = surveyCheckpoints(options, surveyed);
  if (known.kind !== 'done') {
    return known;
  }
  const { until } = options;
  if (until !== undefined && !known.value.some(({ checkpoint }) => checkpoint === until)) {
    return noCheckpoint(until, known.value);
  }
  const steps = readSteps(options.files);
  if (steps.kind !== 'done') {
    return steps;
  }
  const report = new Replayer(options, about.value, surveyed, known.value).run(traces.value);
  if (report.kind !== 'done') {
    return report;
  }
  const contradictions = steps.value === undefined ? [] : contradictionsOf(surveyed, steps.value);
  return done({ ...report.value, contradictions, exact: report.value.exact && contradictions.length === 0 });
}

export function noCheckpoint(until: string, known: readonly KernelTables[]): Outcome<never> {
  const have = known.map(({ checkpoint }) => checkpoint).join(', ');
  return refused('replay.no-checkpoint', `The run has no checkpoint ${until}; it has ${have}.`, SOURCE);
}

/** Formats and roots need registers alone. */
const NO_MEMORY: PhysicalReader = { read: () => false };

/** The registers of every checkpoint in the trace that has any. */
export function surveyCheckpoints(options: CheckpointOptions, { checkpoints }: Survey): Outcome<readonly KernelTables[]> {
  const known: KernelTables[] = [];
  for (const checkpoint of checkpoints) {
    const tables = openCheckpoint(options, checkpoint, NO_MEMORY);
    if (tables.kind !== 'done') {
      return tables;
    }
    if (tables.value !== undefined) {
      known.push(tables.value);
    }
  }
  return known.length > 0
    ? done(known)
    : refused('replay.no-checkpoint', 'No mark "hold cN" of the trace has a cN.regs.json: there is nothing to compare with.', SOURCE);
}
