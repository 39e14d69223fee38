import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { differences, type Difference } from '@granule/conformance/vectors';
import type { CaseAnswer, CaseMachine, CaseQuery, CaseTranslator, TranslationCase } from '@granule/contract';
import { runCase } from '../../src/index.js';
import type { Generated } from './memory.js';
import { twin } from './twin.js';

const model: CaseTranslator = (each, machine) => runCase(each, machine, { aarch64: armv8, aarch32: armv7Lpae });

/** An answer in the place of a recorded one. */
function expected(query: CaseQuery, { par, esr, ok, abort, changed }: CaseAnswer): CaseQuery {
  return { op: query.op, va: query.va, pan: query.pan, ...(par !== undefined && { par }), ...(esr !== undefined && { esr }), ...(ok && { ok }), ...(abort && { abort }), changed, doubt: [] };
}

function answersOf(translator: CaseTranslator, each: TranslationCase, machine: CaseMachine): readonly CaseAnswer[] {
  const outcome = translator(each, machine);
  if (outcome.kind !== 'done') throw new Error(`${outcome.id}: ${outcome.sentence}`);
  return outcome.value;
}

/** Where the model and the twin differ, by query. */
function differ({ each, machine }: Generated): readonly (readonly Difference[])[] {
  const wanted = answersOf(twin, each, machine);
  const answers = answersOf(model, each, machine);
  return each.queries.map((query, i) => differences(answers[i], expected(query, wanted[i])));
}

export const differs = (generated: Generated): boolean => differ(generated).some((found) => found.length > 0);

/** The twin's answers, for what the cases of a run come to. */
export const outcomes = ({ each, machine }: Generated): readonly CaseAnswer[] => answersOf(twin, each, machine);

/** Words with one bit cleared, and with none. */
function* lesser(word: bigint): Generator<bigint> {
  if (word === 0n) return;
  yield 0n;
  for (let at = 63n; at >= 0n; at -= 1n) if (((word >> at) & 1n) === 1n) yield word & ~(1n << at);
}

function* smaller({ each, machine }: Generated): Generator<Generated> {
  for (const query of each.queries) if (each.queries.length > 1) yield { machine, each: { ...each, queries: [query] } };
  for (const name of Object.keys(each.registers)) {
    for (const word of lesser(each.registers[name])) yield { machine, each: { ...each, registers: { ...each.registers, [name]: word } } };
  }
  for (let i = 0; i < each.memory.length; i += 1) {
    yield { machine, each: { ...each, memory: each.memory.filter((_, at) => at !== i) } };
    for (const word of lesser(each.memory[i][1])) yield { machine, each: { ...each, memory: each.memory.map((one, at) => (at === i ? [one[0], word] as const : one)) } };
  }
  for (const name of Object.keys(machine.id)) {
    for (const word of lesser(machine.id[name])) yield { each, machine: { ...machine, id: { ...machine.id, [name]: word } } };
  }
  const [query] = each.queries;
  for (const va of lesser(query.va)) yield { machine, each: { ...each, queries: [{ ...query, va }] } };
}

/** A smaller case that still differs: fewer queries, words and bits. */
export function shrink(generated: Generated): Generated {
  for (const candidate of smaller(generated)) if (differs(candidate)) return shrink(candidate);
  return generated;
}

const hex = (word: bigint | number): string => `0x${word.toString(16)}`;

/** A case as text: what is not 0 of it, and both answers. */
export function describeCase({ each, machine }: Generated): string {
  const named = (words: Readonly<Record<string, bigint>>): string => Object.entries(words).filter(([, word]) => word !== 0n).map(([name, word]) => `${name}=${hex(word)}`).join(' ');
  const memory = each.memory.map(([address, word]) => `${hex(address)}: ${hex(word)}`).join(', ');
  const show = (answers: readonly CaseAnswer[]): string => JSON.stringify(answers, (_, value: unknown) => (typeof value === 'bigint' ? hex(value) : value));
  const queries = each.queries.map(({ op, va, pan }) => `${op} ${hex(va)}${pan ? ' pan' : ''}`).join(', ');
  return [
    `id ${named(machine.id)}`, `registers ${named(each.registers)}`, `memory ${memory}`, `queries ${queries}`,
    `model ${show(answersOf(model, each, machine))}`, `twin  ${show(answersOf(twin, each, machine))}`,
  ].join('\n');
}
