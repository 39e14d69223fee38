import { counted } from '../dump/summary.js';
import type { ProtLayout } from './prot.js';
import type { TornLine } from './torn.js';

/** A leaf in words; addresses and descriptors are `0x…` texts, sizes bytes. */
export interface LeafText {
  readonly level: number;
  readonly bytes: number;
  readonly output: string;
  readonly permissions: string;
  readonly type: string;
  readonly attributes: readonly string[];
  readonly descriptor: string;
}

/** The event of a trace that an operation comes from. */
export interface Place {
  readonly operation: string;
  readonly trace: string;
  readonly line: number;
}

export interface Difference {
  /** Input address. */
  readonly address: string;
  readonly ours?: LeafText;
  readonly kernel?: LeafText;
  /** The last operation that named this address. */
  readonly cause?: Place;
}

/** One table of the core beside the kernel's at a checkpoint. Per-level arrays are indexed by level + 1. */
export interface TableComparison {
  /** Regime name, as `dump` takes it. */
  readonly name: string;
  readonly pgt: string;
  readonly root: string;
  /** What tied the two together. */
  readonly rootFrom: string;
  readonly input: 'VA' | 'IPA';
  /** A shadow stage 2; absent: it is none. */
  readonly shadow?: true;
  readonly mappings: {
    readonly ours: number;
    readonly kernel: number;
    /** Different leaves of both, by address and level. */
    readonly total: number;
    readonly equal: number;
    /** Of `equal`: the same 64 bits. */
    readonly identical: number;
  };
  /** Of `equal`: access flags that hardware set (VTCR_EL2.HA). */
  readonly hardwareAccessed: number;
  readonly annotations: { readonly ours: number; readonly kernel: number; readonly equal: number };
  readonly tablePages: { readonly ours: readonly number[]; readonly kernel: readonly number[] };
  readonly differences: readonly Difference[];
  readonly moreDifferences: number;
  /** What is wrong with the kernel's table as it lies in the image. */
  readonly findings: readonly string[];
  readonly exact: boolean;
}

export interface CheckpointComparison {
  readonly name: string;
  readonly tables: readonly TableComparison[];
  /** Sentences on what could not be compared. */
  readonly problems: readonly string[];
}

export interface OperationCount {
  done: number;
  /** Nothing changed, ask again (-EAGAIN). */
  retry: number;
  refused: number;
  /** Not replayed: the table is not known, or the trace does not tell enough. */
  notReplayed: number;
}

/** An operation that the core did not do, or that came out otherwise than the kernel's. */
export interface OddOperation extends Place {
  readonly outcome: string;
  readonly sentence: string;
  /** What the kernel's function returned; absent where that is not traced. */
  readonly ret?: number;
  /** The core and the kernel agree. */
  readonly agrees: boolean;
}

/** What a replay found; plain JSON. */
export interface ReplayReport {
  readonly run: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly prot: ProtLayout;
  readonly traces: readonly { readonly name: string; readonly events: number; readonly torn: number; readonly tornAt: readonly TornLine[]; readonly brokenAt?: TornLine; readonly lost: number }[];
  /** In the order of their marks, up to the one asked for. */
  readonly checkpoints: readonly CheckpointComparison[];
  readonly operations: Readonly<Record<string, OperationCount>>;
  /** Operations whose answer was compared with the kernel's `ret`. */
  readonly answers: {
    readonly compared: number;
    readonly equal: number;
    /** Operations whose return is not in the trace, though others of their function are. */
    readonly missing: number;
  };
  /** What the files of the run say against each other, one sentence each. */
  readonly contradictions: readonly string[];
  /** The first of those that the core refused or that differ from the kernel's. */
  readonly odd: readonly OddOperation[];
  readonly moreOdd: number;
  /** Events that are no page-table operation, by name: known ones, and names that are not known. */
  readonly otherEvents: Readonly<Record<string, number>>;
  readonly unknownEvents: Readonly<Record<string, number>>;
  readonly totals: { readonly mappings: number; readonly equal: number; readonly identical: number };
  /** Nothing differs: no mapping, no table page, no answer. */
  readonly exact: boolean;
}

const sum = (counts: readonly number[]): number => counts.reduce((total, each) => total + each, 0);
export const ofTotal = (equal: number, total: number): string => `${equal.toLocaleString('en')} of ${total.toLocaleString('en')}`;
const names = (events: Readonly<Record<string, number>>): string =>
  Object.entries(events).map(([name, count]) => `${name} ${count}`).join(', ');

/** The report as text; the last line is `N of N mappings equal`. */
export function replayText(report: ReplayReport): string {
  const { totals } = report;
  const lines = [
    `Replay of ${report.run}: ${report.kernel}, ${report.cpu}`,
    ...report.traces.map(({ name, events, torn, tornAt, lost }) => `${name}: ${counted(events, 'event')}${torn === 0 ? '' : `, ${torn} torn (${tornAt.map(({ line, what }) => `line ${line}: ${what}`).join('; ')})`}${lost === 0 ? '' : `, ${lost} lost`}`),
    ...report.contradictions.map((sentence) => `  ! ${sentence}`),
    ...operationLines(report),
    '',
    ...report.checkpoints.flatMap(checkpointLines),
    '',
    `${ofTotal(totals.equal, totals.mappings)} mappings equal`,
  ];
  return `${lines.join('\n')}\n`;
}

function operationLines({ operations, answers, odd, moreOdd, otherEvents, unknownEvents }: ReplayReport): string[] {
  const lines = Object.entries(operations).map(([name, { done, retry, refused, notReplayed }]) => {
    const rest = [[retry, 'to try again'], [refused, 'refused'], [notReplayed, 'not replayed']] as const;
    const others = rest.map(([count, what]) => (count === 0 ? '' : `, ${count} ${what}`));
    return `  ${name.padEnd(20)} ${String(done).padStart(6)} done${others.join('')}`;
  });
  lines.push(`  ${ofTotal(answers.equal, answers.compared)} answers are the kernel's${answers.missing === 0 ? '' : `; undetermined: ${answers.missing}, whose returns are not in the trace`}`);
  for (const { operation, trace, line, outcome, sentence, ret, agrees } of odd) {
    const answer = ret === undefined ? '' : `, the kernel answered ${ret}`;
    lines.push(`  ${agrees ? ' ' : '!'} ${trace}:${line} ${operation}: ${outcome}${answer}: ${sentence}`);
  }
  if (moreOdd > 0) {
    lines.push(`    and ${moreOdd} more`);
  }
  if (Object.keys(unknownEvents).length > 0) {
    lines.push(`  skipped, not known: ${names(unknownEvents)}`);
  }
  const others = sum(Object.values(otherEvents));
  return others === 0 ? lines : [...lines, `  beside them: ${counted(others, 'event')} that change no table`];
}

export function checkpointLines({ name, tables, problems }: CheckpointComparison): string[] {
  return [...tables.flatMap((table) => tableLines(name, table)), ...problems.map((problem) => `${name}  ! ${problem}`)];
}

function tableLines(checkpoint: string, table: TableComparison): string[] {
  const { mappings, tablePages, annotations, hardwareAccessed } = table;
  const same = mappings.identical === mappings.total ? ', bit for bit' : '';
  const hardware = hardwareAccessed === 0 ? '' : ` (${hardwareAccessed} access flags set by hardware)`;
  const noted = `; annotations: ${annotations.ours} ours, ${annotations.kernel} the kernel's`;
  const notes = annotations.ours + annotations.kernel === 0 ? '' : noted;
  const lines = [
    `${checkpoint.padEnd(4)} ${table.name.padEnd(17)} ${ofTotal(mappings.equal, mappings.total)} mappings equal${same}${hardware}; ` +
      `table pages: ${sum(tablePages.ours)} ours, ${sum(tablePages.kernel)} the kernel's${notes}`,
  ];
  for (const { address, ours, kernel, cause } of table.differences) {
    const why = cause === undefined ? 'no operation named it' : `last named by ${cause.operation}, ${cause.trace}:${cause.line}`;
    lines.push(`     ! ${table.input} ${address}: ours ${leafLine(ours)}; kernel ${leafLine(kernel)}; ${why}`);
  }
  if (table.moreDifferences > 0) {
    lines.push(`     ! and ${table.moreDifferences} more`);
  }
  return [...lines, ...table.findings.map((finding) => `     ! ${finding}`)];
}

function leafLine(leaf: LeafText | undefined): string {
  if (leaf === undefined) {
    return 'nothing';
  }
  return `${leaf.output} level ${leaf.level} ${leaf.permissions} ${leaf.type} ${leaf.attributes.join(' ')} (${leaf.descriptor})`;
}
