import { decodeTraceEvent, type DecodedEvent, isKnownEvent, readTrace, type TraceEvent } from '@granule/snapshot';
import type { TraceFile } from './run-directory.js';

/** One event of a run's traces. */
export interface TracedEvent {
  /** The trace's file name, and the line in it. */
  readonly trace: string;
  readonly line: number;
  readonly source: TraceEvent;
  /** Undefined: a name that is not known, or a torn text. */
  readonly decoded: DecodedEvent | undefined;
}

export interface TornLine {
  readonly line: number;
  readonly what: string;
}

/** Torn lines of a trace that are told one by one. */
const FEW = 4;

/** What reading a trace came to. */
export interface TraceCount {
  readonly name: string;
  events: number;
  /** Lines that are not an event, and known events whose fields are torn or beyond 2^53. */
  torn: number;
  /** The first few of them: the line, and what is wrong there. */
  readonly tornAt: TornLine[];
  /** Events that the kernel says it lost. */
  lost: number;
}

/** Reads the traces of a run in order, once per call; `counts` gets an entry for each. */
export function* eventsOf(traces: readonly TraceFile[], counts: TraceCount[] = []): Generator<TracedEvent> {
  for (const { name, content } of traces) {
    const count: TraceCount = { name, events: 0, torn: 0, tornAt: [], lost: 0 };
    counts.push(count);
    const trace = readTrace(content);
    for (const source of trace) {
      const decoded = decodeTraceEvent(source);
      count.events += 1;
      if (decoded === undefined && isKnownEvent(source.event)) {
        count.torn += 1;
        count.tornAt.push({ line: source.line, what: `the fields of ${source.event} are torn` });
      }
      yield { trace: name, line: source.line, source, decoded };
    }
    count.torn += trace.skipped;
    count.tornAt.push(...trace.skippedLines.map((line) => ({ line, what: 'no event is there' })));
    count.tornAt.sort((a, b) => a.line - b.line).splice(FEW);
    count.lost = trace.lost;
  }
}

/** `FILE:LINE: what`, of the first few torn lines of all traces. */
export function tornPlaces(counts: readonly TraceCount[]): readonly string[] {
  return counts.flatMap(({ name, tornAt }) => tornAt.map(({ line, what }) => `${name}:${line}: ${what}`)).slice(0, FEW);
}

/** `c1` of the mark `hold c1`. */
export function checkpointOf(event: DecodedEvent | undefined): string | undefined {
  return event?.event === 'tracing_mark_write' ? /^hold (\w+)\s*$/.exec(event.fields.mark)?.[1] : undefined;
}
