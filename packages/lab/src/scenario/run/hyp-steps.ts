import { type Failure, type Outcome, done, refused } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { SCENARIO_SCHEMA } from '../scenario.js';
import type { StepOf } from '../steps.js';
import { archNames } from './arch.js';
import { seenWords } from './guest-steps.js';
import { createHyp, HYP_MAIR, type Hyp } from './hyp.js';
import type { Run } from './run.js';
import type { World } from './world.js';

type HypStep =
  | StepOf<'hyp-map'> | StepOf<'hyp-unmap'> | StepOf<'hyp-stack'> | StepOf<'hyp-private'> | StepOf<'hyp-share'> | StepOf<'hyp-unshare'> | StepOf<'hyp-access'>;

/** EL2's table, its registers on every PE where there are PEs. */
export function startHyp(world: World): Outcome<Hyp | undefined> {
  const spec = world.scenario.hyp;
  if (spec === undefined) {
    return done(undefined);
  }
  const hyp = createHyp(world, spec);
  if (hyp.kind === 'done') {
    const { table } = hyp.value;
    const { backend } = world.config;
    const { granule, iaBits, oaBits, startLevel } = table.format.geometry;
    world.side.installHyp(hyp.value.registers);
    world.tell({
      type: 'context-installed', regime: archNames(backend).hyp, root: table.root, format: { backend: backend.name, granule, iaBits, oaBits, startLevel, mair: HYP_MAIR },
    });
  }
  return hyp;
}

export function hypStep(run: Run, step: HypStep): Failure | undefined {
  const { hyp } = run;
  if (hyp === undefined) {
    return refused('scenario.step', `${step.do} needs the section \`hyp\`.`, SCENARIO_SCHEMA);
  }
  const outcome = performed(run, hyp, step);
  return outcome.kind === 'done' ? undefined : outcome;
}

function performed(run: Run, hyp: Hyp, step: HypStep): Outcome<unknown> {
  const { mappings, shared } = hyp;
  const { physical } = step;
  switch (step.do) {
    case 'hyp-map':
      return mappings.mapObject(physical, physical + step.size, step.kind ?? 'data');
    case 'hyp-unmap': {
      const outcome = mappings.unmap(hyp.addressOf(physical), step.size);
      if (outcome.kind === 'done' && step.expect !== undefined) {
        run.findings.expect(`bytes unmapped at ${hex(physical)}`, String(step.expect.bytes), String(outcome.value));
      }
      return outcome;
    }
    case 'hyp-stack':
      return mappings.createStack(physical, step.size);
    case 'hyp-private':
      return mappings.mapPrivate(physical, step.size, step.kind ?? 'device');
    case 'hyp-share':
      return shared.share(physical, physical + step.size);
    case 'hyp-unshare':
      return shared.unshare(physical, physical + step.size);
    case 'hyp-access':
      return hypAccess(run, hyp, step);
  }
}

function hypAccess(run: Run, hyp: Hyp, { access = 'read', pe = 0, physical, expect }: StepOf<'hyp-access'>): Outcome<undefined> {
  const side = run.machine('hyp-access');
  if ('kind' in side) {
    return side;
  }
  const address = hyp.addressOf(physical);
  const seen = side.asHyp(pe, access, address);
  if (seen.kind === 'failed') {
    return seen.failure;
  }
  if (expect !== undefined) {
    const { expected, actual } = seenWords(seen, expect);
    run.findings.expect(`EL2 ${access} of ${hex(address)}`, expected, actual);
  }
  return done(undefined);
}
