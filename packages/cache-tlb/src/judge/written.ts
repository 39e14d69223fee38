import type { MemoryClass } from './memory-class.js';

/** Maintenance of a kind that somebody issued for a write: when, where, and how far a DSB has completed it. */
export interface Step {
  event: number;
  pe: number;
  /** −1: not complete; 0: for the PE that issued it; 1: for every PE. */
  reach: number;
}

/** A write and what was done since to let others see it. */
export interface Written {
  /** Bytes [start, end) of memory. */
  readonly start: number;
  readonly end: number;
  readonly event: number;
  readonly pe: number;
  readonly value: bigint | undefined;
  /** Undefined: not known. */
  readonly memory: MemoryClass | undefined;
  /** Cleaned to the point of coherency, and to that of unification. */
  coherent: Step | undefined;
  unified: Step | undefined;
  /** Copies of the line from before it dropped from data caches. */
  purged: Step | undefined;
  /** Instruction caches invalidated: of every PE, or of the one that issued it. */
  fetchable: Step | undefined;
  fetchableOn: Map<number, Step> | undefined;
  /** An instruction cache was invalidated before the clean was complete. */
  early: number;
  /** The event by which it is lost, or may be: 0 none. */
  lost: number;
  /** Nothing more is to be told of it. */
  told: boolean;
}

export function isDone(step: Step | undefined, pe: number): boolean {
  return step !== undefined && (step.reach >= 1 || (step.reach === 0 && step.pe === pe));
}

/** What is known of one line. */
export interface Line {
  /** Oldest first. */
  writes: Written[];
  /** The last cacheable access since the line was last dropped from data caches; 0: none. */
  cached: number;
}

/** Data is followed in pieces of this size, which is no larger than a line of any PE that maintenance by address must be written for. */
export const LINE_BYTES = 64;
const MAX_LINES = 65536;
const MAX_WRITES = 8;

/** The lines that were last accessed; older ones are forgotten, and then nothing is told of them. */
export class WrittenLines {
  readonly #lines = new Map<number, Line>();

  get isEmpty(): boolean {
    return this.#lines.size === 0;
  }

  find(line: number): Line | undefined {
    return this.#lines.get(line);
  }

  of(line: number): Line {
    let found = this.#lines.get(line);
    if (found === undefined) {
      if (this.#lines.size === MAX_LINES) for (const oldest of this.#lines.keys()) {
        this.#lines.delete(oldest);
        break;
      }
      found = { writes: [], cached: 0 };
      this.#lines.set(line, found);
    }
    return found;
  }

  /** A write takes the place of those that it covers. Where it passes caches by, their dirty lines are still there, but nobody wants their bytes. */
  add(line: number, write: Written): void {
    const found = this.of(line);
    const covered = found.writes.filter((each) => each.start >= write.start && each.end <= write.end);
    const stays = (each: Written): boolean => write.memory?.cached === false && each.memory?.dirties === true;
    for (const each of covered) each.told = true;
    found.writes = found.writes.filter((each) => !covered.includes(each) || stays(each));
    found.writes.push(write);
    if (found.writes.length > MAX_WRITES) found.writes.shift();
  }

  /** Visits the lines that [start, end) touches, or all. */
  visit(start: number, end: number, each: (line: Line) => void): void {
    const first = start - (start % LINE_BYTES);
    if ((end - first) / LINE_BYTES <= this.#lines.size) {
      for (let at = first; at < end; at += LINE_BYTES) {
        const found = this.#lines.get(at);
        if (found !== undefined) each(found);
      }
      return;
    }
    for (const [at, found] of this.#lines) if (at >= first && at < end) each(found);
  }
}
