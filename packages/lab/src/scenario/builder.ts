import type { Outcome } from '@granule/contract';
import { checkScenario } from './read.js';
import { SCENARIO_SCHEMA, type Scenario, type ScenarioInput } from './scenario.js';
import type { StepInput } from './steps.js';

type Setting = Omit<ScenarioInput, 'schema' | 'steps'>;
type Named<Name extends StepInput['do']> = Extract<StepInput, { readonly do: Name }>;
/** What a step takes besides its name. */
type With<Name extends StepInput['do'], Given extends string = never> = Omit<Named<Name>, 'do' | Given>;
type Amount = Named<'read'>['at'];
type Word = NonNullable<Named<'write'>['value']>;

/** Steps of one virtual CPU. */
export interface VcpuSteps {
  read(at: Amount, more?: With<'read', 'at' | 'vcpu'>): VcpuSteps;
  write(at: Amount, value: Word, more?: With<'write', 'at' | 'value' | 'vcpu'>): VcpuSteps;
  fetch(at: Amount, more?: With<'fetch', 'at' | 'vcpu'>): VcpuSteps;
  /** From here on it runs on this PE. */
  runOn(pe: number): VcpuSteps;
  register(name: string, value: Word): VcpuSteps;
  mmu(on: boolean, more?: With<'mmu', 'on' | 'vcpu'>): VcpuSteps;
  setWay(op: Named<'set-way'>['op'], operand?: Amount): VcpuSteps;
  /** Another vCPU. */
  vcpu(vcpu: number): VcpuSteps;
  /** Back to the scenario. */
  readonly scenario: ScenarioBuilder;
}

/** Builds what a YAML scenario says, field for field. */
export class ScenarioBuilder {
  readonly #setting: Setting;
  readonly #steps: StepInput[] = [];

  constructor(setting: Setting) {
    this.#setting = setting;
  }

  /** A step by its name, as YAML has it. */
  step<Name extends StepInput['do']>(name: Name, fields: With<Name>): this {
    this.#steps.push({ do: name, ...fields } as StepInput);
    return this;
  }

  phase(name: string): this {
    return this.step('phase', { name });
  }

  vcpu(vcpu: number): VcpuSteps {
    const add = (step: StepInput): VcpuSteps => {
      this.#steps.push(step);
      return steps;
    };
    const steps: VcpuSteps = {
      read: (at, more = {}) => add({ do: 'read', vcpu, at, ...more }),
      write: (at, value, more = {}) => add({ do: 'write', vcpu, at, value, ...more }),
      fetch: (at, more = {}) => add({ do: 'fetch', vcpu, at, ...more }),
      runOn: (pe) => add({ do: 'run', vcpu, pe }),
      register: (name, value) => add({ do: 'register', vcpu, name, value }),
      mmu: (on, more = {}) => add({ do: 'mmu', vcpu, on, ...more }),
      setWay: (op, operand) => add({ do: 'set-way', vcpu, op, ...(operand === undefined ? {} : { operand }) }),
      vcpu: (other) => this.vcpu(other),
      scenario: this,
    };
    return steps;
  }

  /** As it would be written. */
  input(): ScenarioInput {
    return { schema: SCENARIO_SCHEMA, ...this.#setting, steps: [...this.#steps] };
  }

  /** As it is run. Refused: `scenario.field`. */
  build(): Outcome<Scenario> {
    return checkScenario(this.input());
  }
}

/** Begins a scenario: everything but its steps. */
export function scenario(setting: Setting): ScenarioBuilder {
  return new ScenarioBuilder(setting);
}
