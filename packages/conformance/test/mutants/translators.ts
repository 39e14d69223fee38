import type { CaseAnswer } from '@granule/contract';

/** One thing that the answers to recorded cases get wrong, and the assertion that must say so. */
export interface TranslatorMutant {
  readonly fault: string;
  readonly caughtBy: string;
  readonly change: (answer: CaseAnswer) => CaseAnswer;
}

const par = (change: (par: bigint) => bigint) => (answer: CaseAnswer): CaseAnswer => (answer.par === undefined ? answer : { ...answer, par: change(answer.par) });

const abort = (change: (abort: NonNullable<CaseAnswer['abort']>) => Partial<NonNullable<CaseAnswer['abort']>>) => (answer: CaseAnswer): CaseAnswer =>
  answer.abort === undefined ? answer : { ...answer, abort: { ...answer.abort, ...change(answer.abort) } };

export const TRANSLATOR_MUTANTS: readonly TranslatorMutant[] = [
  { fault: 'PAR: address bit 12', caughtBy: 'vectors.par', change: par((value) => value ^ 0x1000n) },
  { fault: 'PAR: attributes left out', caughtBy: 'vectors.par', change: par((value) => value & ((1n << 56n) - 1n)) },
  { fault: 'PAR: bit 9 of a fault, which is not open', caughtBy: 'vectors.par', change: par((value) => ((value & 1n) === 1n ? value ^ 0x200n : value)) },
  { fault: 'a syndrome as a PAR', caughtBy: 'vectors.par', change: ({ esr, ...rest }) => (esr === undefined ? rest : { ...rest, par: esr }) },
  { fault: 'a syndrome of another class', caughtBy: 'vectors.esr', change: (answer) => (answer.esr === undefined ? answer : { ...answer, esr: answer.esr ^ (1n << 26n) }) },
  { fault: 'accesses always permitted', caughtBy: 'vectors.abort', change: ({ abort: aborted, ...rest }) => (aborted === undefined ? rest : { ...rest, ok: true }) },
  {
    fault: 'accesses never permitted',
    caughtBy: 'vectors.ok',
    change: ({ ok, ...rest }) => (ok === undefined ? rest : { ...rest, abort: { el: 1, esr: 0n, far: 0n } }),
  },
  { fault: 'aborts taken to EL1', caughtBy: 'vectors.abort.el', change: abort(() => ({ el: 1 })) },
  { fault: 'aborts: WnR lost', caughtBy: 'vectors.abort.esr', change: abort(({ esr }) => ({ esr: esr & ~0x40n })) },
  { fault: 'aborts: status one too high', caughtBy: 'vectors.abort.esr', change: abort(({ esr }) => ({ esr: esr + 1n })) },
  { fault: 'FAR of the page', caughtBy: 'vectors.abort.far', change: abort(() => ({ far: 0n })) },
  { fault: 'HPFAR not written', caughtBy: 'vectors.abort.hpfar', change: ({ changed, abort: aborted, ...rest }) => withoutHpfar(rest, changed, aborted) },
  { fault: 'access flag not written', caughtBy: 'vectors.changed', change: (answer) => ({ ...answer, changed: [] }) },
];

function withoutHpfar(rest: Omit<CaseAnswer, 'changed' | 'abort'>, changed: CaseAnswer['changed'], aborted: CaseAnswer['abort']): CaseAnswer {
  return aborted === undefined ? { ...rest, changed } : { ...rest, changed, abort: { el: aborted.el, esr: aborted.esr, far: aborted.far } };
}
