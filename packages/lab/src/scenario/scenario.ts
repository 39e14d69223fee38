import { z } from 'zod';
import { expectation } from './expectations.js';
import { host, hyp, machine, memory, slot, vm } from './machine-schema.js';
import { step } from './steps.js';
import { fields, oneOf, text, whole } from './values.js';

export const SCENARIO_SCHEMA = 'granule-scenario/1';

/** The same scenario with some of its settings otherwise; its expectations, where it has any, replace the common ones. */
const variant = fields({
  name: text,
  machine: machine.partial().optional(),
  host: host.partial().optional(),
  vm: vm.partial().optional(),
  hyp: hyp.partial().optional(),
  memory: z.array(memory).optional().describe('In place of the common list.'),
  slots: z.array(slot).optional().describe('In place of the common list.'),
  expect: expectation.optional(),
});

const measured = fields({
  total: text.regex(/^[0-9]+(\.[0-9]+)? ?(ns|us|ms|s|min|h)$/, { error: 'is not a time, as 949 ms' }),
  profile: text,
  between: z.tuple([text, text]).describe('Names of variants.'),
  phase: text.optional(),
  parts: whole(1, 2 ** 20).optional().describe('Into how many steps the range falls whose sizes are mixed.'),
  source: text,
});

export const scenarioSchema = fields({
  schema: z.literal(SCENARIO_SCHEMA, { error: `is not ${SCENARIO_SCHEMA}` }),
  name: text,
  question: text.optional().describe('What the run answers, one sentence.'),
  sources: z.array(text).optional().describe('What its numbers rest on: functions, clauses, threads.'),
  costs: z.array(text).optional().describe('Cost profiles for the estimates, by name.'),
  measured: z.array(measured).optional().describe('Measured totals, held between the costs of two variants.'),
  fidelity: oneOf('machine', 'judged', 'policy').optional()
    .describe('How much of the machine runs; default: as much as the size of the work lets it.'),
  machine: machine.optional(),
  host: host.optional(),
  vm: vm.optional(),
  hyp: hyp.optional(),
  memory: z.array(memory).optional().describe("The VMM's memory; a later range replaces what it covers of earlier ones."),
  slots: z.array(slot).optional(),
  steps: z.array(step).min(1, { error: 'has no step' }),
  expect: expectation.optional(),
  variants: z.array(variant).min(1).optional().describe('Runs that are put beside each other; absent: one run.'),
}).meta({ title: SCENARIO_SCHEMA, description: 'A machine, a VM on it, and what its guests and its host do.' });

/** As it is written: addresses and values may be texts. */
export type ScenarioInput = z.input<typeof scenarioSchema>;
/** As it is read: addresses are numbers, values bigints. */
export type Scenario = z.output<typeof scenarioSchema>;
export type Variant = z.output<typeof variant>;

/** The JSON Schema of a scenario as it is written (draft 2020-12). */
export function scenarioJsonSchema(): unknown {
  return z.toJSONSchema(scenarioSchema, { io: 'input' });
}
