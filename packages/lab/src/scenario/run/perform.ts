import type { Failure } from '@granule/contract';
import type { Step, StepName, StepOf } from '../steps.js';
import * as guest from './guest-steps.js';
import * as host from './host-steps.js';
import { hypStep } from './hyp-steps.js';
import * as nested from './nested/steps.js';
import type { Run } from './run.js';

type Performed = Failure | undefined;

/** What each step does. */
const STEPS: { readonly [Name in StepName]: (run: Run, step: StepOf<Name>) => Performed } = {
  'read': guest.access,
  'write': guest.access,
  'fetch': guest.access,
  'run': guest.runOn,
  'set-way': guest.setWay,
  'register': guest.register,
  'mmu': guest.mmu,
  'stage1': guest.stage1,
  'tlbi': guest.tlbi,
  'barrier': guest.barrier,
  'dc': guest.byAddress,
  'ic': guest.byAddress,
  'at': guest.translateOnly,
  'stage2': nested.stage2,
  'enter': nested.enter,
  'leave': nested.leave,
  'chain': nested.chain,
  'set-slot': host.setSlot,
  'delete-slot': host.deleteSlot,
  'back': host.back,
  'notifier-unmap': host.unmapNotifier,
  'age': host.age,
  'log-dirty': host.logDirty,
  'get-dirty-log': host.getLog,
  'clear-dirty-log': host.clearLog,
  'ioremap': host.ioremap,
  'unmap': host.unmap,
  'teardown': host.teardown,
  'reset-vcpu': host.resetVcpu,
  'other-vms': host.otherVms,
  'host-write': host.hostWrite,
  'host-read': host.hostRead,
  'observe': host.observe,
  'dma': host.dma,
  'hyp-map': hypStep,
  'hyp-unmap': hypStep,
  'hyp-stack': hypStep,
  'hyp-private': hypStep,
  'hyp-share': hypStep,
  'hyp-unshare': hypStep,
  'hyp-access': hypStep,
  'phase': ({ findings }, { name }) => {
    findings.phase(name);
    return undefined;
  },
  'expect': ({ findings }, { counts, source }) => {
    findings.expectCounts(counts, source);
    return undefined;
  },
  'repeat': (run, { times, steps }) => run.repeat(times, steps),
};

/** Does a step; the failure is of the step, or of a guest's access. */
export function perform(run: Run, step: Step): Performed {
  return (STEPS[step.do] as (run: Run, step: Step) => Performed)(run, step);
}
