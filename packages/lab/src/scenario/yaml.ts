import { isAlias, isScalar, Scalar, visit, type Alias, type Document } from 'yaml';
import { shown } from './values.js';

/** What is wrong with a text, and where. */
export interface Broken {
  readonly offset: number;
  readonly sentence: string;
}

/** Aliases that no scenario needs. */
const MAX_ALIASES = 100;
const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);
/** Numbers as a scenario has them: YAML has octal and exponents too, and JSON has exponents, which nobody writes an address in. */
const NUMBER = /^-?(?:0|[1-9][0-9]*|0x[0-9a-f]+)$/i;
const TOO_DEEP = 'It is nested more deeply than a scenario needs.';

/** Why a text is no YAML document with names for keys; warnings of the parser count. */
export function brokenSyntax(text: string, document: Document): Broken | undefined {
  const binary = text.search(/[\0\uFFFD]/);
  if (binary !== -1) {
    return { offset: binary, sentence: 'It is not text in UTF-8.' };
  }
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    const second = error.code === 'MULTIPLE_DOCS' ? 'A scenario is one document, and a second one begins here.' : firstSentence(error.message);
    return { offset: error.pos[0], sentence: second };
  }
  return oddKey(document);
}

function oddKey(document: Document): Broken | undefined {
  let found: Broken | undefined;
  visit(document, {
    Pair(_, { key }) {
      if (isScalar(key) || isAlias(key)) return undefined;
      found = { offset: (key as { readonly range?: readonly number[] } | null)?.range?.[0] ?? 0, sentence: 'The name of a field is a text, and this is a list or an object.' };
      return visit.BREAK;
    },
  });
  return found;
}

/** As a value: whole numbers that a number holds exactly, others as the texts that they are. */
export function plainOf(document: Document): { readonly value: unknown } | Broken {
  try {
    visit(document, {
      Scalar(_, node) {
        const isNumber = typeof node.value === 'number' || typeof node.value === 'bigint';
        if (isNumber && node.type === Scalar.PLAIN && node.source !== undefined && !NUMBER.test(node.source)) node.value = node.source;
      },
    });
    return { value: narrowed(document.toJS({ maxAliasCount: MAX_ALIASES })) };
  } catch (error) {
    return badAlias(document, error instanceof Error ? error.message : '');
  }
}

/** Nothing but aliases can be wrong with a document that was read: one without an anchor, one within its own anchor, or too many. */
function badAlias(document: Document, message: string): Broken {
  const aliases: Alias[] = [];
  visit(document, { Alias: (_, node) => void aliases.push(node) });
  const lost = aliases.find((each) => each.resolve(document) === undefined);
  const offset = (lost ?? aliases.at(0))?.range?.[0] ?? 0;
  if (lost !== undefined) {
    return { offset, sentence: `Alias ${shown(lost.source)} has no anchor before it.` };
  }
  return { offset, sentence: message.includes('call stack') ? 'An alias stands for something that it is a part of itself.' : 'Aliases make it larger than a scenario needs to be.' };
}

function firstSentence(message: string): string {
  const [line] = message.split('\n');
  if (line.includes('call stack')) {
    return TOO_DEEP;
  }
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

function narrowed(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return value <= MAX_SAFE && value >= -MAX_SAFE ? Number(value) : `0x${value.toString(16)}`;
  }
  if (Array.isArray(value)) {
    return value.map(narrowed);
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, narrowed(each)]));
  }
  return value;
}
