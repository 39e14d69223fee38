import type { Fidelity } from '../../report/report.js';
import type { Scenario } from '../scenario.js';
import type { Step } from '../steps.js';

/** Accesses and entries that modelled hardware does in a second or so, and that a judge reads. */
const MACHINE_LIMIT = 2 ** 15;
const JUDGE_LIMIT = 2 ** 17;

/** Steps that mean something on hardware alone. */
const HARDWARE_STEPS: ReadonlySet<string> = new Set(['stage1', 'stage2', 'enter', 'leave', 'chain', 'tlbi', 'dc', 'ic', 'at', 'barrier', 'host-write', 'host-read', 'observe', 'dma', 'hyp-access']);

/** How many accesses and table entries a step may come to, from above. */
function workOf(step: Step, page: number): number {
  if (step.do === 'read' || step.do === 'write' || step.do === 'fetch') {
    return step.count ?? 1;
  }
  if (step.do === 'ioremap') {
    return step.size / (step.policy === undefined || step.policy === 'pages' ? page : 512 * page);
  }
  if (step.do === 'repeat') {
    return step.times * step.steps.reduce((sum, each) => sum + workOf(each, page), 0);
  }
  return step.do === 'other-vms' ? 8 * step.count : 1;
}

function needsHardware(step: Step): boolean {
  if (step.do === 'repeat') {
    return step.steps.some(needsHardware);
  }
  const expects = 'expect' in step && step.expect !== undefined && ['value', 'lost', 'reaches'].some((each) => each in step.expect!);
  return HARDWARE_STEPS.has(step.do) || expects;
}

/** How much a run has to do at most, as far as its size can be told beforehand: guest accesses and table entries. */
export function workOfScenario({ steps, slots = [], vm = {} }: Scenario, page: number): number {
  const logged = (vm.splitChunk ?? 0) > 0 || slots.some(({ logDirty }) => logDirty);
  const splits = logged ? slots.reduce((sum, { size }) => sum + size / page, 0) : 0;
  return splits + steps.reduce((sum, each) => sum + workOf(each, page), 0);
}

/** How much of the machine a run gets: what the scenario says, what its steps need, or what the size of its work lets it have. */
export function fidelityOf({ fidelity, steps, vm = {} }: Scenario, work: number): Fidelity {
  if (fidelity !== undefined) {
    return fidelity;
  }
  if (vm.nested !== undefined || steps.some(needsHardware)) {
    return 'machine';
  }
  return work <= MACHINE_LIMIT ? 'machine' : work <= JUDGE_LIMIT ? 'judged' : 'policy';
}
