import { type Outcome, done, notModelled, refused } from '@granule/contract';
import { hex, parseAddress } from '@granule/geometry/bits';
import type { RunFile, StepsFile } from '@granule/snapshot';
import { Checkpoints } from '../replay/checkpoints.js';
import { type KernelTables, placeTables } from '../replay/kernel-tables.js';
import { protLayoutOf } from '../replay/prot.js';
import { noCheckpoint, type ReplayOptions, surveyCheckpoints } from '../replay/replay.js';
import type { CheckpointComparison } from '../replay/report.js';
import { openTraces, readAbout, readLines, readSteps } from '../replay/run-directory.js';
import { type Survey, survey } from '../replay/survey.js';
import { checkpointOf, eventsOf, type TraceCount, type TracedEvent } from '../replay/trace-pass.js';
import { isCall } from './actual.js';
import { granuleOfPage, hostProfile, instructionLine, profileOf } from './machine.js';
import { type PlacedStep, placeSteps } from './steps.js';
import { type PolicyInput, PolicyReplayer } from './replayer.js';
import type { CausesReport, Undetermined } from './report.js';

const POOL_BYTES = 2 ** 27;
const SOURCE = 'granule replay';

/** The trace that `steps.json` calls `end`. */
const END = 'end.trace.txt';

/**
 * Drives KVM's policy with the causes of a real run: guest faults, notifiers, trapped cache operations and register writes from the trace, memory slots and
 * what else the VMM did from `steps.json`. What the policy then calls is held against what the kernel called, in order, and at each checkpoint its table
 * against the kernel's. What only a call itself can tell (a physical address, the size and writability of a host page at its first use) is given and counted.
 *
 * Refused: as replayOps does, `replay.no-steps`; not modelled: `replay.nested` (several stage-2 tables).
 */
export function replayCauses(options: ReplayOptions): Outcome<CausesReport> {
  const opened = openRun(options);
  if (opened.kind !== 'done') {
    return opened;
  }
  const { about, steps, known, events } = opened.value;
  const input = policyInput(options, opened.value);
  if (input.kind !== 'done') {
    return input;
  }
  const replayer = new PolicyReplayer(input.value);
  const compared = drive(options, replayer, events, placeSteps(steps, 'end'));
  return compared.kind === 'done' ? done(reportOf(about, replayer, opened.value, compared.value, known, input.value.kernel.version)) : compared;
}

/** All of a run that is read before the first event. */
interface OpenRun {
  readonly about: RunFile;
  readonly steps: StepsFile;
  readonly surveyed: Survey;
  readonly known: readonly KernelTables[];
  readonly events: readonly TracedEvent[];
  readonly counts: readonly TraceCount[];
}

function openRun(options: ReplayOptions): Outcome<OpenRun> {
  const { files, until } = options;
  const about = readAbout(files);
  if (about.kind !== 'done') {
    return about;
  }
  const steps = readSteps(files);
  if (steps.kind !== 'done') {
    return steps;
  }
  const traces = openTraces(files);
  if (traces.kind !== 'done') {
    return traces;
  }
  if (steps.value === undefined) {
    return refused('replay.no-steps', 'There is no steps.json: what the VMM did is not known, and with it the memory slots.', SOURCE);
  }
  const surveyed = survey(traces.value);
  const known = surveyCheckpoints(options, surveyed);
  if (known.kind !== 'done') {
    return known;
  }
  if (until !== undefined && !known.value.some(({ checkpoint }) => checkpoint === until)) {
    return noCheckpoint(until, known.value);
  }
  const counts: TraceCount[] = [];
  const events = [...eventsOf(traces.value, counts)];
  return done({ about: about.value, steps: steps.value, surveyed, known: known.value, events, counts });
}

/** The one VM of the run, and the machine that it ran on. */
function policyInput(options: ReplayOptions, { about, steps, surveyed, known, events }: OpenRun): Outcome<PolicyInput> {
  const stage2 = surveyed.tables.filter(({ kind }) => kind === 's2');
  if (stage2.length !== 1 || known.some(({ canonical }) => canonical !== undefined)) {
    const sentence = `The trace makes ${stage2.length} stage-2 tables; replay by causes knows one VM without nesting. With --ops it can be replayed.`;
    return notModelled('replay.nested', sentence, SOURCE);
  }
  const placed = placeTables(surveyed.tables, known)[surveyed.tables.indexOf(stage2[0])];
  const backend = Object.values(options.backends).find(({ name }) => name === placed?.like.format.backend);
  const granule = granuleOfPage(steps.pageSize);
  if (placed === undefined || backend === undefined || granule === undefined) {
    return refused('replay.no-table', 'No checkpoint has the stage-2 table that the trace makes.', SOURCE);
  }
  const traced = new Set(events.flatMap(({ decoded }) => (decoded !== undefined && isCall(decoded) ? [decoded.event] : [])));
  const { withBit3, values } = surveyed.prots;
  return done({
    backend, placed, traced,
    kernel: profileOf(about.kernel),
    host: hostProfile(backend, placed.registers, granule, traced.has('flush_vmid_range')),
    layout: protLayoutOf(about.kernel, withBit3, values),
    icacheLimit: 2 ** (placed.like.format.geometry.pageShift - 3) * instructionLine(placed.registers),
    tableBytes: options.tableBytes ?? POOL_BYTES,
    dirtyLog: (step) => readDirtyLog(options, step),
  });
}

/** Pages that a KVM_GET_DIRTY_LOG gave, one address a line. */
function readDirtyLog({ files }: ReplayOptions, { step }: PlacedStep): readonly number[] | undefined {
  const { file, dirtyPages } = (step.result ?? {}) as { readonly file?: unknown; readonly dirtyPages?: unknown };
  if (typeof file !== 'string') {
    return dirtyPages === 0 ? [] : undefined;
  }
  const lines = readLines(files, file);
  return lines.kind === 'done' ? lines.value?.flatMap((line) => parseAddress(line.trim()) ?? []) : undefined;
}

function drive(options: ReplayOptions, replayer: PolicyReplayer, events: readonly TracedEvent[], steps: readonly PlacedStep[]): Outcome<readonly CheckpointComparison[]> {
  const checkpoints = new Checkpoints(options);
  const compared: CheckpointComparison[] = [];
  let next = 0;
  for (const [i, event] of events.entries()) {
    for (; event.trace === END && next < steps.length && steps[next].before <= event.source.number; next++) {
      replayer.step(steps[next], event);
    }
    if (replayer.problem !== undefined) {
      return replayer.problem;
    }
    replayer.event(event, from(events, i + 1));
    const checkpoint = checkpointOf(event.decoded);
    if (checkpoint !== undefined && !compared.some(({ name }) => name === checkpoint)) {
      const comparison = checkpoints.compare(checkpoint, replayer.live === undefined ? [] : [replayer.live]);
      if (comparison.kind !== 'done') {
        return comparison;
      }
      compared.push(comparison.value);
      if (checkpoint === options.until) {
        break;
      }
    }
  }
  replayer.finish();
  return done(compared);
}

function* from(events: readonly TracedEvent[], start: number): Generator<TracedEvent> {
  for (let i = start; i < events.length; i++) {
    yield events[i];
  }
}

function undeterminedOf(replayer: PolicyReplayer, sameVmid: boolean): readonly Undetermined[] {
  const untraced = Object.entries(replayer.comparison.untraced).map(([what, count]) => ({
    what: `calls of ${what}`, count, reason: 'this run has no event of that name, so the kernel was not probed there or did it out of sight (at EL2)',
  }));
  const silent = replayer.silentFaults.length;
  return [
    ...untraced,
    ...(silent === 0 ? [] : [{ what: 'faults without a call', count: silent, reason: 'what the host had there, only a call would have told' }]),
    ...(replayer.unknownMasks === 0 ? [] : [{ what: 'masks of KVM_CLEAR_DIRTY_LOG', count: replayer.unknownMasks, reason: 'steps.json does not tell them; taken for the pages of the last KVM_GET_DIRTY_LOG' }]),
    ...(sameVmid ? [] : [{ what: 'VMID', count: 1, reason: 'VMs that ran before this one are in no trace' }]),
  ];
}

function reportOf(
  { run, kernel, cpu }: { readonly run: string; readonly kernel: string; readonly cpu: string },
  replayer: PolicyReplayer,
  { counts: traces }: OpenRun,
  checkpoints: readonly CheckpointComparison[],
  known: readonly KernelTables[],
  profile: string,
): CausesReport {
  const { comparison, vm, hostMemory, dirtyPages, causes } = replayer;
  const { calls, answers, differences, moreDifferences } = comparison;
  const tables = checkpoints.flatMap((each) => each.tables);
  const total = (of: 'total' | 'equal'): number => tables.reduce((sum, { mappings }) => sum + mappings[of], 0);
  const sum = (of: 'total' | 'equal'): number => Object.values(calls).reduce((all, each) => all + each[of], 0);
  const registers = known[0]?.registers ?? {};
  const vtcr = { ours: hex(vm?.vtcr ?? 0n, 1), kernel: hex(registers['VTCR_EL2'] ?? 0n, 1) };
  const vmid = { ours: vm?.vmid ?? 0, kernel: Number(((registers['VTTBR_EL2'] ?? 0n) >> 48n) & 0xffffn) };
  const totals = { calls: { equal: sum('equal'), total: sum('total') }, mappings: { equal: total('equal'), total: total('total') }, dirtyPages, answers };
  const violations = (vm?.violations ?? []).map(({ id, sentence }) => ({ id, sentence }));
  const whole = Object.values(totals).every(({ equal, total: all }) => equal === all) && differences.length === 0;
  const sound = tables.length > 0 && tables.every(({ exact }) => exact) && checkpoints.every(({ problems }) => problems.length === 0);
  return {
    run, kernel, cpu, profile, vtcr, vmid, traces, causes, calls, totals, given: Object.fromEntries(hostMemory.given), undetermined: undeterminedOf(replayer, vmid.ours === vmid.kernel),
    differences, moreDifferences, violations, checkpoints,
    exact: whole && sound && violations.length === 0 && vtcr.ours === vtcr.kernel,
  };
}
