import { Command } from 'commander';
import { CommandFailure } from '../failures.js';

const EXAMPLE = `
Example:
  granule replay apps/granule/data/A-4k-a76 --ops`;

export function command(): Command {
  return new Command('replay')
    .summary('the page-table operations of a real run, compared with its tables')
    .description('Drives the page-table core with the operations of a run directory\'s trace, and compares with the kernel\'s tables at each checkpoint.')
    .argument('<DIR>', 'a run directory')
    .option('--ops', 'the traced page-table operations drive the core')
    .option('--until <CHECKPOINT>', 'stop after this checkpoint')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(): void {
  throw new CommandFailure('replay: this build has no replay.', 2);
}
