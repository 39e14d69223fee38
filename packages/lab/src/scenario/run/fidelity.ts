import type { Fidelity } from '../../report/report.js';
import type { Scenario } from '../scenario.js';
import type { Step } from '../steps.js';

/** Accesses and entries that modelled hardware does in a second or so, and that a judge reads. */
const MACHINE_LIMIT = 2 ** 15;
const JUDGE_LIMIT = 2 ** 17;

/** Steps that mean something on hardware alone. */
const HARDWARE_STEPS: ReadonlySet<string> = new Set(['stage1', 'stage2', 'enter', 'leave', 'chain', 'tlbi', 'dc', 'ic', 'at', 'barrier', 'host-write', 'host-read', 'observe', 'dma', 'hyp-access']);

/** How many accesses and table entries a step may come to, from above. */
/** Entries of device memory that is mapped as its slot is made; otherwise it is one step. */
function workOfSlot({ hva, size }: { readonly hva: number; readonly size: number }, { memory = [], vm = {} }: Scenario, page: number): number {
  const { ioremap = 'at-fault' } = vm;
  const isDevice = memory.some((each) => each.kind === 'device' && each.hva < hva + size && each.hva + each.size > hva);
  return ioremap === 'at-fault' || !isDevice ? 1 : size / (ioremap === 'pages' ? page : 512 * page);
}

function workOf(step: Step, scenario: Scenario, page: number): number {
  if (step.do === 'set-slot') {
    return workOfSlot(step, scenario, page);
  }
  if (step.do === 'read' || step.do === 'write' || step.do === 'fetch') {
    return step.count ?? 1;
  }
  if (step.do === 'ioremap') {
    return step.size / (step.policy === undefined || step.policy === 'pages' ? page : 512 * page);
  }
  if (step.do === 'repeat') {
    return step.times * step.steps.reduce((sum, each) => sum + workOf(each, scenario, page), 0);
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
export function workOfScenario(scenario: Scenario, page: number): number {
  const { steps, slots = [], vm = {} } = scenario;
  const logged = (vm.splitChunk ?? 0) > 0 || slots.some(({ logDirty }) => logDirty);
  const splits = logged ? slots.reduce((sum, { size }) => sum + size / page, 0) : 0;
  const made = slots.reduce((sum, each) => sum + workOfSlot(each, scenario, page) - 1, 0);
  return splits + made + steps.reduce((sum, each) => sum + workOf(each, scenario, page), 0);
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
