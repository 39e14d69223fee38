import { type Outcome, done, refused } from '@granule/contract';
import { isMap, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { SCENARIO_SCHEMA, type Scenario, scenarioSchema } from './scenario.js';
import { shown } from './values.js';
import { brokenSyntax, plainOf } from './yaml.js';

/** Where in a scenario: names of fields and places in lists. */
export type FieldPath = readonly (string | number)[];

export interface ScenarioFile {
  readonly scenario: Scenario;
  /** `FILE:LINE:COLUMN` of a field, or of the nearest one around it that is written down. */
  readonly place: (path: FieldPath) => string;
}

type Issue = z.core.$ZodIssue;

/**
 * A scenario in YAML, which JSON is too. Refused, with file, line, column and field in the sentence: `scenario.syntax`, `scenario.field`
 * (the first of the fields that are wrong, in the order of the text).
 */
export function readScenario(text: string, file: string): Outcome<ScenarioFile> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, intAsBigInt: true, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
  };
  const broken = brokenSyntax(text, document);
  const plain = broken ?? plainOf(document);
  if ('sentence' in plain) {
    return refused('scenario.syntax', `${at(plain.offset)}: ${plain.sentence}`, 'YAML 1.2');
  }
  const parsed = scenarioSchema.safeParse(plain.value);
  if (parsed.success) {
    return done({ scenario: parsed.data, place: (path) => at(offsetOf(document, path)) });
  }
  const { issues } = parsed.error;
  const places = issues.filter((issue) => !isMisspelt(issue, issues)).map((issue) => ({ issue, offset: offsetOf(document, pathOf(issue)) }));
  const [first] = places.sort((a, b) => a.offset - b.offset);
  const { issue, offset } = first;
  return refused('scenario.field', `${at(offset)}: ${sentenceOf(issue, missing(plain.value, issue.path))}`, SCENARIO_SCHEMA);
}

/** A scenario as an object; addresses and values may be texts. Refused: `scenario.field`. */
export function checkScenario(input: unknown): Outcome<Scenario> {
  const parsed = scenarioSchema.safeParse(input);
  if (parsed.success) {
    return done(parsed.data);
  }
  const [issue] = parsed.error.issues;
  return refused('scenario.field', sentenceOf(issue, missing(input, issue.path)), SCENARIO_SCHEMA);
}

/** `steps[3].at`. */
export function fieldName(path: readonly PropertyKey[]): string {
  const name = path.map((each) => (typeof each === 'number' ? `[${each}]` : /^[\w.-]{1,40}$/.test(String(each)) ? `.${String(each)}` : `[${shown(String(each))}]`)).join('');
  return name === '' ? 'the scenario' : name.replace(/^\./, '');
}

/** A field is not there, and beside its place is one that nobody knows: that one is the mistake. */
function isMisspelt({ code, path }: Issue, issues: readonly Issue[]): boolean {
  const parent = fieldName(path.slice(0, -1));
  return code !== 'unrecognized_keys' && path.length > 0 && issues.some((other) => other.code === 'unrecognized_keys' && fieldName(other.path) === parent);
}

/** Of a field that nobody knows, the field itself. */
function pathOf(issue: Issue): FieldPath {
  const path = issue.path.map((each) => (typeof each === 'number' ? each : String(each)));
  return issue.code === 'unrecognized_keys' ? [...path, issue.keys[0]] : path;
}

function offsetOf(document: Document, path: FieldPath): number {
  for (let depth = path.length; depth > 0; depth -= 1) {
    const parent: unknown = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
    const last = path[depth - 1];
    const pair = isMap(parent) ? parent.items.find((each) => isPair(each) && isScalar(each.key) && String(each.key.value) === last) : undefined;
    const node: unknown = pair?.key ?? document.getIn(path.slice(0, depth), true);
    const start = (node as { range?: readonly number[] } | undefined)?.range?.[0];
    if (start !== undefined) {
      return start;
    }
  }
  return document.contents?.range?.[0] ?? 0;
}

/** Whether a field is not there at all. */
function missing(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const each of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, each)) {
      return true;
    }
    at = (at as Readonly<Record<PropertyKey, unknown>>)[each];
  }
  return at === undefined;
}

function sentenceOf(issue: Issue, absent: boolean): string {
  if (issue.code === 'unrecognized_keys') {
    return `${fieldName([...issue.path, issue.keys[0]])} is a field that nobody knows.`;
  }
  // The message of a step's name has the name.
  const named = issue.code === 'invalid_union' && issue.path.at(-1) === 'do';
  const name = fieldName(named ? issue.path.slice(0, -1) : issue.path);
  if (absent && !named) {
    return `${name} is missing.`;
  }
  if (named && !absent) {
    return `${name}.${issue.message}.`;
  }
  if (issue.code === 'invalid_type' && issue.message.startsWith('Invalid input')) {
    return `${name} is no ${issue.expected === 'array' ? 'list' : issue.expected === 'object' || issue.expected === 'record' ? 'object' : issue.expected}.`;
  }
  return `${name} ${issue.message}.`;
}
