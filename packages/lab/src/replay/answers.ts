import { type Outcome, done, refused, retry } from '@granule/contract';
import type { OperationName } from './operations.js';

const EAGAIN = -11;
const ENOMEM = -12;

/**
 * The outcome of an operation that is not done, since its failure depends on what the trace does not tell: how many pages were left, and
 * who was faster. And of hyp_unmap, which does nothing where the table's pages are not counted, as those of the host's own hyp table are
 * not. Undefined: it is to be done.
 */
export function withoutDoing(name: OperationName, ret: number | undefined, othersUnderWay: boolean): Outcome<unknown> | undefined {
  if (name === 'hyp_unmap' && (ret ?? 0) === 0) {
    return done(0);
  }
  if (ret === ENOMEM && name !== 's2_split') {
    return refused('replay.no-pages', 'The kernel had no pages left for this operation; nothing was done.', 'Linux kvm_mmu_memory_cache');
  }
  if (ret === EAGAIN && othersUnderWay) {
    const sentence = 'Another operation on this table was under way; nothing was done.';
    return retry('replay.race', sentence, 'Linux stage2_try_set_pte, stage2_try_break_pte');
  }
  return undefined;
}

/** Whether an outcome is what the kernel's return value says. */
export function answersLike(name: OperationName, outcome: Outcome<unknown>, ret: number, hardwareAccessFlag: boolean): boolean {
  const { kind } = outcome;
  if (name === 's2_test_clear_young' && kind === 'done') {
    return Number(outcome.value) === ret || (hardwareAccessFlag && ret === 1);
  }
  if (name === 'hyp_unmap' && kind === 'done') {
    return outcome.value === ret;
  }
  if (ret >= 0) {
    return kind === 'done';
  }
  const noPages = kind === 'refused' && ['pool.exhausted', 'split.no-pages', 'replay.no-pages'].includes(outcome.id);
  return ret === EAGAIN ? kind === 'retry' : ret === ENOMEM ? noPages : kind === 'refused' && !noPages;
}
