import { type Outcome, done, notModelled, refused } from '@granule/contract';
import { parseAddress } from '@granule/geometry/bits';
import type { MemorySlot, RunFile, StepsFile } from '@granule/snapshot';
import { type KernelTables, placeTables } from '../replay/kernel-tables.js';
import { protLayoutOf } from '../replay/prot.js';
import type { ReplayOptions } from '../replay/options.js';
import { noCheckpoint, surveyCheckpoints } from '../replay/replay.js';
import { openTraces, readAbout, readLines, readSlots, readSteps } from '../replay/run-directory.js';
import { type Survey, survey, type TracedTable } from '../replay/survey.js';
import { tornInside } from '../replay/torn.js';
import { eventsOf, type TraceCount, type TracedEvent } from '../replay/trace-pass.js';
import { isCall } from './actual.js';
import { kernelAsTraced } from './kernel.js';
import { HAS_EL2 } from './nested.js';
import { nestedInput } from './nested-run.js';
import { granuleOfPage, hostProfile, icacheLimit, isVhe, profileOf } from './machine.js';
import type { PolicyInput } from './session.js';
import type { PlacedStep } from './steps.js';
import { isGuestEvent } from './tasks.js';

const POOL_BYTES = 2 ** 27;
const SOURCE = 'granule replay';

/** All of a run that is read before the first event. */
export interface OpenRun {
  readonly about: RunFile;
  readonly steps: StepsFile;
  readonly slots: readonly MemorySlot[];
  readonly surveyed: Survey;
  readonly known: readonly KernelTables[];
  readonly events: readonly TracedEvent[];
  readonly counts: readonly TraceCount[];
}

export function openRun(options: ReplayOptions): Outcome<OpenRun> {
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
  const slots = readSlots(files);
  if (slots.kind !== 'done') {
    return slots;
  }
  const surveyed = survey(traces.value);
  const torn = tornInside(surveyed.counts, options);
  if (torn !== undefined) {
    return torn;
  }
  const known = surveyCheckpoints(options, surveyed);
  if (known.kind !== 'done') {
    return known;
  }
  if (until !== undefined && !known.value.some(({ checkpoint }) => checkpoint === until)) {
    return noCheckpoint(until, known.value);
  }
  const counts: TraceCount[] = [];
  const events = [...eventsOf(traces.value, counts)];
  return done({ about: about.value, steps: steps.value, slots: slots.value?.slots ?? [], surveyed, known: known.value, events, counts });
}

/** The one VM of the run, and the machine that it ran on. */
export function policyInput(options: ReplayOptions, { about, steps, surveyed, known, events }: OpenRun): Outcome<PolicyInput> {
  const only = onlyTable(steps, surveyed, known);
  if (only.kind !== 'done') {
    return only;
  }
  const all = placeTables(surveyed.tables, known);
  const placed = all[surveyed.tables.indexOf(only.value)];
  const backend = Object.values(options.backends).find(({ name }) => name === placed?.like.format.backend);
  const granule = granuleOfPage(steps.pageSize);
  if (placed === undefined || backend === undefined || granule === undefined) {
    return refused('replay.no-table', 'No checkpoint has the stage-2 table that the trace makes.', SOURCE);
  }
  const traced = new Set(events.flatMap(({ decoded }) => (decoded !== undefined && isCall(decoded) ? [decoded.event] : [])));
  const { withBit3, values } = surveyed.prots;
  const { kernel, given } = kernelAsTraced(profileOf(about.kernel), events, steps.pageSize);
  const host = hostProfile(backend, placed.registers, granule, traced.has('flush_vmid_range'), linearAddress(events));
  const shadows = all.filter((_, i) => surveyed.tables[i].kind === 's2' && surveyed.tables[i] !== only.value);
  const nested = hasVirtualEl2(steps, known) ? nestedInput(options, { known, events, shadows, host, backend }) : undefined;
  if (nested !== undefined && nested.kind !== 'done') {
    return nested;
  }
  return done({
    backend, placed, traced, kernel, host, ...(nested && { nested: nested.value }),
    hyp: all.find((table) => table?.traced.kind === 'hyp'),
    hypTraced: !isVhe(placed.registers) && events.some(({ decoded }) => decoded?.event === 'hyp_map'),
    kernelGiven: given,
    layout: protLayoutOf(about.kernel, withBit3, values),
    icacheLimit: icacheLimit(placed.registers, placed.like.format.geometry.pageShift, kernel),
    ipaBits: steps.ipaBits,
    tableBytes: options.tableBytes ?? POOL_BYTES,
    guestTasks: new Set(events.filter(isGuestEvent).map(({ source }) => source.pid)),
    dirtyLog: (step) => readDirtyLog(options, step),
  });
}

/** The stage 2 of the one VM: the first that is made, shadows come after it. */
function onlyTable(steps: StepsFile, surveyed: Survey, known: readonly KernelTables[]): Outcome<TracedTable> {
  const stage2 = surveyed.tables.filter(({ kind }) => kind === 's2');
  const vms = steps.steps.filter(({ call }) => call === 'KVM_CREATE_VM').length;
  if (vms > 1) {
    const sentence = `The run makes ${vms} VMs; replay by causes knows one, since neither notifiers nor steps say which VM they are about. With --ops it can be replayed.`;
    return notModelled('replay.several-vms', sentence, SOURCE);
  }
  if (stage2.length > 1 && !hasVirtualEl2(steps, known)) {
    const sentence = `The trace makes ${stage2.length} stage-2 tables, and nothing says that the guest has an EL2. With --ops it can be replayed.`;
    return notModelled('replay.nested', sentence, SOURCE);
  }
  return stage2.length > 0 ? done(stage2[0]) : refused('replay.no-table', 'The trace has no s2_init: no VM was made while it was on.', SOURCE);
}

/** KVM_ARM_VCPU_HAS_EL2, or what the registers at a checkpoint tell of a guest hypervisor. */
function hasVirtualEl2({ steps }: StepsFile, known: readonly KernelTables[]): boolean {
  const asked = steps.some(({ call, args }) => call === 'KVM_ARM_VCPU_INIT' && Array.isArray(args['features']) && args['features'].includes(HAS_EL2));
  return asked || known.some(({ canonical }) => canonical !== undefined);
}

/** An address of the kernel's linear map: page tables' own structures and maintained memory lie there. */
function linearAddress(events: readonly TracedEvent[]): bigint | undefined {
  for (const { decoded } of events) {
    if (decoded?.event === 'clean_dcache_guest_page' || decoded?.event === 'invalidate_icache_guest_page') {
      return decoded.fields.va;
    }
  }
  return undefined;
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
