import { Command } from 'commander';
import type { Outcome } from '@granule/contract';
import { causesText, replayCauses, replayOps, replayText } from '@granule/lab';
import { CommandFailure, exitCodeOf, valueOf } from '../failures.js';
import { BACKENDS } from '../backends.js';
import { print, printJson } from '../output.js';
import { progressOf } from '../progress.js';
import { runFiles } from '../runs.js';
import { wordOf } from '../words.js';

interface Options {
  readonly ops?: boolean;
  readonly until?: string;
  readonly explain?: readonly string[];
  readonly skipTorn?: boolean;
  readonly json?: boolean;
}

const EXAMPLE = `
Example:
  granule replay apps/granule/data/A-4k-a76
  granule replay apps/granule/data/A-4k-a76 --ops
  granule replay apps/granule/data/G-4k-v2 --explain 0x2000_0000`;

export function command(): Command {
  return new Command('replay')
    .summary('a real run again: its causes drive the policy, or its operations the page-table core')
    .description(
      "Drives KVM's policy with the causes in a run directory (faults, notifiers, trapped cache operations, what the VMM did) and compares its " +
        "calls with the kernel's; with --ops, drives the page-table core with the traced operations. Compares with the kernel's tables at each " +
        'checkpoint. The last line is N of N calls, N of N mappings equal; exit code 1 where anything differs.',
    )
    .argument('<DIR>', 'a run directory: run.json, steps.json, end.trace.txt.gz, cN.core.gz, cN.regs.json')
    .option('--ops', 'the traced page-table operations drive the core')
    .option('--until <CHECKPOINT>', 'stop after this checkpoint')
    .option('--explain <IPA...>', 'what made and removed the entries of shadow stage 2s for addresses of a nested guest')
    .option('--skip-torn', 'go on behind events that are torn in the middle of a trace; what they told is undetermined')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(path: string, { ops, until, explain, skipTorn, json }: Options): void {
  const progress = progressOf();
  const options = { files: runFiles(path), backends: BACKENDS, progress: progress.told, ...(until === undefined ? {} : { until }), ...(skipTorn && { torn: 'skip' as const }) };
  if (ops === true && explain !== undefined) {
    throw new CommandFailure('--explain: it tells what the policy did, so that --ops does not go with it.');
  }
  if (ops === true) {
    const replayed = replayOps(options);
    progress.end();
    show(path, replayed, 'granule-replay/1', replayText, json);
  } else {
    const addresses = explain?.map((text) => Number(wordOf(text, '--explain')));
    const replayed = replayCauses({ ...options, ...(addresses && { explain: addresses }) });
    progress.end();
    show(path, replayed, 'granule-replay-causes/1', causesText, json);
  }
}

function show<T extends { readonly exact: boolean }>(
  path: string,
  replayed: Outcome<T>,
  schema: string,
  text: (report: T) => string,
  json: boolean | undefined,
): void {
  const report = valueOf(replayed, path, replayed.kind === 'done' ? 2 : exitCodeOf(replayed));
  process.exitCode = report.exact ? 0 : 1;
  if (json === true) {
    printJson({ schema, ...report });
  } else {
    print(text(report));
  }
}
