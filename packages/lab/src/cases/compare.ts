import type { CaseAbort, CaseQuery } from '@granule/snapshot';
import type { Answer } from './run.js';

/** `doubtful`: the recorded answer is not the only right one; `agrees` tells with which the model does. */
export interface Verdict {
  readonly verdict: 'passed' | 'failed' | 'doubtful';
  readonly agrees: 'recorded' | 'alternative' | 'neither';
}

/** Bits 10 (IMPLEMENTATION DEFINED) and 9 (NS, UNKNOWN here) of a PAR with F = 0 (DDI 0487 PAR_EL1). */
const PAR_OPEN = 0x600n;

function samePar(one: bigint | undefined, two: bigint | undefined): boolean {
  if (one === undefined || two === undefined) return one === two;
  const open = ((one | two) & 1n) === 0n ? PAR_OPEN : 0n;
  return (one & ~open) === (two & ~open);
}

function sameAbort({ abort, ok }: Answer, want: CaseAbort): boolean {
  if (want.ok === true) return ok === true;
  if (abort === undefined) return false;
  const { el, esr, far, hpfar } = abort;
  const syndrome =
    want.esr === undefined
      ? (want.ec === undefined || Number(esr >> 26n) === want.ec) && (want.iss === undefined || Number(esr & 0xffn) === want.iss)
      : esr === want.esr;
  return syndrome && el === want.el && far === want.far && hpfar === want.hpfar;
}

function sameChanges(one: Answer['changed'], two: Answer['changed']): boolean {
  const text = (changed: Answer['changed']): string => changed.map(([address, value]) => `${address}:${value}`).sort().join();
  return text(one) === text(two);
}

function recorded(answer: Answer, query: CaseQuery): boolean {
  if (!sameChanges(answer.changed, query.changed)) return false;
  if (query.abort !== undefined) return sameAbort(answer, query.abort);
  if (query.ok !== undefined) return answer.ok === query.ok;
  return samePar(answer.par, query.par) && answer.esr === query.esr;
}

function alternative(answer: Answer, { alt }: CaseQuery): boolean {
  if (alt === undefined) return false;
  return typeof alt === 'bigint' ? samePar(answer.par, alt) : sameAbort(answer, alt);
}

/** Compares an answer with what was recorded. */
export function compare(answer: Answer, query: CaseQuery): Verdict {
  const agrees = recorded(answer, query) ? 'recorded' : alternative(answer, query) ? 'alternative' : 'neither';
  if (query.doubt.length > 0) return { verdict: 'doubtful', agrees };
  return { verdict: agrees === 'recorded' ? 'passed' : 'failed', agrees };
}
