import type { Abort } from './backend.js';
import type { Outcome } from './outcome.js';

/** Translation cases: registers, memory and addresses, and what a machine answered. Readers of files make them, runners compare with them. */

/** What a machine has. */
export interface CaseMachine {
  readonly name: string;
  readonly state: 'aarch64' | 'aarch32';
  /** RAM: base and size, bytes. Words that a case does not set read as 0. */
  readonly windows: readonly (readonly [base: number, size: number])[];
  /** Identification registers by name. */
  readonly id: Readonly<Record<string, bigint>>;
}

/** What an access that was aborted, or an answer that the architecture would have, looks like. */
export interface CaseAbort {
  readonly el?: number;
  readonly esr?: bigint;
  readonly ec?: number;
  readonly iss?: number;
  readonly far?: bigint;
  readonly hpfar?: bigint;
  readonly ok?: boolean;
}

/** 64-bit words that hardware wrote, by address. */
export type CaseChanges = readonly (readonly [address: number, value: bigint])[];

export interface CaseQuery {
  /** `S12E1R`, `ATS1CPR`, `LDRB_EL1`, … */
  readonly op: string;
  readonly va: bigint;
  readonly pan: boolean;
  readonly par?: bigint;
  readonly esr?: bigint;
  readonly ok?: boolean;
  readonly abort?: CaseAbort;
  readonly changed: CaseChanges;
  /** Why the recorded answer is not the only right one; empty: it is. */
  readonly doubt: readonly string[];
  /** The architecture's answer where it differs from the recorded one: a PAR, or of an access. */
  readonly alt?: bigint | CaseAbort;
}

export interface TranslationCase {
  readonly id: string;
  readonly note: string;
  readonly machine: string;
  readonly registers: Readonly<Record<string, bigint>>;
  readonly memory: CaseChanges;
  readonly queries: readonly CaseQuery[];
}

/** What a query is answered: one of PAR, a syndrome instead of it, `ok`, an abort; and the descriptors that hardware wrote. */
export interface CaseAnswer {
  readonly par?: bigint;
  readonly esr?: bigint;
  readonly ok?: true;
  readonly abort?: Abort;
  readonly changed: CaseChanges;
}

/** Answers the queries of a case, each by itself, in order. */
export type CaseTranslator = (each: TranslationCase, machine: CaseMachine) => Outcome<readonly CaseAnswer[]>;
