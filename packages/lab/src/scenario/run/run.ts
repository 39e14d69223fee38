import { type Failure, refused } from '@granule/contract';
import type { Vcpu } from '@granule/kvm';
import type { Progress } from '../../progress.js';
import { SCENARIO_SCHEMA } from '../scenario.js';
import type { Step } from '../steps.js';
import type { Findings } from './findings.js';
import { noSuch } from './guest-steps.js';
import type { Hyp } from './hyp.js';
import type { MachineSide } from './machine-side.js';
import { perform } from './perform.js';
import type { World } from './world.js';

/** One run of a scenario's steps. */
export class Run {
  /** The step at hand, for people. */
  label = '';

  constructor(
    readonly world: World,
    readonly findings: Findings,
    private readonly hardware: MachineSide | undefined,
    readonly hyp: Hyp | undefined,
    private readonly told: Progress,
  ) {}

  /** Tells how far the step is. */
  progress(done: number, of: number): void {
    this.told(this.label, done, of);
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
    return perform(this, step);
  }

  /** A vCPU or PE that does not exist, or a table that exists no more. */
  #missing(step: Step): Failure | undefined {
    const { vcpus, config, down } = this.world;
    if ('vcpu' in step && (step.vcpu ?? 0) >= vcpus.length) {
      return noSuch('vcpu', step.vcpu ?? 0, vcpus.length);
    }
    if ('pe' in step && (step.pe ?? 0) >= config.pes) {
      return noSuch('pe', step.pe ?? 0, config.pes);
    }
    const table = !['phase', 'expect', 'back', 'observe', 'dma', 'host-read', 'host-write', 'repeat'].includes(step.do) && !step.do.startsWith('hyp-');
    return down && table ? refused('scenario.step', `${step.do} comes after the teardown of the VM.`, SCENARIO_SCHEMA) : undefined;
  }

  repeat(times: number, steps: readonly Step[]): Failure | undefined {
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
