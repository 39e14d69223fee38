import { Command } from 'commander';
import { walkAddress } from '@granule/lab';
import { exitCodeOf, valueOf } from '../failures.js';
import { type ImageOptions, openImageFiles } from '../images.js';
import { printJson, printLines } from '../output.js';
import { walkJson, walkLines } from '../walk-text.js';
import { wordOf } from '../words.js';

interface Options extends ImageOptions {
  readonly regime: string;
  readonly nested?: boolean;
  readonly fields?: boolean;
  readonly json?: boolean;
}

const EXAMPLE = `
Example:
  granule walk c2.core.gz --regs c2.regs.json --regime el10 --nested 0xffff_ffff_8000_1234`;

export function command(): Command {
  return new Command('walk')
    .summary('one address through the tables, level by level, both stages')
    .description('One walk, level by level, both stages where both apply. Exit code 1 where it does not translate.')
    .argument('<IMAGE>', 'ELF core (gzip accepted), or raw memory with --base')
    .argument('<ADDRESS>', 'the input address: a VA, or an IPA for a stage-2 regime')
    .option('--regs <FILE>', 'system registers, granule-registers/1 (default: the .regs.json beside the image)')
    .option('--regime <NAME>', 's2, el10, el20, el2 (ARMv7: s2, pl10, pl2), or a name that the registers file lists', 's2')
    .option('--arch <NAME>', 'instead of what the register names tell')
    .option('--base <ADDRESS>', 'the image is raw memory from here')
    .option('--nested', 'also the stage-2 walk for every stage-1 descriptor')
    .option('--fields', 'every field, reserved and ignored ones too')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(path: string, text: string, options: Options): void {
  const address = wordOf(text, 'ADDRESS');
  const image = openImageFiles(path, options);
  const walked = walkAddress(image, options.regime, address);
  const walk = valueOf(walked, `--regime ${options.regime}`, walked.kind === 'done' ? 2 : exitCodeOf(walked));
  process.exitCode = walk.end.kind === 'translated' ? 0 : 1;
  if (options.json === true) {
    printJson(walkJson(walk));
  } else {
    printLines(walkLines(walk, { nested: options.nested === true, allFields: options.fields === true }));
  }
}
