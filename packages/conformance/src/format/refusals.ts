import type { Failure, Outcome } from '@granule/contract';
import { ensure } from '../law.js';

/** A failure has a stable id, one sentence of one line, and a source. */
export function failureForm(failure: Failure): void {
  ensure('refusal.id', /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(failure.id), `the id "${failure.id}" is not area.reason`);
  ensure(
    'refusal.sentence',
    failure.sentence.trim() !== '' && !failure.sentence.includes('\n'),
    `the sentence of ${failure.id} is not one line of text`,
  );
  ensure('refusal.sentence', failure.sentence === failure.sentence.trim(), `the sentence of ${failure.id} has blanks at an end`);
  ensure('refusal.source', failure.source.trim() !== '', `${failure.id} names no source`);
}

/** The outcome is a refusal of this area, well formed. */
export function refusalForm(outcome: Outcome<unknown>, area: string): void {
  ensure('refusal.kind', outcome.kind === 'refused', `the outcome is ${outcome.kind} and must be refused`);
  failureForm(outcome);
  ensure('refusal.id', outcome.id.startsWith(`${area}.`), `the id "${outcome.id}" does not start with "${area}."`);
}
