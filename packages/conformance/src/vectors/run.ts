import type { CaseAnswer, CaseMachine, CaseQuery, CaseTranslator, TranslationCase } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { ConformanceError, type Runner } from '../assertion.js';
import { compare, differences, type Verdict } from './compare.js';

/** One query, answered and judged. */
export interface QueryResult extends Verdict {
  readonly case: string;
  /** Its place among the queries of the case. */
  readonly index: number;
  readonly query: CaseQuery;
  /** Absent where there was none: `reasons` says why. */
  readonly answer?: CaseAnswer;
  /** What is not as recorded, a sentence each; of a doubtful query first the names of its doubts. */
  readonly reasons: readonly string[];
}

/** No answer is a wrong answer. */
function unanswered(each: TranslationCase, why: string): readonly QueryResult[] {
  return each.queries.map((query, index) => ({ case: each.id, index, query, verdict: 'failed', agrees: 'neither', reasons: [why] }));
}

function judged(each: TranslationCase, answers: readonly CaseAnswer[]): readonly QueryResult[] {
  return each.queries.map((query, index) => {
    const answer = answers[index];
    const differ = differences(answer, query).map(({ field, is, recorded }) => `${field} is ${is}, recorded ${recorded}`);
    return { case: each.id, index, query, answer, ...compare(answer, query), reasons: [...query.doubt, ...differ] };
  });
}

function resultsOf(each: TranslationCase, machines: ReadonlyMap<string, CaseMachine>, translator: CaseTranslator): readonly QueryResult[] {
  const machine = machines.get(each.machine);
  if (machine === undefined) return unanswered(each, `there is no machine ${each.machine}`);
  const answers = translator(each, machine);
  if (answers.kind !== 'done') return unanswered(each, `${answers.id}: ${answers.sentence}`);
  if (answers.value.length !== each.queries.length) return unanswered(each, `${answers.value.length} answers to ${each.queries.length} queries`);
  return judged(each, answers.value);
}

/** Answers every query of the cases, in order, and compares with what was recorded. */
export function* runVectors(cases: Iterable<TranslationCase>, machines: ReadonlyMap<string, CaseMachine>, translator: CaseTranslator): Generator<QueryResult> {
  for (const each of cases) yield* resultsOf(each, machines, translator);
}

export interface VectorConformanceOptions extends Runner {
  readonly cases: readonly TranslationCase[];
  readonly machines: ReadonlyMap<string, CaseMachine>;
}

/** One test a case: every query without a doubt is answered as recorded. The failure names the first field that is not, and lists all. */
export function vectorConformance(translator: CaseTranslator, { describe, it, cases, machines }: VectorConformanceOptions): void {
  describe('recorded translations', () => {
    for (const each of cases) {
      it(`${each.id}${each.note === '' ? '' : `: ${each.note}`}`, () => {
        const failed = resultsOf(each, machines, translator).filter(({ verdict }) => verdict === 'failed');
        if (failed.length === 0) return;
        const [{ answer, query }] = failed;
        const field = answer === undefined ? 'answer' : differences(answer, query)[0].field;
        const lines = failed.map((one) => `\n  query ${one.index}, ${one.query.op} ${hex(one.query.va)}: ${one.reasons.join('; ')}`);
        throw new ConformanceError(`vectors.${field}`, `${failed.length} of ${each.queries.length} queries of ${each.id} differ`, lines.join(''));
      });
    }
  });
}
