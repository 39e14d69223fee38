import type { ByteSource } from '@granule/contract';
import { linesOf } from './lines.js';

/** One event of an ftrace text. */
export interface TraceEvent {
  /** Number of the event in its text, from 0; comments and torn lines do not count. */
  readonly number: number;
  /** Line in the text, from 1. */
  readonly line: number;
  readonly task: string;
  readonly pid: number;
  readonly cpu: number;
  /** The column of irqs-off, need-resched, …: `d..1.`; empty where the text has none. */
  readonly flags: string;
  /** Seconds. */
  readonly time: number;
  readonly event: string;
  /** What the event prints, without its name. */
  readonly text: string;
}

/** A line of a trace that holds no event. */
export interface SkippedLine {
  /** From 1. */
  readonly line: number;
  /** It begins as an event does: the rest is torn. */
  readonly begun: boolean;
}

/** The events of a text, read as they are asked for; the counts are those of what has been read. */
export interface Trace extends Iterable<TraceEvent> {
  readonly events: number;
  /** Lines that are neither an event nor a comment nor empty. */
  readonly skipped: number;
  /** Which these are, the first few. */
  readonly skippedLines: readonly SkippedLine[];
  /** Number of the last line that is no comment and not empty; 0: there was none yet. */
  readonly lastLine: number;
  /** Events that the kernel says it lost: the ring buffer was full. */
  readonly lost: number;
}

/**
 * `task-pid (tgid) [cpu] flags time: event: text`: trace_print_context and trace_print_lat_fmt of Linux kernel/trace/trace_output.c. The thread group is
 * printed with the option record-tgid, the flags with irq-info; `trace-cmd report` leaves the flags out, and pads the name of the event. A
 * task's name has 15 characters at most (TASK_COMM_LEN): what seems longer is two lines that run into each other.
 */
const LINE = /^\s*(\S.{0,14})-(\d+)\s+(?:\([\s\d-]*\)\s+)?\[(\d+)\]\s+(?:(\S{4,6})\s+)?(\d+\.\d+): ([\w:.-]+):(?: +(.*))?$/u;

/**
 * `CPU:0 [LOST 12 EVENTS]` (print_trace_line of Linux kernel/trace/trace.c); `trace-cmd report`: `CPU:0 [12 EVENTS DROPPED]`, without a number where the kernel
 * did not tell it.
 */
const LOST = /^\s*(?:cpu:|CPU:)\d+ \[(?:LOST (\d+) EVENTS|(?:(\d+) )?EVENTS DROPPED)\]\s*$/u;

/** How an event begins: task, pid and CPU. */
const BEGINNING = /^\s*\S.{0,14}-\d+\s+(?:\([\s\d-]*\)\s+)?\[\d/u;

/** Skipped lines that are told one by one. */
const FEW = 8;

/**
 * Reads an ftrace text as the kernel (`trace`, `trace_pipe`) or `trace-cmd report` prints it. Lines that begin with `#`, and the `CPU N is empty` and
 * `cpus=N` lines of trace-cmd, are comments. A torn line is skipped and counted. Can be read once; memory does not grow with the text.
 */
export function readTrace(source: ByteSource | string): Trace {
  return new TraceReader(source);
}

class TraceReader implements Trace {
  events = 0;
  skipped = 0;
  lost = 0;
  lastLine = 0;
  readonly skippedLines: SkippedLine[] = [];
  readonly #lines: Generator<string>;
  #line = 0;

  constructor(source: ByteSource | string) {
    this.#lines = linesOf(source);
  }

  *[Symbol.iterator](): Generator<TraceEvent> {
    for (const line of this.#lines) {
      this.#line += 1;
      if (/^\s*(?:#|$)|^cpus=\d+$|^CPU \d+ is empty$/u.test(line)) {
        continue;
      }
      this.lastLine = this.#line;
      const event = parseTraceLine(line, this.events, this.#line);
      const lost = event === undefined ? LOST.exec(line) : null;
      if (lost !== null) {
        this.lost += Number(lost[1] ?? lost[2] ?? 1);
      } else if (event === undefined) {
        this.skipped += 1;
        if (this.skippedLines.length < FEW) this.skippedLines.push({ line: this.#line, begun: BEGINNING.test(line) });
      } else {
        this.events += 1;
        yield event;
      }
    }
  }
}

/** One line, or undefined where it is not an event. */
export function parseTraceLine(line: string, number = 0, lineNumber = 1): TraceEvent | undefined {
  const match = LINE.exec(line);
  if (match === null) {
    return undefined;
  }
  const [, task, pid, cpu, flags = '', time, event, text = ''] = match;
  return { number, line: lineNumber, task, pid: Number(pid), cpu: Number(cpu), flags, time: Number(time), event, text };
}
