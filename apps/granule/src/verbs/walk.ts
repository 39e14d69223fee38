import { Command, Option } from 'commander';
import { type Image, isNestedRegime, type WalkAccess, walkAddress, walkShadow } from '@granule/lab';
import { exitCodeOf, valueOf } from '../failures.js';
import { type ImageOptions, openImageFiles } from '../images.js';
import { printJson, printLines } from '../output.js';
import { shadowJson, shadowLines } from '../shadow-text.js';
import { walkJson, walkLines } from '../walk-text.js';
import { wordOf } from '../words.js';

interface Options extends ImageOptions {
  readonly regime: string;
  readonly access: NonNullable<WalkAccess['type']>;
  readonly el?: '0' | '1' | '2';
  readonly nested?: boolean;
  readonly fields?: boolean;
  readonly json?: boolean;
}

const EXAMPLE = `
Examples:
  granule walk c2.core.gz --regs c2.regs.json --regime el10 --nested 0xffff_ffff_8000_1234
  granule walk c2.core.gz --regime el10 --access write --el 0 0x8000_1234
  granule walk c7.core.gz --regime s2 --nested 0x1000_8008        (an IPA of a nested guest)

A leaf with AF = 0 is an access flag fault where hardware does not manage the flag; the walk goes on
and tells where the tables lead behind it.`;

export function command(): Command {
  return new Command('walk')
    .summary('one address through the tables, level by level, both stages')
    .description(
      'One access as hardware translates it: every descriptor it reads, both stages where both apply; a fault with the descriptor, the field and the ' +
        'clause that made it. Exit code 1 where the access faults.',
    )
    .argument('<IMAGE>', 'ELF core (gzip accepted), or raw memory with --base')
    .argument('<ADDRESS>', 'the input address: a VA, or an IPA for a stage-2 regime')
    .option('--regs <FILE>', 'system registers, granule-registers/1 (default: the .regs.json beside the image)')
    .option('--regime <NAME>', 's2, el10, el20, el2 (ARMv7: s2, pl10, pl2), or a name that the registers file lists', 's2')
    .option('--arch <NAME>', 'instead of what the register names tell')
    .option('--base <ADDRESS>', 'the image is raw memory from here')
    .addOption(new Option('--access <KIND>', 'the access').choices(['read', 'write', 'fetch']).default('read'))
    .addOption(new Option('--el <LEVEL>', 'whose rights it has (PL in ARMv7; default: the higher of the regime)').choices(['0', '1', '2']))
    .option('--nested', "also the stage-2 walk for every stage-1 descriptor; of a shadow stage 2, or a guest hypervisor's: the whole chain, and why the shadow is as it is")
    .option('--fields', 'every field, reserved and ignored ones too')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(path: string, text: string, options: Options): void {
  const address = wordOf(text, 'ADDRESS');
  const image = openImageFiles(path, options);
  const access = { type: options.access, ...(options.el === undefined ? {} : { el: Number(options.el) as 0 | 1 | 2 }) };
  if (options.nested === true && isNestedRegime(image, options.regime)) {
    showShadow(image, address, access, options);
    return;
  }
  const walked = walkAddress(image, options.regime, address, access);
  const where = walked.kind === 'refused' && walked.id === 'walk.no-such-level' ? '--el' : `--regime ${options.regime}`;
  const walk = valueOf(walked, where, walked.kind === 'done' ? 2 : exitCodeOf(walked));
  process.exitCode = walk.end.kind === 'translated' ? 0 : 1;
  if (options.json === true) {
    printJson(walkJson(walk));
  } else {
    printLines(walkLines(walk, { nested: options.nested === true, allFields: options.fields === true }));
  }
}

/** Exit code 1 where the nested guest's access would not get through as the shadow stands. */
function showShadow(image: Image, address: bigint, access: WalkAccess, { regime, json, fields }: Options): void {
  const walked = walkShadow(image, regime, address, access);
  const walk = valueOf(walked, `--regime ${regime}`, walked.kind === 'done' ? 2 : exitCodeOf(walked));
  process.exitCode = walk.state === 'mapped' ? 0 : 1;
  if (json === true) {
    printJson(shadowJson(walk));
  } else {
    printLines(shadowLines(walk, fields === true));
  }
}
