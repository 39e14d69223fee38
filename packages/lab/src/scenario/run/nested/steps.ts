import { type Failure, refused } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { SCENARIO_SCHEMA } from '../../scenario.js';
import type { SingleStep, StepOf } from '../../steps.js';
import type { MachineSide } from '../machine-side.js';
import type { Run } from '../run.js';
import { chainReport } from './chain-report.js';
import type { GuestHypervisor } from './guest-hypervisor.js';

interface AtEl2 {
  readonly side: MachineSide;
  readonly hypervisor: GuestHypervisor;
}

/** The guest hypervisor, whose step it is. */
function hypervisorOf(run: Run, step: SingleStep): AtEl2 | Failure {
  const side = run.machine(step.do);
  if ('kind' in side) {
    return side;
  }
  const { hypervisor } = run.world;
  return hypervisor === undefined
    ? refused('scenario.step', `${step.do} is a step of a guest that is a hypervisor: vm.nested says that it is one.`, SCENARIO_SCHEMA)
    : { side, hypervisor };
}

function elsewhere(step: SingleStep & { readonly vcpu?: number | undefined }, inside: boolean): Failure {
  return refused('scenario.step', `${step.do}: vCPU ${step.vcpu ?? 0} is ${inside ? 'in its nested guest' : 'at virtual EL2, not in a nested guest'}.`, SCENARIO_SCHEMA);
}

/** Its stores are those of virtual EL2. */
export function stage2(run: Run, step: StepOf<'stage2'>): Failure | undefined {
  const at = hypervisorOf(run, step);
  if ('kind' in at) {
    return at;
  }
  const { hypervisor } = at;
  const vcpu = run.vcpu(step.vcpu);
  if (hypervisor.vm.guestOf(vcpu) !== undefined) {
    return elsewhere(step, true);
  }
  const table = hypervisor.table(step);
  if (table.kind !== 'done') {
    return table;
  }
  const changed = table.value.change(step);
  if (changed.kind !== 'done') {
    return changed;
  }
  for (const { address, value } of table.value.stores()) {
    const seen = run.world.side.access(vcpu, { type: 'write', at: address, bytes: 8, value, privileged: true, left: 1, stride: 8 });
    if (seen.kind !== 'done') {
      const sentence = `The descriptor at ${hex(address)} can't be stored: it is no memory of the VM's.`;
      return seen.kind === 'failed' ? seen.failure : refused('scenario.step', sentence, SCENARIO_SCHEMA);
    }
  }
  return undefined;
}

export function enter(run: Run, step: StepOf<'enter'>): Failure | undefined {
  const at = hypervisorOf(run, step);
  if ('kind' in at) {
    return at;
  }
  const vcpu = run.vcpu(step.vcpu);
  if (at.hypervisor.vm.guestOf(vcpu) !== undefined) {
    return elsewhere(step, true);
  }
  const state = at.hypervisor.state(step.vmid, step.table);
  if (state.kind !== 'done') {
    return state;
  }
  at.hypervisor.entered(vcpu, state.value);
  at.side.enter(vcpu);
  at.hypervisor.vm.enter(vcpu, state.value, at.side.peOf(vcpu));
  at.side.enter(vcpu);
  return undefined;
}

export function leave(run: Run, step: StepOf<'leave'>): Failure | undefined {
  const at = hypervisorOf(run, step);
  if ('kind' in at) {
    return at;
  }
  const vcpu = run.vcpu(step.vcpu);
  if (at.hypervisor.vm.guestOf(vcpu) === undefined) {
    return elsewhere(step, false);
  }
  at.side.enter(vcpu);
  at.hypervisor.vm.leave(vcpu);
  at.side.enter(vcpu);
  return undefined;
}

export function chain(run: Run, step: StepOf<'chain'>): Failure | undefined {
  const at = hypervisorOf(run, step);
  if ('kind' in at) {
    return at;
  }
  const vcpu = run.vcpu(step.vcpu);
  const found = at.hypervisor.chain(vcpu, step.at);
  const context = at.hypervisor.vm.contextOf(vcpu);
  if (found === undefined || context === undefined) {
    return elsewhere(step, false);
  }
  run.findings.chains.push(chainReport(run.world.recorder.phase, vcpu.id, context.index, found));
  if (step.expect !== undefined) {
    run.findings.expect(`shadow at ${hex(step.at)} of vCPU ${vcpu.id}`, step.expect.standing, found.standing);
  }
  return undefined;
}
