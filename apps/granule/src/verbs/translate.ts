import { Command } from 'commander';
import { dirname, join } from 'node:path';
import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { compare, type Verdict } from '@granule/conformance/vectors';
import type { Backend, CaseAnswer, CaseMachine } from '@granule/contract';
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
--check compares with the answers in the file and closes with 'N passed, N failed, N doubtful'.

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

/** JSON with 64-bit values as `0x…`. */
function line(value: unknown): string {
  return `${JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? hex(each, 1) : each))}\n`;
}

function answerFields({ changed, ...rest }: CaseAnswer): object {
  return changed.length === 0 ? rest : { ...rest, changed: changed.map(([address, value]) => [hex(address, 1), value]) };
}

function run(options: Options): void {
  const cases = valueOf(readCases(readText(options.cases)), options.cases);
  const beside = options.machines ?? join(dirname(options.cases), 'machines.json');
  const machines = valueOf(readMachines(readText(beside)), beside);
  const counts: Record<Verdict['verdict'], number> = { passed: 0, failed: 0, doubtful: 0 };
  for (const each of cases) {
    const machine = machines.get(each.machine);
    if (machine === undefined) throw new CommandFailure(`${options.cases}: case ${each.id} names machine ${each.machine}, which ${beside} does not have.`);
    const answers = runCase(each, machine, BACKENDS);
    const where = `${options.cases}: case ${each.id}`;
    for (const [index, answer] of valueOf(answers, where, answers.kind === 'done' ? 2 : exitCodeOf(answers)).entries()) {
      const query = each.queries[index];
      const verdict = options.check === true ? compare(answer, query) : undefined;
      if (verdict !== undefined) counts[verdict.verdict] += 1;
      print(line({ case: each.id, query: index, ...answerFields(answer), ...verdict }));
    }
  }
  if (options.check !== true) return;
  print(`${counts.passed} passed, ${counts.failed} failed, ${counts.doubtful} doubtful\n`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}
