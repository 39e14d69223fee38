import { Command } from 'commander';
import { dirname, join } from 'node:path';
import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { runVectors, type Verdict } from '@granule/conformance/vectors';
import type { Backend, CaseAnswer, CaseMachine, CaseTranslator, TranslationCase } from '@granule/contract';
import { hex } from '@granule/geometry/bits';
import { runCase } from '@granule/lab';
import { readCases, readMachines } from '@granule/snapshot';
import { CommandFailure, exitCodeOf, valueOf } from '../failures.js';
import { readText } from '../files.js';
import { print } from '../output.js';

interface Options {
  readonly cases: string;
  readonly machines?: string;
  readonly check?: boolean;
}

const EXAMPLE = `
One JSON line for each query: case, query, then par, esr, ok or abort, and changed.
--check compares with the answers in the file, says of each that failed what differs, and closes with 'N passed, N failed, N doubtful'. A case that
cannot be answered has failed.

Example:
  granule translate --cases two-stage.jsonl.gz --check`;

export function command(): Command {
  return new Command('translate')
    .summary('translation cases: registers, memory and addresses in, PAR or abort out')
    .description('Runs translation cases through the model of the hardware. Exit code 1 where --check finds a difference.')
    .requiredOption('--cases <FILE>', 'JSON Lines, gzip accepted; - for standard input')
    .option('--machines <FILE>', 'identification registers and RAM by machine (default: machines.json beside the cases)')
    .option('--check', 'compare with the answers in the file')
    .option('--json', 'the output is JSON Lines anyway')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

const BACKENDS: Readonly<Record<CaseMachine['state'], Backend>> = { aarch64: armv8, aarch32: armv7Lpae };
const translator: CaseTranslator = (each, machine) => runCase(each, machine, BACKENDS);

/** JSON with 64-bit values as `0x…`. */
function line(value: unknown): string {
  return `${JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? hex(each, 1) : each))}\n`;
}

function answerFields({ changed, ...rest }: CaseAnswer): object {
  return changed.length === 0 ? rest : { ...rest, changed: changed.map(([address, value]) => [hex(address, 1), value]) };
}

/** Every answer, a line each; a case that cannot be answered ends it. */
function answerAll(options: Options, cases: readonly TranslationCase[], machines: ReadonlyMap<string, CaseMachine>, beside: string): void {
  for (const each of cases) {
    const machine = machines.get(each.machine);
    if (machine === undefined) throw new CommandFailure(`${options.cases}: case ${each.id} names machine ${each.machine}, which ${beside} does not have.`);
    const answers = translator(each, machine);
    const where = `${options.cases}: case ${each.id}`;
    for (const [query, answer] of valueOf(answers, where, answers.kind === 'done' ? 2 : exitCodeOf(answers)).entries()) {
      print(line({ case: each.id, query, ...answerFields(answer) }));
    }
  }
}

/** Every answer with its verdict; a case that cannot be answered has failed, and the next is taken. */
function checkAll(cases: readonly TranslationCase[], machines: ReadonlyMap<string, CaseMachine>): void {
  const counts: Record<Verdict['verdict'], number> = { passed: 0, failed: 0, doubtful: 0 };
  for (const { case: id, index, answer, verdict, agrees, reasons } of runVectors(cases, machines, translator)) {
    counts[verdict] += 1;
    print(line({ case: id, query: index, ...(answer && answerFields(answer)), verdict, agrees, ...(verdict === 'failed' && { reasons }) }));
  }
  print(`${counts.passed} passed, ${counts.failed} failed, ${counts.doubtful} doubtful\n`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}

function run(options: Options): void {
  const cases = valueOf(readCases(readText(options.cases)), options.cases);
  const beside = options.machines ?? join(dirname(options.cases), 'machines.json');
  const machines = valueOf(readMachines(readText(beside)), beside);
  if (options.check === true) checkAll(cases, machines);
  else answerAll(options, cases, machines, beside);
}
