import { decodeTraceEvent, type DecodedEvent, isKnownEvent, readTrace, type TraceEvent } from '@granule/snapshot';
import type { TraceFile } from './run-directory.js';
import { type TornLine, TornLines } from './torn.js';

/** One event of a run's traces. */
export interface TracedEvent {
  /** The trace's file name, and the line in it. */
  readonly trace: string;
  readonly line: number;
  readonly source: TraceEvent;
  /** Undefined: a name that is not known, or a torn text. */
  readonly decoded: DecodedEvent | undefined;
}

/** Torn lines of all traces that are told one by one. */
const FEW = 4;

/** What reading a trace came to. */
export interface TraceCount {
  readonly name: string;
  events: number;
  /** Lines that are not an event, and known events whose fields are torn or beyond 2^53. */
  torn: number;
  /** The first few of them: the line, and what is wrong there. */
  tornAt: readonly TornLine[];
  /** Where it is torn in the middle; absent: nowhere ({@link TornLines.end}). */
  brokenAt?: TornLine;
  /** Events that the kernel says it lost. */
  lost: number;
}

/** Reads the traces of a run in order, once per call; `counts` gets an entry for each. */
export function* eventsOf(traces: readonly TraceFile[], counts: TraceCount[] = []): Generator<TracedEvent> {
  for (const { name, content } of traces) {
    const count: TraceCount = { name, events: 0, torn: 0, tornAt: [], lost: 0 };
    counts.push(count);
    const trace = readTrace(content);
    const torn = new TornLines();
    for (const source of trace) {
      const decoded = decodeTraceEvent(source);
      count.events += 1;
      if (decoded !== undefined) {
        torn.whole(source.event);
      } else if (isKnownEvent(source.event)) {
        torn.torn(source);
      }
      yield { trace: name, line: source.line, source, decoded };
    }
    count.torn = torn.count + trace.skipped;
    ({ tornAt: count.tornAt, brokenAt: count.brokenAt } = torn.end(trace));
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
