import { type Failure, refused } from '@granule/contract';
import { type Trace, type TraceEvent, tornField } from '@granule/snapshot';

export interface TornLine {
  readonly line: number;
  readonly what: string;
}

/** Torn lines of a trace that are told one by one. */
const FEW = 4;

/** Finds where a trace is torn. */
export class TornLines {
  /** Known events whose fields cannot be read. */
  count = 0;
  readonly #few: TornLine[] = [];
  /** The first of each name. */
  readonly #first = new Map<string, TornLine>();
  /** Events that were read whole. */
  readonly #whole = new Set<string>();

  whole(event: string): void {
    this.#whole.add(event);
  }

  torn(source: TraceEvent): void {
    this.count += 1;
    if (this.#few.length < FEW || !this.#first.has(source.event)) {
      const field = tornField(source);
      const what = `${field === 'text' ? 'the text' : `field ${field}`} of ${source.event} is missing or cut off`;
      const torn = { line: source.line, what };
      if (this.#few.length < FEW) this.#few.push(torn);
      if (!this.#first.has(source.event)) this.#first.set(source.event, torn);
    }
  }

  /**
   * The first few torn lines; and the first that is torn in the middle of the trace: where a line ends within an event, or a field is missing that other events of
   * this name have. A kernel whose probes never print a field is another matter, and so is the last line, where a file may be cut off.
   */
  end({ skippedLines, lastLine }: Trace): { readonly tornAt: TornLine[]; readonly brokenAt?: TornLine } {
    const cut = skippedLines.map(({ line, begun }) => ({ line, begun, what: begun ? 'an event is cut off' : 'no event is there' }));
    const torn = [...this.#first].flatMap(([event, each]) => (this.#whole.has(event) ? [each] : []));
    const [broken] = sorted([...torn, ...cut.filter(({ begun }) => begun)].filter(({ line }) => line < lastLine));
    return { tornAt: sorted([...this.#few, ...cut]).slice(0, FEW), ...(broken !== undefined && { brokenAt: broken }) };
  }
}

function sorted(lines: readonly TornLine[]): TornLine[] {
  return lines.map(({ line, what }) => ({ line, what })).sort((a, b) => a.line - b.line);
}

/** A trace that is torn in the middle, unless that is to be passed over. Refused: `trace.torn`, with file, line and field. */
export function tornInside(
  traces: readonly { readonly name: string; readonly brokenAt?: TornLine }[],
  { torn = 'refuse' }: { readonly torn?: 'refuse' | 'skip' },
): Failure | undefined {
  const broken = torn === 'skip' ? undefined : traces.find(({ brokenAt }) => brokenAt !== undefined);
  return broken?.brokenAt === undefined
    ? undefined
    : refused('trace.torn', `${broken.name}:${broken.brokenAt.line}: ${broken.brokenAt.what}.`, 'Linux Documentation/trace/ftrace.rst');
}
