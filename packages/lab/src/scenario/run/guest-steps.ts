import { type Failure, refused } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import type { AccessExpectation } from '../expectations.js';
import { SCENARIO_SCHEMA } from '../scenario.js';
import type { StepOf } from '../steps.js';
import { archNames, encoded } from './arch.js';
import type { Run } from './run.js';
import { guestTables } from './guest-tables.js';
import type { Seen } from './world.js';

type AccessStep = StepOf<'read'> | StepOf<'write'> | StepOf<'fetch'>;

/** What an access came to, in the words of an expectation. */
export function seenWords(seen: Seen, { value, reaches, fault, mmio, lost }: AccessExpectation): { readonly expected: string; readonly actual: string } {
  const wanted: string[] = [];
  const got: string[] = [];
  const compare = (expected: string, actual: string): void => {
    wanted.push(expected);
    got.push(actual);
  };
  const end = seen.kind === 'fault' ? `${seen.fault.type} fault` : seen.kind === 'done' ? 'no fault' : seen.kind;
  if (value !== undefined) {
    compare(hex(value, 1), seen.kind === 'done' ? (seen.value === undefined ? 'no value (nothing but the policy runs)' : hex(seen.value, 1)) : end);
  }
  if (reaches !== undefined) {
    compare(hex(reaches), seen.kind !== 'done' ? end : seen.output === undefined ? 'no address (nothing but the policy runs)' : hex(seen.output));
  }
  if (fault !== undefined) {
    compare(fault === 'none' ? 'no fault' : `${fault} fault`, end);
  }
  if (mmio !== undefined) {
    compare(mmio ? 'mmio' : 'no fault', end);
  }
  if (lost !== undefined) {
    const actual = seen.kind === 'done' ? (seen.expected !== undefined ? 'not what was written last' : 'what was written last') : end;
    compare(lost ? 'not what was written last' : 'what was written last', actual);
  }
  return { expected: wanted.join(', '), actual: got.join(', ') };
}

export function access(run: Run, step: AccessStep): Failure | undefined {
  const { vm } = run.world;
  const vcpu = run.vcpu(step.vcpu);
  const { at, count = 1, stride = vm.sizes.page, bytes = step.do === 'fetch' ? 4 : 8, privileged = true, expect } = step;
  const value = step.do === 'write' ? { value: step.value ?? 0n } : {};
  for (let i = 0; i < count; ) {
    const address = at + i * stride;
    const seen = run.world.side.access(vcpu, { type: step.do, at: address, bytes, privileged, left: count - i, stride, ...value });
    if (seen.kind === 'failed') {
      return seen.failure;
    }
    const times = seen.kind === 'done' ? seen.times : 1;
    if (seen.kind === 'done' && seen.value !== undefined && step.do !== 'write') {
      const expected = seen.expected === undefined ? {} : { expected: hex(seen.expected, bytes * 2) };
      run.findings.read({ pe: run.world.side.peOf(vcpu), vcpu: vcpu.id, address: hex(address), bytes, value: hex(seen.value, bytes * 2), ...expected });
    }
    if (seen.kind === 'fault' && expect?.fault === undefined) {
      run.findings.notes.add(`vCPU ${vcpu.id} saw a ${seen.fault.type} fault of stage ${seen.fault.stage}${seen.injected === undefined ? '' : ` as ${seen.injected}`}, first at ${hex(address)}.`);
    }
    if (expect !== undefined) {
      const { expected, actual } = seenWords(seen, expect);
      // Of many accesses alike the first that is otherwise is told, or the last.
      if (expected !== actual || i + times >= count) {
        run.findings.expect(`${step.do} ${hex(address)} by vCPU ${vcpu.id}`, expected, actual);
        if (expected !== actual) {
          return undefined;
        }
      }
    }
    i += times;
    run.progress(i, count);
  }
  return undefined;
}

export function register(run: Run, { vcpu, name, value }: StepOf<'register'>): Failure | undefined {
  return run.world.side.register(run.vcpu(vcpu), name, value);
}

export function mmu(run: Run, { vcpu, on, caches = on }: StepOf<'mmu'>): Failure | undefined {
  const { backend } = run.world.config;
  const { sctlr } = archNames(backend);
  return run.world.side.register(run.vcpu(vcpu), sctlr, encoded(backend, sctlr, { M: Number(on), C: Number(caches), I: Number(caches) }));
}

export function setWay(run: Run, { vcpu, op, operand }: StepOf<'set-way'>): undefined {
  run.world.side.setWay(run.vcpu(vcpu), op, operand);
}

export function runOn(run: Run, { vcpu, pe }: StepOf<'run'>): Failure | undefined {
  if (pe >= run.world.config.pes) {
    return noSuch('pe', pe, run.world.config.pes);
  }
  run.world.side.runOn(run.vcpu(vcpu), pe);
  return undefined;
}

/** The guest makes its own tables: the stores are its own, with its MMU as it is. */
export function stage1(run: Run, step: StepOf<'stage1'>): Failure | undefined {
  const made = guestTables(run.world.config.backend, step);
  if (made.kind !== 'done') {
    return made;
  }
  const vcpu = run.vcpu(step.vcpu);
  for (const { address, value } of made.value.stores) {
    const seen = run.world.side.access(vcpu, { type: 'write', at: address, bytes: 8, value, privileged: true, left: 1, stride: 8 });
    if (seen.kind === 'failed') {
      return seen.failure;
    }
  }
  for (const [name, value] of made.value.registers) {
    const failure = run.world.side.register(vcpu, name, value);
    if (failure !== undefined) {
      return failure;
    }
  }
  return undefined;
}

export function tlbi(run: Run, { vcpu: id, op, operand = 0n, vmid }: StepOf<'tlbi'>): Failure | undefined {
  const machine = run.machine('tlbi');
  if ('kind' in machine) {
    return machine;
  }
  const vcpu = run.vcpu(id);
  const { hypervisor } = run.world;
  if (hypervisor !== undefined && hypervisor.vm.guestOf(vcpu) === undefined) {
    machine.enter(vcpu);
    const emulated = hypervisor.vm.tlbi(hypervisor.atTlbi(vcpu, vmid), op, operand);
    return emulated.kind === 'done' ? undefined : emulated;
  }
  if (vmid !== undefined) {
    return refused('scenario.step', `tlbi: vmid is what a guest hypervisor has in VTTBR_EL2, and vCPU ${vcpu.id} is at no virtual EL2.`, SCENARIO_SCHEMA);
  }
  const decoded = run.world.config.backend.instructions.decode(op, operand);
  if (decoded.kind !== 'done') {
    return decoded;
  }
  const outcome = machine.enter(vcpu).maintenance.tlbi(op, decoded.value, 'el1');
  return outcome.kind === 'done' ? undefined : outcome;
}

export function barrier(run: Run, { vcpu, op }: StepOf<'barrier'>): Failure | undefined {
  const machine = run.machine('barrier');
  if ('kind' in machine) {
    return machine;
  }
  const pe = machine.enter(run.vcpu(vcpu));
  if (op === 'isb') {
    pe.isb();
  } else {
    pe.maintenance.dsb(op.slice(4) as 'ish' | 'ishst' | 'nsh' | 'sy');
  }
  return undefined;
}

export function byAddress(run: Run, step: StepOf<'dc'> | StepOf<'ic'>): Failure | undefined {
  const machine = run.machine(step.do);
  if ('kind' in machine) {
    return machine;
  }
  const vcpu = run.vcpu(step.vcpu);
  if (step.op === 'IALLU' || step.op === 'IALLUIS') {
    machine.enter(vcpu).maintenance.instructions(step.op === 'IALLUIS');
    return undefined;
  }
  const { at, count = 1, stride = run.world.config.line } = step;
  if (at === undefined) {
    return refused('scenario.step', `${step.op} takes an address, \`at\`.`, SCENARIO_SCHEMA);
  }
  for (let i = 0; i < count; i += 1) {
    const seen = machine.maintain(vcpu, step.op, at + i * stride);
    if (seen.kind === 'failed') {
      return seen.failure;
    }
  }
  return undefined;
}

export function translateOnly(run: Run, { vcpu, write = false, at, expect }: StepOf<'at'>): Failure | undefined {
  const machine = run.machine('at');
  if ('kind' in machine) {
    return machine;
  }
  const seen = machine.access(run.vcpu(vcpu), { type: write ? 'at-write' : 'at-read', at, bytes: 1, privileged: true, left: 1, stride: 0 });
  if (seen.kind === 'failed') {
    return seen.failure;
  }
  if (expect !== undefined) {
    const told: Seen = seen.kind === 'done' && seen.output !== undefined ? { ...seen, value: BigInt(seen.output) } : seen;
    const { expected, actual } = seenWords(told, expect);
    run.findings.expect(`AT of ${hex(at)}`, expected, actual);
  }
  return undefined;
}

export function noSuch(field: string, number: number, count: number) {
  return refused('scenario.step', `${field} ${number} does not exist: there ${count === 1 ? 'is 1, number 0' : `are ${count}, 0 to ${count - 1}`}.`, SCENARIO_SCHEMA);
}
