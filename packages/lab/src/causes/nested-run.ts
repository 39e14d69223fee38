import { type Backend, type Failure, type Outcome, type PhysicalReader, ENTRY, done } from '@granule/contract';
import type { HostProfile } from '@granule/kvm';
import { translatedReader } from '@granule/memory';
import { lookup, newLookup } from '@granule/pgtable';
import type { RegimeTables } from '../image/regime-tables.js';
import { guestMachine } from '../nested/guest-machine.js';
import { GuestTables } from '../nested/guest-tables.js';
import { ProgramHypervisor } from '../nested/hypervisor.js';
import { type OpLists, readOps } from '../nested/ops.js';
import { type Action, checkProgram } from '../nested/program-check.js';
import { type Shown, SnapshotHypervisor } from '../nested/snapshots.js';
import { stretchesOf } from '../nested/stretches.js';
import { openCheckpoint } from '../replay/checkpoints.js';
import type { KernelTables, PlacedTable } from '../replay/kernel-tables.js';
import type { ReplayOptions } from '../replay/options.js';
import { openCheckpointMemory, readCheckpointRegisters, readLines } from '../replay/run-directory.js';
import { checkpointOf, type TracedEvent } from '../replay/trace-pass.js';
import { invalidationName, isInvalidation, isLargeStep, type NestedInput } from './nested.js';

/** What there is to know of the guest hypervisor of a run. Refused: what the readers of its files refuse. */
export function nestedInput(
  options: ReplayOptions,
  { known, events, shadows, host, backend }: {
    readonly known: readonly KernelTables[];
    readonly events: readonly TracedEvent[];
    readonly shadows: readonly (PlacedTable | undefined)[];
    readonly host: HostProfile;
    readonly backend: Backend;
  },
): Outcome<NestedInput> {
  const lines = readLines(options.files, 'ops.txt');
  if (lines.kind !== 'done') {
    return lines;
  }
  const ops = lines.value === undefined ? undefined : readOps(lines.value);
  if (ops !== undefined && ops.kind !== 'done') {
    return ops;
  }
  const shown = new Map<string, Shown>();
  for (const { checkpoint } of knownUpTo(options.until, known)) {
    const each = shownAt(options, checkpoint);
    if (each.kind !== 'done') {
      return each;
    }
    if (each.value !== undefined) {
      shown.set(checkpoint, each.value);
    }
  }
  const base = ops && baseOf(options, ops.value, known);
  const program = ops && base !== undefined ? programOf(ops.value, base, shown, events) : undefined;
  const why = program?.check.problem ?? (ops === undefined ? 'the run has no ops.txt' : "no checkpoint shows where the guest hypervisor's tables begin");
  const hypervisor = program?.hypervisor ?? new SnapshotHypervisor(stretchesOf(events), shown, why);
  const check = program?.check.entries ?? { equal: 0, total: 0 };
  const guest = guestMachine(options, known, host, backend);
  if (guest.kind !== 'done') {
    return guest;
  }
  return done({ shadows, guest: guest.value, hypervisor, guestEntries: check, largeStepsTraced: events.some(({ decoded }) => decoded !== undefined && isLargeStep(decoded)) });
}

/** The checkpoints that a replay comes to. */
export function knownUpTo(until: string | undefined, known: readonly KernelTables[]): readonly KernelTables[] {
  const last = known.findIndex(({ checkpoint }) => checkpoint === until);
  return last === -1 ? known : known.slice(0, last + 1);
}

/** The program, where it explains memory at every checkpoint and every action of the trace; else why not. */
function programOf(ops: OpLists, base: number, shown: ReadonlyMap<string, Shown>, events: readonly TracedEvent[]) {
  const check = checkProgram(ops, base, actionsOf(events), (checkpoint) => shown.get(checkpoint)?.memory);
  const hypervisor = check.problem === undefined ? new ProgramHypervisor(ops, new GuestTables(base)) : undefined;
  return { check, hypervisor };
}

function* actionsOf(events: readonly TracedEvent[]): Generator<Action> {
  for (const { decoded } of events) {
    const checkpoint = checkpointOf(decoded);
    if (checkpoint !== undefined) {
      yield { did: 'checkpoint', name: checkpoint };
    } else if (decoded?.event === 'kvm_nested_eret') {
      yield { did: 'enter' };
    } else if (decoded?.event === 'kvm_sys_access' && isInvalidation(decoded.fields)) {
      yield { did: 'invalidate', name: invalidationName(decoded.fields) };
    }
  }
}

/** IPA of the first table that the program makes, as a checkpoint shows it. */
function baseOf(options: ReplayOptions, { l1 }: OpLists, known: readonly KernelTables[]): number | undefined {
  const first = l1.find(({ name }) => name === 'NVROOT');
  for (const { checkpoint } of known) {
    const file = readCheckpointRegisters(options.files, checkpoint);
    const named = file.kind === 'done' ? file.value?.regimes.find(({ name }) => name === `l1-ctx${first?.args[0]}`) : undefined;
    if (named !== undefined) {
      return named.root;
    }
  }
  return undefined;
}

/** What a checkpoint shows; undefined where it has no image or no stage 2 of the VM's own. */
function shownAt(options: ReplayOptions, checkpoint: string): Outcome<Shown | undefined> {
  const memory = openCheckpointMemory(options.files, checkpoint);
  if (memory.kind !== 'done' || memory.value === undefined) {
    return memory as Outcome<undefined>;
  }
  const tables = openCheckpoint(options, checkpoint, memory.value);
  if (tables.kind !== 'done' || tables.value === undefined) {
    return tables as Failure;
  }
  const { stage2, canonical, nested } = tables.value;
  const own = stage2.find(({ root }) => root === canonical);
  const current = nested?.current;
  return done(own && { current: current && { vttbr: current.virtVTTBR, vtcr: current.virtVTCR }, memory: throughStage2(memory.value, own) });
}

function throughStage2(memory: PhysicalReader, own: RegimeTables): PhysicalReader {
  const found = newLookup();
  const translate = (ipa: number): number => (lookup(own, ipa, found) && found.kind === ENTRY.leaf ? found.output : -1);
  return translatedReader(memory, translate, own.format.geometry.pageShift);
}
