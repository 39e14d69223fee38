/** A refusal: the request asks for something that the architecture, the implementation or the chosen policy does not allow. */
export interface Refused {
  readonly kind: 'refused';
  /** Stable: `area.reason`. */
  readonly id: string;
  /** One plain sentence with field, value and rule. */
  readonly sentence: string;
  /** Document and clause, pseudocode function, or Linux function. */
  readonly source: string;
  /** Operations that may stop half-way: bytes done before the stop. */
  readonly progress?: number;
}

/** The answer of everything in this package that may refuse. */
export type Result<T> = { readonly kind: 'done'; readonly value: T } | Refused;

export function done<T>(value: T): Result<T> {
  return { kind: 'done', value };
}

/** @param reason what follows `geometry.` in the id */
export function refuse(reason: string, sentence: string, source: string): Refused {
  return { kind: 'refused', id: `geometry.${reason}`, sentence, source };
}
