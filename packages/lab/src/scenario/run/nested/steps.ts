import { type Failure, refused } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import type { Vcpu } from '@granule/kvm';
import { SCENARIO_SCHEMA } from '../../scenario.js';
import type { StepOf } from '../../steps.js';
import type { MachineSide } from '../machine-side.js';
import type { Run } from '../run.js';
import { chainReport } from './chain-report.js';
import type { ScenarioHypervisor } from './scenario-hypervisor.js';

interface Asked {
  readonly side: MachineSide;
  readonly hypervisor: ScenarioHypervisor;
  readonly vcpu: Vcpu;
}

/** The vCPU whose step it is. Refused: `scenario.fidelity`; `scenario.step`, where the guest is no hypervisor, or the vCPU is not where the step must find it. */
function asked(run: Run, step: StepOf<'stage2' | 'enter' | 'leave' | 'chain'>, inGuest: boolean): Asked | Failure {
  const side = run.machine(step.do);
  if ('kind' in side) {
    return side;
  }
  const { hypervisor } = run.world;
  if (hypervisor === undefined) {
    return refused('scenario.step', `${step.do} is a step of a guest that is a hypervisor: vm.nested says that it is one.`, SCENARIO_SCHEMA);
  }
  const vcpu = run.vcpu(step.vcpu);
  if ((hypervisor.vm.guestOf(vcpu) !== undefined) !== inGuest) {
    const where = inGuest ? 'at virtual EL2, not in a nested guest' : 'in its nested guest';
    return refused('scenario.step', `${step.do}: vCPU ${vcpu.id} is ${where}.`, SCENARIO_SCHEMA);
  }
  return { side, hypervisor, vcpu };
}

/** Its stores are those of virtual EL2. */
export function stage2(run: Run, step: StepOf<'stage2'>): Failure | undefined {
  const at = asked(run, step, false);
  if ('kind' in at) {
    return at;
  }
  const table = at.hypervisor.table(step);
  if (table.kind !== 'done') {
    return table;
  }
  const changed = table.value.change(step);
  if (changed.kind !== 'done') {
    return changed;
  }
  for (const { address, value } of table.value.stores()) {
    const seen = run.world.side.access(at.vcpu, { type: 'write', at: address, bytes: 8, value, privileged: true, left: 1, stride: 8 });
    if (seen.kind !== 'done') {
      const sentence = `The descriptor at ${hex(address)} can't be stored: it is no memory of the VM's.`;
      return seen.kind === 'failed' ? seen.failure : refused('scenario.step', sentence, SCENARIO_SCHEMA);
    }
  }
  return undefined;
}

export function enter(run: Run, step: StepOf<'enter'>): Failure | undefined {
  const at = asked(run, step, false);
  if ('kind' in at) {
    return at;
  }
  const { side, hypervisor, vcpu } = at;
  const state = hypervisor.state(step.vmid, step.table);
  if (state.kind !== 'done') {
    return state;
  }
  hypervisor.entered(vcpu, state.value);
  side.enter(vcpu);
  hypervisor.vm.enter(vcpu, state.value, side.peOf(vcpu));
  side.enter(vcpu);
  return undefined;
}

export function leave(run: Run, step: StepOf<'leave'>): Failure | undefined {
  const at = asked(run, step, true);
  if ('kind' in at) {
    return at;
  }
  const { side, hypervisor, vcpu } = at;
  side.enter(vcpu);
  hypervisor.vm.leave(vcpu);
  side.enter(vcpu);
  return undefined;
}

export function chain(run: Run, step: StepOf<'chain'>): Failure | undefined {
  const at = asked(run, step, true);
  if ('kind' in at) {
    return at;
  }
  const { side, hypervisor, vcpu } = at;
  side.enter(vcpu);
  const { context, chain: found } = hypervisor.chain(vcpu, step.at);
  run.findings.chains.push(chainReport(run.world.recorder.phase, vcpu.id, context, found));
  if (step.expect !== undefined) {
    run.findings.expect(`shadow at ${hex(step.at)} of vCPU ${vcpu.id}`, step.expect.standing, found.standing);
  }
  return undefined;
}
