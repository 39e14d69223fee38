import { done, refused, type CaseMachine, type Outcome, type TranslationCase } from '@granule/contract';
import * as z from 'zod';
import { addressOf, hexAddress, hexWord, readJson, wordOf } from './json.js';

const SOURCE = 'translation cases, JSON Lines';

const word = hexWord.transform(wordOf);
const small = z.union([z.number().int().min(0), hexWord.transform((text) => Number(BigInt(text)))]);
const address = hexAddress.transform(addressOf);
const pairs = z.array(z.tuple([address, word]));
const flag = z.union([z.boolean(), z.literal(0), z.literal(1)]).transform(Boolean);
const abort = z.object({
  el: small.optional(),
  esr: word.optional(),
  ec: small.optional(),
  iss: small.optional(),
  far: word.optional(),
  hpfar: word.optional(),
  ok: flag.optional(),
});
const query = z.object({
  op: z.string(),
  va: word,
  pan: flag.default(false),
  par: word.optional(),
  esr: word.optional(),
  ok: flag.optional(),
  abort: abort.optional(),
  changed: pairs.default([]),
  doubt: z.array(z.string()).default([]),
  alt: z.union([word, abort]).optional(),
});
const record = z
  .object({ id: z.string(), note: z.string().default(''), machine: z.string(), regs: z.record(z.string(), word), mem: pairs.default([]), queries: z.array(query) })
  .transform(({ regs, mem, ...rest }) => ({ ...rest, registers: regs, memory: mem }));
const machines = z.object({
  machines: z.record(
    z.string(),
    z.object({ state: z.enum(['aarch64', 'aarch32']), windows: z.array(z.tuple([address, address])), id: z.record(z.string(), word) }),
  ),
});

/** `machines.json`: by name. Refused: `json.*`. */
export function readMachines(text: string): Outcome<ReadonlyMap<string, CaseMachine>> {
  const read = readJson(text, machines, 'machines.json');
  if (read.kind !== 'done') return read;
  return done(new Map(Object.entries(read.value.machines).map(([name, machine]) => [name, { name, ...machine }])));
}

/** Cases, one a line; blank lines are skipped. Refused: `cases.line` with the number of the first line that is wrong. */
export function readCases(text: string): Outcome<readonly TranslationCase[]> {
  const cases: TranslationCase[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const read = readJson<TranslationCase>(line, record, SOURCE);
    if (read.kind !== 'done') return refused('cases.line', `Line ${index + 1}: ${read.kind === 'refused' ? read.sentence : read.kind}`, SOURCE);
    cases.push(read.value);
  }
  return done(cases);
}
