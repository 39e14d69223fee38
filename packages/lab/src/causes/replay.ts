import { type Outcome, done } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { Checkpoints } from '../replay/checkpoints.js';
import { contradictionsOf } from '../replay/contradictions.js';
import { PROGRESS_EVENTS, type ReplayOptions } from '../replay/options.js';
import type { CheckpointComparison, TableComparison } from '../replay/report.js';
import { checkpointOf, tornPlaces, type TracedEvent } from '../replay/trace-pass.js';
import { knownUpTo } from './nested-run.js';
import { type OpenRun, openRun, policyInput } from './open.js';
import { PolicyReplayer } from './replayer.js';
import type { CausesReport, NestedReport, Pair, Undetermined } from './report.js';
import type { PolicyInput } from './session.js';
import { type PlacedStep, placeSteps } from './steps.js';
import { unpairedOf } from './unpaired.js';

/** The trace that `steps.json` calls `end`. */
const END = 'end.trace.txt';

/**
 * Drives KVM's policy with the causes of a real run: guest faults, notifiers, trapped cache operations and register writes from the trace, memory slots and
 * what else the VMM did from `steps.json`. What the policy then calls is held against what the kernel called, in order, and at each checkpoint its table
 * against the kernel's. What only a call itself can tell (a physical address, the size and writability of a host page at its first use) is given and counted.
 *
 * Refused: as replayOps does, `replay.no-steps`; not modelled: `replay.nested`, `replay.several-vms`.
 */
export function replayCauses(options: ReplayOptions & Pick<PolicyInput, 'onCall' | 'explain'>): Outcome<CausesReport> {
  const run = openRun(options);
  if (run.kind !== 'done') {
    return run;
  }
  const input = policyInput(options, run.value);
  if (input.kind !== 'done') {
    return input;
  }
  const { steps, slots, events } = run.value;
  const vmmTask = events.find(({ decoded }) => decoded?.event === 's2_init')?.source.pid;
  const { onCall, explain } = options;
  const replayer = new PolicyReplayer({ ...input.value, ...(onCall && { onCall }), ...(explain && { explain }) }, slots, vmmTask);
  const compared = drive(options, replayer, run.value, placeSteps(steps, 'end'));
  return compared.kind === 'done' ? done(reportOf(run.value, input.value, replayer, compared.value, options.until)) : compared;
}

function drive(options: ReplayOptions, replayer: PolicyReplayer, { events, known }: OpenRun, steps: readonly PlacedStep[]): Outcome<readonly CheckpointComparison[]> {
  const checkpoints = new Checkpoints(options);
  const compared: CheckpointComparison[] = [];
  let next = 0;
  for (const [i, event] of events.entries()) {
    if (i % PROGRESS_EVENTS === 0) {
      options.progress?.('events of the trace', i, events.length);
    }
    for (; event.trace === END && next < steps.length && steps[next].before <= event.source.number; next++) {
      replayer.step(steps[next], event, () => from(events, i));
    }
    if (replayer.session.problem !== undefined) {
      return replayer.session.problem;
    }
    replayer.event(event, from(events, i + 1));
    const checkpoint = checkpointOf(event.decoded);
    if (checkpoint !== undefined && !compared.some(({ name }) => name === checkpoint)) {
      replayer.session.nested?.reached(known.find((each) => each.checkpoint === checkpoint)?.nested);
      const comparison = checkpoints.compare(checkpoint, replayer.live);
      if (comparison.kind !== 'done') {
        return comparison;
      }
      compared.push(comparison.value);
      if (checkpoint === options.until) {
        next = steps.length;
        break;
      }
    }
  }
  const last = events.at(-1);
  for (; last !== undefined && next < steps.length; next++) {
    replayer.step(steps[next], last, () => []);
  }
  replayer.finish();
  return done(compared);
}

function* from(events: readonly TracedEvent[], start: number): Generator<TracedEvent> {
  for (let i = start; i < events.length; i++) {
    yield events[i];
  }
}

/** The events that the replay went through. */
function upTo(until: string | undefined, { events }: OpenRun): readonly TracedEvent[] {
  const stop = events.findIndex(({ decoded }) => until !== undefined && checkpointOf(decoded) === until);
  return stop === -1 ? events : events.slice(0, stop + 1);
}

function undeterminedOf({ session }: PolicyReplayer, run: OpenRun, until: string | undefined, sameVmid: boolean): readonly Undetermined[] {
  const untraced = Object.entries(session.comparison.untraced).map(([what, count]) => ({
    what: `calls of ${what}`, count, reason: 'this run has no event of that name, so the kernel was not probed there or did it out of sight (at EL2)',
  }));
  const sum = (of: 'torn' | 'lost'): number => run.counts.reduce((all, each) => all + each[of], 0);
  const missing = [
    { what: 'torn lines', count: sum('torn'), reason: `${tornPlaces(run.counts).join('; ')}; what they told is not known, and differences may follow from them` },
    { what: 'lost events', count: sum('lost'), reason: 'the ring buffer was full; differences may follow from them' },
    { what: 'VMID', count: sameVmid ? 0 : 1, reason: 'VMs that ran before this one are in no trace' },
  ];
  const nested = session.nested?.undeterminedOf(session.comparison.filtered) ?? [];
  return [...untraced, ...unpairedOf(upTo(until, run), run.surveyed.returns), ...nested, ...session.unknown.values(), ...session.hostMemory.untold, ...missing.filter(({ count }) => count > 0)];
}

/** VTCR_EL2 and VTTBR_EL2 of the VM's own stage 2: with a virtual EL2 they are in force only while no nested guest runs. */
function registersOf({ known }: OpenRun): { readonly vtcr: bigint | undefined; readonly vttbr: bigint } {
  const own = known.find(({ nested }) => nested?.current === undefined)?.registers;
  const vttbr = known.find(({ nested }) => nested !== undefined)?.nested?.canonicalVTTBR_EL2 ?? own?.['VTTBR_EL2'];
  return { vtcr: own?.['VTCR_EL2'], vttbr: vttbr ?? 0n };
}

function isExact({ contexts, guestEntries, shadows }: NestedReport): boolean {
  const told = shadows.flatMap(({ vtcr, vmid }): readonly Pair<unknown>[] => [vtcr, vmid]).filter(({ kernel }) => kernel !== undefined);
  return contexts.equal === contexts.total && guestEntries.equal === guestEntries.total && told.every(({ ours, kernel }) => ours === kernel);
}

function reportOf(run: OpenRun, input: PolicyInput, replayer: PolicyReplayer, checkpoints: readonly CheckpointComparison[], until: string | undefined): CausesReport {
  const { comparison, vm, hostMemory, dirtyPages, causes } = replayer.session;
  const { calls, answers, differences, moreDifferences } = comparison;
  const tables = checkpoints.flatMap((each) => each.tables);
  const total = (of: readonly TableComparison[], what: 'total' | 'equal'): number => of.reduce((all, { mappings }) => all + mappings[what], 0);
  const sum = (of: 'total' | 'equal'): number => Object.values(calls).reduce((all, each) => all + each[of], 0);
  const theirs = registersOf(run);
  const vtcr = { ours: hex(vm?.vtcr ?? 0n, 1), ...(theirs.vtcr === undefined ? {} : { kernel: hex(theirs.vtcr, 1) }) };
  const vmid = { ours: vm?.vmid ?? 0, kernel: Number((theirs.vttbr >> 48n) & 0xffffn) };
  const contradictions = contradictionsOf(run.surveyed, run.steps);
  const nested = replayer.session.nested?.report(knownUpTo(until, run.known));
  const shadows = tables.filter(({ shadow }) => shadow === true);
  const totals = {
    calls: { equal: sum('equal'), total: sum('total') }, mappings: { equal: total(tables, 'equal'), total: total(tables, 'total') }, dirtyPages, answers,
    ...(nested && { shadowMappings: { equal: total(shadows, 'equal'), total: total(shadows, 'total') } }),
  };
  const violations = (vm?.violations ?? []).map(({ id, sentence }) => ({ id, sentence }));
  const whole = Object.values(totals).every(({ equal, total: all }) => equal === all) && differences.length === 0;
  const sound = tables.length > 0 && tables.every(({ exact }) => exact) && checkpoints.every(({ problems }) => problems.length === 0);
  const { about: { run: name, kernel, cpu }, counts: traces } = run;
  return {
    run: name, kernel, cpu, profile: input.kernel.version, kernelGiven: input.kernelGiven, vtcr, vmid, traces, causes, calls, totals,
    given: Object.fromEntries(hostMemory.given), contradictions, undetermined: undeterminedOf(replayer, run, until, vmid.ours === vmid.kernel),
    differences, moreDifferences, violations, checkpoints, ...(nested && { nested }),
    ...(replayer.session.histories && { history: replayer.session.histories.all }),
    exact: whole && sound && violations.length === 0 && contradictions.length === 0 && (vtcr.kernel ?? vtcr.ours) === vtcr.ours && (nested === undefined || isExact(nested)),
  };
}
