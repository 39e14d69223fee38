import type { TracedEvent } from '../replay/trace-pass.js';
import type { Session } from './session.js';

/** What a page-table call answered, as its return is traced. */
interface Answer {
  readonly name: string;
  readonly ret: number;
  readonly cause: string;
}

/** Holds the answers of the policy's calls against the returns in the trace. */
export class Answers {
  /** By task, in order. */
  readonly #expected = new Map<number, Answer[]>();
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The next return of that function in that task. */
  expect(pid: number, name: string, ret: number): void {
    this.#expected.set(pid, [...(this.#expected.get(pid) ?? []).filter((each) => each.name !== name), { name, ret, cause: this.#session.cause }]);
  }

  /** What a task was expected to answer is not asked for any more. */
  forget(pid: number): void {
    this.#expected.delete(pid);
  }

  /** A function returned in a task. */
  actual({ source, trace, line }: TracedEvent, name: string, ret: number): void {
    if (name === 's2_map' || name === 's2_relax_perms') {
      this.#session.comparison.returned(source.pid);
    }
    const expected = this.#expected.get(source.pid) ?? [];
    const place = expected.findIndex((each) => each.name === name);
    if (place === -1) {
      return;
    }
    const [ours] = expected.splice(place, 1);
    const { answers } = this.#session.comparison;
    // Where hardware sets access flags, a page may be younger than the policy can know.
    const equal = ours.ret === ret || (name === 's2_test_clear_young' && ret === 1 && this.#session.input.host.hardwareAccessFlag);
    answers.total += 1;
    answers.equal += equal ? 1 : 0;
    if (!equal) {
      const sentence = `The policy's call answers ${ours.ret} and the kernel's ${ret}.`;
      this.#session.note({ trace, line }, { operation: name, cause: ours.cause, what: 'answer', sentence });
    }
  }
}
