import type { ByteSource, Effect, EffectSink, Outcome } from '@granule/contract';
import { done, refused } from '@granule/contract';
import { strFromU8 } from 'fflate';
import { EFFECT_FIELDS, effectJson, Misfit, readObject } from './event-log-fields.js';

export const EVENTS_SCHEMA_NAME = 'granule-events/1';

/** The first line of every log. */
const HEADER = JSON.stringify({ schema: EVENTS_SCHEMA_NAME });

/**
 * Writes `granule-events/1`: JSON Lines, one effect each, addresses and descriptors as `0x…` texts. The first line names the schema, so
 * that event n (from 1) is line n + 1.
 *
 * @param line takes each line, without its end
 */
export function eventLogWriter(line: (text: string) => void): EffectSink {
  line(HEADER);
  return { effect: (effect) => line(JSON.stringify(effectJson(effect))) };
}

/** Where a reader is. */
export interface LogPosition {
  /** Number of the line, from 1. */
  line: number;
}

/**
 * Reads `granule-events/1` and hands each effect to `sink` as it is read; memory does not grow with the log. Answers how many there were.
 * Refused, with `position` at the line: `events.schema` (the first line), `events.syntax` (no JSON object), `events.field` (what is wrong
 * with which field), `events.line-too-long`. The effects before that line have been handed over.
 */
export function readEventLog(source: ByteSource | string, sink: EffectSink, position: LogPosition = { line: 0 }): Outcome<number> {
  position.line = 0;
  for (const lines of typeof source === 'string' ? [withoutLastEnd(source).split('\n')] : linesIn(source)) {
    if (lines === undefined) {
      position.line++;
      return refused('events.line-too-long', `The line is longer than ${MAX_LINE} bytes.`, EVENTS_SCHEMA_NAME);
    }
    for (const line of lines) {
      position.line++;
      const problem = position.line === 1 ? headerProblem(line) : deliver(line, sink);
      if (problem !== undefined) {
        return problem;
      }
    }
  }
  return position.line === 0 ? headerProblem('') ?? done(0) : done(position.line - 1);
}

function headerProblem(line: string): Outcome<number> | undefined {
  const schema = (parse(line) as { schema?: unknown } | undefined)?.schema;
  return schema === EVENTS_SCHEMA_NAME ? undefined : refused('events.schema', `The first line is not ${HEADER}.`, EVENTS_SCHEMA_NAME);
}

function parse(line: string): unknown {
  try {
    const json: unknown = JSON.parse(line);
    return json ?? undefined;
  } catch {
    return undefined;
  }
}

function deliver(line: string, sink: EffectSink): Outcome<number> | undefined {
  const json = parse(line);
  if (typeof json !== 'object') {
    return refused('events.syntax', 'The line is not a JSON object.', EVENTS_SCHEMA_NAME);
  }
  const effect = readEffect(json as Record<string, unknown>);
  if (effect instanceof Misfit) {
    return refused('events.field', `${effect.path} ${effect.what}.`, EVENTS_SCHEMA_NAME);
  }
  sink.effect(effect);
  return undefined;
}

/** The effect that a parsed line stands for; absent `old` and `new` are zeros. */
function readEffect(json: Record<string, unknown>): Effect | Misfit {
  const { type } = json;
  if (typeof type !== 'string' || !Object.hasOwn(EFFECT_FIELDS, type)) {
    return new Misfit(`is not one of ${Object.keys(EFFECT_FIELDS).join(', ')}`, 'type');
  }
  const effect = readObject(json, EFFECT_FIELDS[type as Effect['type']]);
  if (effect instanceof Misfit) {
    return new Misfit(effect.what, `${type}${effect.path}`);
  }
  if (type !== 'write') {
    return effect as unknown as Effect;
  }
  const count = effect['count'] as number;
  for (const name of ['old', 'new']) {
    const halves = (effect[name] ??= new Uint32Array(2 * count)) as Uint32Array;
    if (halves.length !== 2 * count) {
      return new Misfit(`has ${halves.length / 2} descriptors and count is ${count}`, `write.${name}`);
    }
  }
  return effect as unknown as Effect;
}

const PIECE_BYTES = 2 ** 18;
/** A run of all 8192 descriptors of a 64K table, old and new, is well below that. */
const MAX_LINE = 2 ** 22;
const NEWLINE = 10;

/** The lines of a text, some at a time; undefined: a line is too long. */
function* linesIn(source: ByteSource): Generator<readonly string[] | undefined> {
  let piece = new Uint8Array(PIECE_BYTES);
  let kept = 0;
  for (let offset = 0; offset < source.size; ) {
    const got = source.read(offset, piece.subarray(kept));
    if (got === 0) {
      break;
    }
    offset += got;
    const end = kept + got;
    const last = piece.lastIndexOf(NEWLINE, end - 1);
    if (last >= 0) {
      yield strFromU8(piece.subarray(0, last)).split('\n');
    } else if (end > MAX_LINE) {
      yield undefined;
    }
    kept = end - (last + 1);
    const next = kept > piece.length / 2 ? new Uint8Array(2 * piece.length) : piece;
    next.set(piece.subarray(last + 1, end));
    piece = next;
  }
  if (kept > 0) {
    yield [strFromU8(piece.subarray(0, kept))];
  }
}

function withoutLastEnd(text: string): string {
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}
