import type { Outcome } from '@granule/contract';
import { answersLike } from './answers.js';
import type { LiveTable, OperationName } from './operations.js';
import type { OddOperation, OperationCount, ReplayReport } from './report.js';
import type { TracedEvent } from './trace-pass.js';

/** Operations that a report lists; the rest is counted. */
const MAX_ODD = 20;

/** What the operations of a replay came to. */
export class Tally {
  readonly #operations: Record<string, OperationCount> = {};
  readonly #answers = { compared: 0, equal: 0, missing: 0 };
  readonly #odd: OddOperation[] = [];
  #moreOdd = 0;
  /** Of the listed and those beyond: the kernel is not known to agree. */
  #unexplained = 0;
  readonly #otherEvents: Record<string, number> = {};
  readonly #unknownEvents: Record<string, number> = {};

  of(name: string): OperationCount {
    return (this.#operations[name] ??= { done: 0, retry: 0, refused: 0, notReplayed: 0 });
  }

  other(name: string): void {
    this.#otherEvents[name] = (this.#otherEvents[name] ?? 0) + 1;
  }

  unknown(name: string): void {
    this.#unknownEvents[name] = (this.#unknownEvents[name] ?? 0) + 1;
  }

  /** The return of an operation is not in the trace, though those of its function are. */
  unanswered(): void {
    this.#answers.missing += 1;
  }

  /** Counts an operation, and its answer where the kernel's is known. */
  account(event: TracedEvent, name: OperationName, on: LiveTable, outcome: Outcome<unknown>, ret: number | undefined): void {
    const agrees = ret === undefined ? undefined : answersLike(name, outcome, ret, on.placed.like.hardwareAccessFlag);
    if (agrees !== undefined) {
      this.#answers.compared += 1;
      this.#answers.equal += agrees ? 1 : 0;
    }
    this.of(name)[columnOf(outcome)] += 1;
    const plain = outcome.kind === 'done' || (outcome.kind === 'retry' && agrees === undefined);
    if (agrees === false || !plain) {
      this.note(event, outcome, ret, agrees ?? false);
    }
  }

  /** Lists an operation. */
  note({ source, trace, line }: TracedEvent, outcome: Outcome<unknown>, ret?: number, agrees = false): void {
    this.#unexplained += agrees ? 0 : 1;
    if (this.#odd.length === MAX_ODD) {
      this.#moreOdd += 1;
      return;
    }
    const { value } = outcome.kind === 'done' ? outcome : {};
    const told = typeof value === 'number' || typeof value === 'boolean' ? ` and answered ${value}` : '';
    const [id, sentence] = outcome.kind === 'done' ? ['done', `The core did it${told}.`] : [outcome.id, outcome.sentence];
    this.#odd.push({ operation: source.event, trace, line, outcome: id, sentence, ...(ret === undefined ? {} : { ret }), agrees });
  }

  /** All the answers are the kernel's, and nothing was refused that it is not known to have refused. */
  get exact(): boolean {
    return this.#answers.equal === this.#answers.compared && this.#unexplained === 0;
  }

  report(): Pick<ReplayReport, 'operations' | 'answers' | 'odd' | 'moreOdd' | 'otherEvents' | 'unknownEvents'> {
    return {
      operations: this.#operations,
      answers: this.#answers,
      odd: this.#odd,
      moreOdd: this.#moreOdd,
      otherEvents: this.#otherEvents,
      unknownEvents: this.#unknownEvents,
    };
  }
}

function columnOf({ kind }: Outcome<unknown>): keyof OperationCount {
  switch (kind) {
    case 'done':
    case 'retry':
    case 'refused':
      return kind;
    case 'fault':
      return 'refused';
    case 'not-modelled':
      return 'notReplayed';
  }
}
