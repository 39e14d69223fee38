import type { Refused } from '@granule/geometry';
import type { FaultValue } from './fault.js';

/** The contract number. An integer, so that a backend written for a newer contract is refused in words rather than by a crash. */
export const CONTRACT = 1;

export type { Refused } from '@granule/geometry';

/** It happened. */
export interface Done<T> {
  readonly kind: 'done';
  readonly value: T;
}

/** The architecture's answer is a fault; nothing is wrong with the request. */
export interface FaultOutcome {
  readonly kind: 'fault';
  readonly id: string;
  readonly sentence: string;
  readonly source: string;
  readonly fault: FaultValue;
}

/** Somebody else got there first, or the wanted state already holds: nothing was changed, ask again (Linux: -EAGAIN). */
export interface Retry {
  readonly kind: 'retry';
  readonly id: string;
  readonly sentence: string;
  readonly source: string;
  /** Operations in `linux` mode that stop half-way: bytes done before the stop. */
  readonly progress?: number;
}

/** The request is legal for the architecture but this model does not cover it; never a guess. */
export interface NotModelled {
  readonly kind: 'not-modelled';
  readonly id: string;
  readonly sentence: string;
  readonly source: string;
}

/**
 * What every operation answers. `id` is stable (`range.beyond-ipa`, `map.would-overwrite`, …), `source` names the document and clause or
 * the Linux function that the answer rests on, `sentence` is one plain sentence with field, value and rule. Exceptions are for caller bugs
 * only.
 */
export type Outcome<T> = Done<T> | Refused | Retry | NotModelled | FaultOutcome;

/** Everything but {@link Done}. */
export type Failure = Refused | Retry | NotModelled | FaultOutcome;

/** The answer of an operation that returns nothing; one frozen object, so that a call per page allocates nothing. */
export const DONE: Done<undefined> = Object.freeze({ kind: 'done', value: undefined });

export function done<T>(value: T): Done<T> {
  return { kind: 'done', value };
}

/** @param id stable id, `area.reason` @param source document and clause, or the Linux function */
export function refused(id: string, sentence: string, source: string): Refused {
  return { kind: 'refused', id, sentence, source };
}

export function retry(id: string, sentence: string, source: string): Retry {
  return { kind: 'retry', id, sentence, source };
}

export function notModelled(id: string, sentence: string, source: string): NotModelled {
  return { kind: 'not-modelled', id, sentence, source };
}
