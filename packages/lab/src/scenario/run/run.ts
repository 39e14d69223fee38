import { type Failure, refused } from '@granule/contract';
import type { Vcpu } from '@granule/kvm';
import { SCENARIO_SCHEMA } from '../scenario.js';
import type { Step } from '../steps.js';
import type { Findings } from './findings.js';
import * as guest from './guest-steps.js';
import * as host from './host-steps.js';
import type { Hyp } from './hyp.js';
import { hypStep } from './hyp-steps.js';
import type { MachineSide } from './machine-side.js';
import type { World } from './world.js';

/** Told while steps take long: what, how much of how much. */
export type Progress = (what: string, done: number, of: number) => void;

/** One run of a scenario's steps. */
export class Run {
  #accesses = 0;

  constructor(
    readonly world: World,
    readonly findings: Findings,
    private readonly hardware: MachineSide | undefined,
    readonly hyp: Hyp | undefined,
    readonly progress: Progress,
  ) {}

  /** Accesses so far; without hardware nothing else counts them. */
  get accesses(): number {
    return this.#accesses;
  }

  accessed(times: number): void {
    this.#accesses += times;
  }

  vcpu(id = 0): Vcpu {
    return this.world.vcpus[id];
  }

  /** Modelled hardware, where the run has it. */
  machine(step: string): MachineSide | Failure {
    return this.hardware ?? refused('scenario.fidelity', `${step} needs modelled hardware, and this run has the policy alone.`, SCENARIO_SCHEMA);
  }

  /** Does a step. The failure is of the step, or of a guest's access. */
  step(step: Step): Failure | undefined {
    const wrong = this.#missing(step);
    if (wrong !== undefined) {
      return wrong;
    }
    if ('pe' in step && step.pe !== undefined) {
      this.world.pe = step.pe;
    } else if (!('vcpu' in step)) {
      this.world.pe = 0;
    }
    return this.#perform(step);
  }

  /** A vCPU or PE that does not exist, or a table that exists no more. */
  #missing(step: Step): Failure | undefined {
    const { vcpus, config, down } = this.world;
    if ('vcpu' in step && (step.vcpu ?? 0) >= vcpus.length) {
      return guest.noSuch('vcpu', step.vcpu ?? 0, vcpus.length);
    }
    if ('pe' in step && (step.pe ?? 0) >= config.pes) {
      return guest.noSuch('pe', step.pe ?? 0, config.pes);
    }
    const table = !['phase', 'expect', 'back', 'observe', 'dma', 'host-read', 'host-write', 'repeat'].includes(step.do) && !step.do.startsWith('hyp-');
    return down && table ? refused('scenario.step', `${step.do} comes after the teardown of the VM.`, SCENARIO_SCHEMA) : undefined;
  }

  #perform(step: Step): Failure | undefined {
    switch (step.do) {
      case 'read':
      case 'write':
      case 'fetch':
        return guest.access(this, step);
      case 'run':
        return guest.runOn(this, step);
      case 'set-way':
        return guest.setWay(this, step);
      case 'register':
        return guest.register(this, step);
      case 'mmu':
        return guest.mmu(this, step);
      case 'stage1':
        return guest.stage1(this, step);
      case 'tlbi':
        return guest.tlbi(this, step);
      case 'dc':
      case 'ic':
        return guest.byAddress(this, step);
      case 'at':
        return guest.translateOnly(this, step);
      case 'barrier':
        return guest.barrier(this, step);
      case 'set-slot':
        return host.setSlot(this, step);
      case 'delete-slot':
        return host.deleteSlot(this, step);
      case 'back':
        return host.back(this, step);
      case 'notifier-unmap':
        return host.unmapNotifier(this, step);
      case 'age':
        return host.age(this, step);
      case 'log-dirty':
        return host.logDirty(this, step);
      case 'get-dirty-log':
        return host.getLog(this, step);
      case 'clear-dirty-log':
        return host.clearLog(this, step);
      case 'ioremap':
        return host.ioremap(this, step);
      case 'unmap':
        return host.unmap(this, step);
      case 'teardown':
        return host.teardown(this);
      case 'reset-vcpu':
        return host.resetVcpu(this, step);
      case 'other-vms':
        return host.otherVms(this, step);
      case 'host-write':
        return host.hostWrite(this, step);
      case 'host-read':
        return host.hostRead(this, step);
      case 'observe':
        return host.observe(this, step);
      case 'dma':
        return host.dma(this, step);
      case 'hyp-map':
      case 'hyp-unmap':
      case 'hyp-stack':
      case 'hyp-private':
      case 'hyp-share':
      case 'hyp-unshare':
      case 'hyp-access':
        return hypStep(this, step);
      case 'phase':
        return void this.findings.phase(step.name);
      case 'expect':
        return void this.findings.expectCounts(step.counts, step.source);
      case 'repeat':
        return this.#repeat(step.times, step.steps);
    }
  }

  #repeat(times: number, steps: readonly Step[]): Failure | undefined {
    for (let i = 0; i < times; i += 1) {
      for (const step of steps) {
        const failure = this.step(step);
        if (failure !== undefined) {
          return failure;
        }
      }
    }
    return undefined;
  }
}
