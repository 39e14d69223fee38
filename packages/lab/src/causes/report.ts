import { counted } from '../dump/summary.js';
import { type EntryHistory, historyLines } from './history.js';
import { checkpointLines, ofTotal, type CheckpointComparison, type Place } from '../replay/report.js';
import type { TornLine } from '../replay/torn.js';

/** A call that the policy and the kernel do not have in common. */
export interface CallDifference extends Place {
  /** What it followed from: a fault, a notifier, a step of the VMM. */
  readonly cause: string;
  readonly what: 'missing' | 'unexpected' | 'arguments' | 'answer' | 'given';
  readonly sentence: string;
}

export interface CallCount {
  equal: number;
  total: number;
}

/** What the run does not tell. */
export interface Undetermined {
  readonly what: string;
  readonly count: number;
  readonly reason: string;
}

/** Ours beside the kernel's. */
export interface Pair<T> {
  readonly ours: T;
  /** Absent: no checkpoint tells. */
  readonly kernel?: T;
}

/** What a run of a VM with a virtual EL2 found besides. */
export interface NestedReport {
  /** Where the guest hypervisor's tables and registers come from between the checkpoints: its op list, or the checkpoints alone. */
  readonly hypervisor: 'ops.txt' | 'checkpoints';
  /** Why not its op list. */
  readonly why?: string;
  /** Entries of its tables by its op list, beside those in its memory at the checkpoints. */
  readonly guestEntries: CallCount;
  /** Checkpoints at which a nested guest runs: with the kernel's shadow, found by the same VTTBR_EL2 and VTCR_EL2. */
  readonly contexts: CallCount;
  readonly shadows: readonly { readonly number: number; readonly root?: string; readonly vtcr: Pair<string>; readonly vmid: Pair<number> }[];
}

/** What a replay by causes found; plain JSON. */
export interface CausesReport {
  readonly run: string;
  readonly kernel: string;
  readonly cpu: string;
  /** The kernel profile in use. */
  readonly profile: string;
  /** What the kernel's own calls say of it that its version does not, in words. */
  readonly kernelGiven: readonly string[];
  readonly vtcr: Pair<string>;
  readonly vmid: { readonly ours: number; readonly kernel: number };
  readonly traces: readonly { readonly name: string; readonly events: number; readonly torn: number; readonly tornAt: readonly TornLine[]; readonly brokenAt?: TornLine; readonly lost: number }[];
  /** Causes by name. */
  readonly causes: Readonly<Record<string, number>>;
  readonly calls: Readonly<Record<string, CallCount>>;
  /** Calls whose predicted arguments and place in the order are right. */
  readonly totals: {
    readonly calls: CallCount; readonly mappings: CallCount; readonly dirtyPages: CallCount; readonly answers: CallCount;
    /** Of `mappings`: those of shadows; absent: no virtual EL2. */
    readonly shadowMappings?: CallCount;
  };
  readonly nested?: NestedReport;
  /** Of the addresses that were asked for. */
  readonly history?: readonly EntryHistory[];
  /** Arguments that only the calls themselves tell, by kind: physical address, host page size, host writability. */
  readonly given: Readonly<Record<string, number>>;
  /** What the files of the run say against each other, one sentence each. */
  readonly contradictions: readonly string[];
  readonly undetermined: readonly Undetermined[];
  readonly differences: readonly CallDifference[];
  readonly moreDifferences: number;
  /** Mappings that the policy's own rules forbid: id and sentence. */
  readonly violations: readonly { readonly id: string; readonly sentence: string }[];
  readonly checkpoints: readonly CheckpointComparison[];
  readonly exact: boolean;
}

const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts).map(([name, count]) => `${count.toLocaleString('en')} ${name}`).join(', ');

/** The report as text; the last line is `N of N calls, N of N mappings equal`. */
export function causesText(report: CausesReport): string {
  const { totals, vtcr, vmid } = report;
  const { shadowMappings } = totals;
  const lines = [
    `Replay of ${report.run} by its causes: ${report.kernel}, ${report.cpu}; policy of Linux ${report.profile}`,
    ...report.traces.map(({ name, events, torn, lost }) => `${name}: ${counted(events, 'event')}${torn === 0 ? '' : `, ${counted(torn, 'torn line')}`}${lost === 0 ? '' : `, ${counted(lost, 'lost event')}`}`),
    ...report.kernelGiven.map((sentence) => `the trace tells of this kernel: ${sentence}`),
    `VTCR_EL2 ${pair(vtcr)}; VMID ${vmid.ours}${vmid.ours === vmid.kernel ? '' : `, the kernel's ${vmid.kernel}`}`,
    ...(report.nested === undefined ? [] : nestedLines(report.nested)),
    `causes: ${list(report.causes)}`,
    ...Object.entries(report.calls).map(([name, { equal, total }]) => `  ${name.padEnd(28)} ${ofTotal(equal, total)}`),
    `  ${ofTotal(totals.answers.equal, totals.answers.total)} answers are the kernel's`,
    ...(totals.dirtyPages.total === 0 ? [] : [`  ${ofTotal(totals.dirtyPages.equal, totals.dirtyPages.total)} dirty pages are the kernel's`]),
    `given, not predicted: ${Object.entries(report.given).map(([name, count]) => `${name} ${count.toLocaleString('en')}`).join(', ') || 'nothing'}`,
    ...report.contradictions.map((sentence) => `  ! ${sentence}`),
    ...report.undetermined.map(({ what, count, reason }) => `undetermined: ${what} (${count.toLocaleString('en')}): ${reason}`),
    ...report.differences.map(({ trace, line, operation, cause, sentence }) => `  ! ${trace}:${line} ${operation}: ${sentence} Cause: ${cause}.`),
    ...(report.moreDifferences === 0 ? [] : [`    and ${report.moreDifferences} more`]),
    ...report.violations.map(({ id, sentence }) => `  ! ${id}: ${sentence}`),
    '',
    ...report.checkpoints.flatMap(checkpointLines),
    '',
    ...(report.history ?? []).flatMap((each) => [...historyLines(each), '']),
    ...(shadowMappings === undefined ? [] : [`${ofTotal(shadowMappings.equal, shadowMappings.total)} shadow mappings equal`]),
    `${ofTotal(totals.calls.equal, totals.calls.total)} calls, ${ofTotal(totals.mappings.equal, totals.mappings.total)} mappings equal`,
  ];
  return `${lines.join('\n')}\n`;
}

function pair<T>({ ours, kernel }: Pair<T>): string {
  return kernel === undefined ? `${String(ours)}, the kernel's is not told` : ours === kernel ? `${String(ours)}, the kernel's` : `${String(ours)}, the kernel's ${String(kernel)}`;
}

function nestedLines({ hypervisor, why, guestEntries, contexts, shadows }: NestedReport): readonly string[] {
  const entries = guestEntries.total === 0 ? '' : `; ${ofTotal(guestEntries.equal, guestEntries.total)} entries of its tables are those in its memory`;
  return [
    ...shadows.map(({ number, root, vtcr, vmid }) => `  shadow ${number}${root === undefined ? '' : ` at ${root}`}: VTCR_EL2 ${pair(vtcr)}; VMID ${pair(vmid)}`),
    `guest hypervisor: by ${hypervisor === 'ops.txt' ? 'ops.txt' : 'the checkpoints alone'}${why === undefined ? '' : `, since ${why}`}${entries}`,
    `  ${ofTotal(contexts.equal, contexts.total)} contexts that run at a checkpoint are the kernel's`,
  ];
}
