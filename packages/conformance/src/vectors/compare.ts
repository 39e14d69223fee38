import type { CaseAbort, CaseAnswer, CaseChanges, CaseQuery } from '@granule/contract';
import { hex } from '@granule/geometry/bits';

/** `doubtful`: the recorded answer is not the only right one; `agrees` tells with which the answer does. */
export interface Verdict {
  readonly verdict: 'passed' | 'failed' | 'doubtful';
  readonly agrees: 'recorded' | 'alternative' | 'neither';
}

/** What of an answer is not as recorded. */
export interface Difference {
  readonly field: 'par' | 'esr' | 'ok' | 'abort' | 'abort.el' | 'abort.esr' | 'abort.far' | 'abort.hpfar' | 'changed';
  readonly is: string;
  readonly recorded: string;
}

/** Bits 10 (IMPLEMENTATION DEFINED) and 9 (NS, UNKNOWN here) of a PAR with F = 0 (DDI 0487 PAR_EL1). */
const PAR_OPEN = 0x600n;

type Value = bigint | number | boolean | undefined;

const text = (value: Value): string => (typeof value === 'bigint' ? hex(value) : String(value ?? 'none'));

function differs(field: Difference['field'], is: Value, recorded: Value): readonly Difference[] {
  return is === recorded ? [] : [{ field, is: text(is), recorded: text(recorded) }];
}

function parDiffers(is: bigint | undefined, recorded: bigint | undefined): readonly Difference[] {
  if (is === undefined || recorded === undefined) return differs('par', is, recorded);
  const open = ((is | recorded) & 1n) === 0n ? PAR_OPEN : 0n;
  return (is & ~open) === (recorded & ~open) ? [] : differs('par', is, recorded);
}

/** Where only the class and the low byte of a syndrome are recorded, only they are compared. */
function syndromeDiffers(esr: bigint, { esr: whole, ec, iss }: CaseAbort): readonly Difference[] {
  if (whole !== undefined) return differs('abort.esr', esr, whole);
  return [
    ...(ec === undefined ? [] : differs('abort.esr', Number(esr >> 26n), ec)),
    ...(iss === undefined ? [] : differs('abort.esr', Number(esr & 0xffn), iss)),
  ];
}

function abortDiffers({ abort, ok }: CaseAnswer, want: CaseAbort): readonly Difference[] {
  if (want.ok === true) return differs('ok', ok, true);
  if (abort === undefined) return [{ field: 'abort', is: 'none', recorded: 'an abort' }];
  return [
    ...syndromeDiffers(abort.esr, want),
    ...differs('abort.el', abort.el, want.el),
    ...differs('abort.far', abort.far, want.far),
    ...differs('abort.hpfar', abort.hpfar, want.hpfar),
  ];
}

function changedDiffers(is: CaseChanges, recorded: CaseChanges): readonly Difference[] {
  const list = (changes: CaseChanges): string => changes.map(([address, value]) => `${hex(address)}: ${hex(value)}`).sort().join(', ');
  return list(is) === list(recorded) ? [] : [{ field: 'changed', is: list(is), recorded: list(recorded) }];
}

/** Everything that is not as recorded; empty: the answer agrees. PAR is compared in all bits but 10:9 where F = 0. */
export function differences(answer: CaseAnswer, query: CaseQuery): readonly Difference[] {
  const changed = changedDiffers(answer.changed, query.changed);
  if (query.abort !== undefined) return [...abortDiffers(answer, query.abort), ...changed];
  if (query.ok !== undefined) return [...differs('ok', answer.ok, query.ok), ...changed];
  return [...parDiffers(answer.par, query.par), ...differs('esr', answer.esr, query.esr), ...changed];
}

function alternative(answer: CaseAnswer, { alt }: CaseQuery): boolean {
  if (alt === undefined) return false;
  return (typeof alt === 'bigint' ? parDiffers(answer.par, alt) : abortDiffers(answer, alt)).length === 0;
}

/** Compares an answer with what was recorded. */
export function compare(answer: CaseAnswer, query: CaseQuery): Verdict {
  const agrees = differences(answer, query).length === 0 ? 'recorded' : alternative(answer, query) ? 'alternative' : 'neither';
  if (query.doubt.length > 0) return { verdict: 'doubtful', agrees };
  return { verdict: agrees === 'recorded' ? 'passed' : 'failed', agrees };
}
