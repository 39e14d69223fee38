import { Command } from 'commander';
import { replayOps, replayText } from '@granule/lab';
import { CommandFailure, exitCodeOf, valueOf } from '../failures.js';
import { BACKENDS } from '../images.js';
import { print, printJson } from '../output.js';
import { runFiles } from '../runs.js';

interface Options {
  readonly ops?: boolean;
  readonly until?: string;
  readonly json?: boolean;
}

const EXAMPLE = `
Example:
  granule replay apps/granule/data/A-4k-a76 --ops`;

export function command(): Command {
  return new Command('replay')
    .summary('the page-table operations of a real run, compared with its tables')
    .description(
      "Drives the page-table core with the operations of a run directory's trace, and compares with the kernel's tables at each " +
        'checkpoint. The last line is N of N mappings equal; exit code 1 where anything differs.',
    )
    .argument('<DIR>', 'a run directory: run.json, end.trace.txt.gz, cN.core.gz, cN.regs.json')
    .option('--ops', 'the traced page-table operations drive the core (replay by causes is not modelled yet)')
    .option('--until <CHECKPOINT>', 'stop after this checkpoint')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(path: string, options: Options): void {
  if (options.ops !== true) {
    throw new CommandFailure('replay: without --ops the causes would drive a policy, which is not modelled yet.', 1);
  }
  const replayed = replayOps({
    files: runFiles(path),
    backends: BACKENDS,
    ...(options.until === undefined ? {} : { until: options.until }),
  });
  const report = valueOf(replayed, path, replayed.kind === 'done' ? 2 : exitCodeOf(replayed));
  process.exitCode = report.exact ? 0 : 1;
  if (options.json === true) {
    printJson({ schema: 'granule-replay/1', ...report });
  } else {
    print(replayText(report));
  }
}
