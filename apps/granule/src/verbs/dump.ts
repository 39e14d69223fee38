import { Command, Option } from 'commander';
import { dump, DUMP_FORMATS, type DumpFormat, FILTERS, parseFilter, parseRange } from '@granule/lab';
import { CommandFailure, exitCodeOf, valueOf } from '../failures.js';
import { type ImageOptions, openImageFiles } from '../images.js';
import { print } from '../output.js';

interface Options extends ImageOptions {
  readonly regime: string;
  readonly format: DumpFormat;
  readonly filter?: string;
  readonly range?: string;
  readonly merge: boolean;
  readonly json?: boolean;
}

const EXAMPLE = `
Filters, joined by commas:
${Object.entries(FILTERS).map(([name, { meaning }]) => `  ${name.padEnd(5)} ${meaning}`).join('\n')}

Example:
  granule dump c1.core.gz --regs c1.regs.json --regime s2 --filter wx`;

export function command(): Command {
  return new Command('dump')
    .summary('every mapping of one regime of a memory image')
    .description('Every mapping of one regime, in order. Exit code 1 where the tables are broken: the findings are the last lines.')
    .argument('<IMAGE>', 'ELF core (gzip accepted), or raw memory with --base')
    .option('--regs <FILE>', 'system registers, granule-registers/1 (default: the .regs.json beside the image)')
    .option('--regime <NAME>', 's2, el10, el20, el2 (ARMv7: s2, pl10, pl2), or a name that the registers file lists', 's2')
    .option('--arch <NAME>', 'instead of what the register names tell')
    .option('--base <ADDRESS>', 'the image is raw memory from here')
    .addOption(new Option('--format <NAME>', 'output').choices(DUMP_FORMATS).default('text'))
    .option('--filter <LIST>', 'only these mappings, see below')
    .option('--range <RANGE>', 'only this part: START-END or START+LENGTH')
    .option('--no-merge', 'one row a leaf')
    .option('--json', 'the same as --format json')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(path: string, options: Options): void {
  if (options.format === 'ptdump' && options.filter !== undefined) {
    throw new CommandFailure('--filter: a ptdump text shows every range, so that a filter does not go with it.');
  }
  const filter = options.filter === undefined ? {} : { filter: valueOf(parseFilter(options.filter), '--filter') };
  const range = options.range === undefined ? {} : { range: valueOf(parseRange(options.range), '--range') };
  const image = openImageFiles(path, options);
  const found = image.tables(options.regime);
  const tables = valueOf(found, `--regime ${options.regime}`, found.kind === 'done' ? 2 : exitCodeOf(found));
  if (options.format === 'ptdump' && tables.some(({ format }) => format.backend === 'armv7-lpae' && format.stage === 1)) {
    throw new CommandFailure('--format ptdump: it is the text of 64-bit kernels, which has no words for the permissions of ARMv7.');
  }
  const scans = dump({ tables, format: options.json === true ? 'json' : options.format, merge: options.merge, ...filter, ...range }, print);
  const findings = scans.flatMap((scan) => scan.findings);
  if (findings.length > 0) {
    process.exitCode = 1;
    if (['ptdump', 'csv', 'dot'].includes(options.format) && options.json !== true) {
      process.stderr.write(findings.map(({ sentence }) => `granule: ${sentence}\n`).join(''));
    }
  }
}
