import { done, type CaseAnswer, type CaseMachine, type CaseTranslator, type TranslationCase } from '@granule/contract';

/** A machine and two cases with an answer of every kind; nothing translates here, the answers are given. */
export const MACHINES: ReadonlyMap<string, CaseMachine> = new Map([
  ['one', { name: 'one', state: 'aarch64', windows: [[0x4000_0000, 0x1000_0000]], id: { ID_AA64MMFR0_EL1: 5n } }],
]);

const query = { va: 0x1000n, pan: false, changed: [], doubt: [] } as const;
const abort = { el: 2, esr: 0x9200_0047n, far: 0x1000n, hpfar: 0x10n } as const;

export const CASES: readonly TranslationCase[] = [
  {
    id: 'instructions',
    note: 'PAR and a syndrome instead of it',
    machine: 'one',
    registers: { TCR_EL1: 25n },
    memory: [[0x4000_0000, 3n]],
    queries: [
      { ...query, op: 'S1E1R', par: 0xff00_0000_4000_0f80n },
      { ...query, op: 'S1E1W', par: 0x80fn },
      { ...query, op: 'S1E0R', esr: 0x9600_0014n },
    ],
  },
  {
    id: 'accesses',
    note: '',
    machine: 'one',
    registers: {},
    memory: [],
    queries: [
      { ...query, op: 'LDRB_EL1', ok: true, changed: [[0x4000_0008, 0x403n]] },
      { ...query, op: 'STRB_EL0', abort },
      { ...query, op: 'FETCH_EL1', abort: { el: 1, ec: 0x21, iss: 0x0f, far: 0x1000n } },
      { ...query, op: 'S12E1R', par: 1n, doubt: ['sh-reserved'], alt: 3n },
    ],
  },
];

const ANSWERS: Readonly<Record<string, readonly CaseAnswer[]>> = {
  instructions: [
    { par: 0xff00_0000_4000_0d80n, changed: [] },
    { par: 0x80fn, changed: [] },
    { esr: 0x9600_0014n, changed: [] },
  ],
  accesses: [
    { ok: true, changed: [[0x4000_0008, 0x403n]] },
    { abort, changed: [] },
    { abort: { el: 1, esr: 0x8600_000fn, far: 0x1000n }, changed: [] },
    { par: 3n, changed: [] },
  ],
};

/** Answers as recorded; `change` makes something else of an answer. Its PAR differs from the recorded one in bit 9, which is open. */
export function translatorOf(change: (answer: CaseAnswer) => CaseAnswer = (answer) => answer): CaseTranslator {
  return ({ id }) => done(ANSWERS[id].map(change));
}
