import { done, notModelled, refused, type Backend, type DsbDomain, type Outcome } from '@granule/contract';
import { AdversarialTlb } from '../tlb/adversarial.js';
import { TLBI_OPERATIONS } from '../tlb/operations.js';
import { everyChoice, type Choose } from './choice.js';
import { addressOf, contentOf, flagAddress, LitmusMemory, nameOf } from './litmus-machine.js';
import { mappingOf, type Litmus, type Verdict } from './litmus-text.js';
import { Machine } from './machine.js';
import type { Pe, PeAnswer } from './pe.js';
import { Contexts } from './setting.js';

/** What a verdict came to. */
export interface Judged {
  readonly verdict: Verdict;
  readonly holds: boolean;
}

export interface Explored {
  readonly name: string;
  /** Ways to run it, all of them. */
  readonly runs: number;
  /** Final registers of each way, once: `r0=a r1=translation`. */
  readonly outcomes: readonly string[];
  readonly verdicts: readonly Judged[];
}

type Registers = Map<string, string>;
type Step = (machine: Machine, registers: Registers) => void;

interface Operation {
  readonly run: Step;
  /** The VA that it translates. */
  readonly va?: number;
  /** It waits until this holds. */
  readonly ready?: (machine: Machine) => boolean;
}

const READ = { regime: 'el10', type: 'read', privileged: true } as const;
const DSB_DOMAINS: readonly string[] = ['ish', 'ishst', 'nsh', 'nshst', 'osh', 'oshst', 'sy', 'st'];

/** The name of what an access got. */
function resultOf(answer: PeAnswer, written: boolean): string {
  if (answer.kind === 'done') return written ? 'ok' : nameOf(answer.value ?? 0n);
  if (answer.kind !== 'fault') throw new RangeError(answer.kind === 'skipped' ? 'Nothing is skipped.' : answer.sentence);
  const { type, stage } = answer.fault;
  if (type === 'tlb-conflict') return 'conflict';
  return stage === 2 ? `${type}2` : type;
}

function flagOf({ memory }: Machine, name: string): number {
  const byte = new Uint8Array(1);
  memory.read(flagAddress(name), byte);
  return byte[0];
}

/** Operations of one test, their names looked up and their tables made. */
class Compiler {
  constructor(private readonly tables: LitmusMemory) {}

  compile(pe: number, words: readonly string[]): Operation | undefined {
    const [name, ...rest] = words;
    const on = (run: (pe: Pe) => void): Operation => ({ run: (machine) => run(machine.pes[pe]) });
    switch (name) {
      case 'set':
      case 'set-table':
        return this.#set(pe, rest, name === 'set-table');
      case 'read':
      case 'write':
      case 'fetch':
        return this.#access(pe, name, rest);
      case 'peek':
        return this.#peek(rest);
      case 'post':
        return { run: ({ memory }) => void memory.write(flagAddress(rest[0]), new Uint8Array([1])) };
      case 'poll':
        return this.#poll(rest);
      case 'await':
        return { run: () => undefined, ready: (machine) => flagOf(machine, rest[0]) !== 0 };
      case 'dsb':
        return DSB_DOMAINS.includes(rest[0]) ? on((each) => each.maintenance.dsb(rest[0] as DsbDomain)) : undefined;
      case 'isb':
      case 'eret':
        return on((each) => each.isb());
      case 'tlbi':
        return this.#tlbi(pe, rest);
      case 'msr':
        return this.#msr(pe, rest);
      default:
        return undefined;
    }
  }

  #set(pe: number, [table, ...rest]: readonly string[], level2: boolean): Operation | undefined {
    const mapping = mappingOf(rest);
    const set = mapping && this.tables.descriptorFor(table, mapping, level2 || mapping.block ? 2 : 3);
    if (set?.kind !== 'done') return undefined;
    const { pa, lo, hi } = set.value;
    return { run: (machine) => void machine.writeDescriptor(pe, pa, lo, hi) };
  }

  #access(pe: number, type: 'read' | 'write' | 'fetch', [register, name, value = '']: readonly string[]): Operation | undefined {
    const va = addressOf(name);
    if (va === undefined) return undefined;
    const access = { ...READ, type, address: BigInt(va), value: contentOf(value) };
    return {
      va,
      run: (machine, registers) => registers.set(register, resultOf(machine.pes[pe].access(access), type === 'write')),
    };
  }

  #peek([register, table, name]: readonly string[]): Operation | undefined {
    const set = this.tables.descriptorFor(table, { from: name, to: 'invalid', block: false, flags: [] });
    if (set.kind !== 'done') return undefined;
    const format = this.tables.isStage2(table) ? this.tables.second : this.tables.first;
    return {
      run: (machine, registers) => {
        const word = { lo: 0, hi: 0 };
        machine.readDescriptor(0, set.value.pa, word);
        const output = format.leafOutput(word.lo, word.hi, 3);
        const known = 'abcdefghABCD'.split('').find((each) => addressOf(each) === output);
        registers.set(register, (word.lo & 1) === 0 ? 'invalid' : (known ?? 'other'));
      },
    };
  }

  #poll([register, flag]: readonly string[]): Operation {
    return {
      run: (machine, registers) => registers.set(register, String(flagOf(machine, flag))),
    };
  }

  #tlbi(pe: number, [name, ...rest]: readonly string[]): Operation | undefined {
    const op = name.toUpperCase();
    const at = rest.length > 0 ? addressOf(rest[0]) : undefined;
    const numberAfter = (word: string): number | undefined => (rest.includes(word) ? Number(rest[rest.indexOf(word) + 1]) : undefined);
    const asid = numberAfter('asid');
    const ttl = numberAfter('ttl');
    if (!TLBI_OPERATIONS.has(op)) return undefined;
    const operand = {
      ...(at !== undefined && (op.includes('IPAS2') ? { IPA: BigInt(at) } : { VA: BigInt(at) })),
      ...(ttl !== undefined && { TTL: BigInt(ttl) }),
    };
    return {
      run: (machine) => {
        const decoded = machine.pes[pe].decoded();
        const current = decoded.kind === 'done' ? decoded.value.asid('el10') : 0;
        machine.pes[pe].maintenance.tlbi(op, { ...operand, ASID: BigInt(asid ?? current) });
      },
    };
  }

  #msr(pe: number, [name, table, , tag]: readonly string[]): Operation | undefined {
    const value = this.tables.baseRegister(table, tag === undefined ? undefined : Number(tag));
    const register = { ttbr0: 'TTBR0_EL1', vttbr: 'VTTBR_EL2' }[name];
    if (value === undefined || register === undefined) return undefined;
    return { run: (machine) => machine.pes[pe].writeRegister(register, value) };
  }
}

interface Compiled {
  readonly tables: LitmusMemory;
  readonly programs: readonly (readonly Operation[])[];
  readonly names: (pe: number) => readonly string[];
}

function compile(test: Litmus, backend: Backend): Outcome<Compiled> {
  const managed = [...test.stage1, ...test.stage2].some(({ mappings }) => mappings.some(({ flags }) => flags.includes('noaf') || flags.includes('dbm')));
  const tables = LitmusMemory.of(test, backend, managed);
  if (tables.kind !== 'done') return tables;
  const compiler = new Compiler(tables.value);
  const programs: Operation[][] = [];
  for (const [pe, operations] of test.programs.entries()) {
    programs.push([]);
    for (const words of operations ?? []) {
      const operation = compiler.compile(pe, words);
      if (operation === undefined) return refused('litmus.operation', `${test.name}: "${words.join(' ')}" is not an operation.`, 'litmus');
      programs[pe].push(operation);
    }
  }
  const defaults = [test.stage1[0], test.stage2[0]].filter((each) => each !== undefined).map(({ name }) => name);
  return done({ tables: tables.value, programs, names: (pe) => test.inForce.get(pe) ?? defaults });
}

/** What every PE may walk ahead now: every address that its program goes on to translate, in every way that the moment allows. */
function walkAhead(machine: Machine, left: readonly (readonly Operation[])[]): void {
  const { choose } = machine;
  for (const [pe, operations] of left.entries()) {
    const addresses = new Set(operations.map(({ va }) => va).filter((va) => va !== undefined));
    for (const va of addresses) {
      everyChoice((each) => {
        machine.choose = each;
        machine.pes[pe].speculate({ ...READ, address: BigInt(va) });
      });
    }
  }
  machine.choose = choose;
}

/** One run. Between operations TLBs fill with everything that they may hold: nothing is lost by holding more, since no access must use it. */
function runOnce({ tables, programs, names }: Compiled, contexts: Contexts, backend: Backend, choose: Choose): string {
  const pes = programs.map((_, pe) => ({ registers: tables.registers(names(pe)), tlb: new AdversarialTlb() }));
  const machine = new Machine({ backend, features: tables.features, memory: tables.memory.copy(), pes, choose, contexts });
  const registers: Registers = new Map();
  const at = programs.map(() => 0);
  const left = (): readonly (readonly Operation[])[] => programs.map((program, pe) => program.slice(at[pe]));
  for (;;) {
    const remaining = left();
    walkAhead(machine, remaining);
    const runnable = [...programs.keys()].filter((pe) => remaining[pe].length > 0 && remaining[pe][0].ready?.(machine) !== false);
    if (runnable.length === 0) break;
    // An invalidation that takes effect early matters where something is still translated.
    const early = machine.pending().filter(({ pe }) => remaining[pe].some(({ va }) => va !== undefined));
    const count = runnable.length + early.length;
    const pick = count === 1 ? 0 : choose(count);
    if (pick >= runnable.length) machine.order.take(early[pick - runnable.length]);
    else {
      const pe = runnable[pick];
      programs[pe][at[pe]].run(machine, registers);
      at[pe] += 1;
    }
  }
  return [...registers.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${name}=${value}`).join(' ');
}

const PLAIN = /^([a-h]'?|ok|invalid|other|[0-9]+|conflict|[A-D])$/;

function matches(outcome: string, { conditions }: Verdict): boolean {
  const held = new Map(outcome.split(' ').map((each) => each.split('=') as [string, string]));
  return conditions.every(({ register, value }) => {
    const got = held.get(register);
    return value === 'fault' ? got !== undefined && !PLAIN.test(got) && /translation|permission|access-flag|address-size|abort/.test(got) : got === value;
  });
}

function judge(verdict: Verdict, outcomes: readonly string[]): Judged {
  const hits = outcomes.filter((each) => matches(each, verdict)).length;
  const holds = { allowed: hits > 0, forbidden: hits === 0, required: hits === outcomes.length }[verdict.kind];
  return { verdict, holds };
}

/**
 * Runs a test in every way: all interleavings of its PEs' operations, and in each all that TLBs may hold, walkers may see late, invalidations may do early and
 * registers may be before they are synchronised. Accesses are atomic and happen in program order: a test whose verdict rests on ordinary accesses being
 * reordered is not modelled, and says so itself.
 *
 * Not modelled: `litmus.not-modelled`, `litmus.backend`, `litmus.limit` (more ways than `limit`). Refused: `litmus.operation`, `litmus.name`.
 */
export function explore(test: Litmus, backend: Backend, limit = 200_000): Outcome<Explored> {
  if (test.notModelled !== undefined) return notModelled('litmus.not-modelled', `${test.name}: ${test.notModelled}`, test.from);
  const compiled = compile(test, backend);
  if (compiled.kind !== 'done') return compiled;
  const contexts = new Contexts(backend, compiled.value.tables.features);
  const found = new Set<string>();
  const runs = everyChoice((choose) => found.add(runOnce(compiled.value, contexts, backend, choose)), limit);
  if (runs === -1) return notModelled('litmus.limit', `${test.name} has more than ${limit} ways to run.`, 'litmus');
  const outcomes = [...found].sort();
  return done({ name: test.name, runs, outcomes, verdicts: test.verdicts.map((each) => judge(each, outcomes)) });
}
