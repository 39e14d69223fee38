import { Command, Option } from 'commander';
import { buildAssembly, buildJson, buildLines, buildRegistersJson, buildTables, type BuiltTables, readRegionMap, REGION_TYPES } from '@granule/lab';
import { parseAddress } from '@granule/geometry/bits';
import { ARCHITECTURES, backendOf } from '../backends.js';
import { CommandFailure, exitCodeOf, valueOf } from '../failures.js';
import { readText, writeBytes } from '../files.js';
import { printBytes, printLines } from '../output.js';
import { refuseForeign, shape, type ShapeOptions } from '../shapes.js';
import { countOf, FEATURE_NAMES, featuresOf, granuleOf } from '../words.js';

interface Options extends ShapeOptions {
  readonly regime: string;
  readonly ipa?: string;
  readonly va?: string;
  readonly base: string;
  readonly roundOut?: boolean;
  readonly output?: string;
  readonly format?: BuildFormat;
  readonly regs?: string;
  readonly json?: boolean;
}

const FORMATS = ['bin', 'asm', 'json'] as const;
type BuildFormat = (typeof FORMATS)[number];

const EXAMPLE = `
A region map has lines ADDRESS, LENGTH, TYPE, LABEL[, OUTPUT]; without OUTPUT a region is mapped to itself. Types:
${Object.entries(REGION_TYPES).map(([name, { permissions, memory }]) => `  ${name.padEnd(8)} ${permissions} ${memory}`).join('\n')}
or permissions and a memory type, such as R-X normal-nc.

Examples:
  granule build map.csv --base 0x9000_0000 -o tables.bin --regs tables.regs.json
  granule dump tables.bin --base 0x9000_0000
  granule build map.csv --regime el2 --granule 64K --va 42 --base 0x9000_0000 --format asm`;

export function command(): Command {
  return new Command('build')
    .summary('tables for a region map, with register values and the size of the table pool')
    .description(
      'Makes translation tables for a region map, by the largest blocks that fit. Without --format and -o prints what would be built: regions, tables, ' +
        'pool, register values. Exit code 1 where the configuration is not supported.',
    )
    .argument('<MAP>', 'CSV, gzip accepted; - for standard input')
    .requiredOption('--base <ADDRESS>', 'where the tables will stand, the entry table first')
    .option('--arch <NAME>', ARCHITECTURES, 'armv8')
    .option('--regime <NAME>', 's2, el10, el20 or el2 (ARMv7: s2, pl10 or pl2)', 's2')
    .option('--granule <SIZE>', '4K, 16K or 64K', '4K')
    .option('--ipa <BITS>', 'stage 2: input address size (default 40)')
    .option('--va <BITS>', 'stage 1: input address size (default 39; ARMv7: 32)')
    .option('--pa <BITS>', 'physical address size (default 48; 52 for larger inputs)')
    .option('--features <LIST>', FEATURE_NAMES, '')
    .option('--start-level <N>', 'stage 2: any legal start level instead of the one KVM chooses')
    .option('--round-out', 'round regions outwards to whole pages, instead of refusing them')
    .option('-o, --output <FILE>', 'write the tables here (default format: bin)')
    .addOption(new Option('--format <NAME>', 'output').choices(FORMATS))
    .option('--regs <FILE>', 'write the register values here, as dump and walk read them')
    .option('--json', 'the same as --format json')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function build(path: string, options: Options): BuiltTables {
  const backend = backendOf(options.arch);
  const { regime } = options;
  if (!backend.regimes.includes(regime)) {
    throw new CommandFailure(`--regime: ${regime} is not one of ${backend.regimes.join(', ')}.`);
  }
  if (backend.name === 'armv7-lpae') {
    refuseForeign(options);
  }
  const stage = regime === 's2' ? 2 : 1;
  const foreign = stage === 2 ? options.va : options.ipa;
  if (foreign !== undefined) {
    throw new CommandFailure(`${stage === 2 ? '--va' : '--ipa'}: regime ${regime} is of stage ${stage}, whose size is ${stage === 2 ? '--ipa' : '--va'}.`);
  }
  const base = parseAddress(options.base);
  if (base === undefined) {
    throw new CommandFailure(`--base: ${options.base} is not an address below 2^52.`);
  }
  const bits = countOf(options.ipa ?? options.va ?? (stage === 2 ? '40' : backend.name === 'armv7-lpae' ? '32' : '39'), stage === 2 ? '--ipa' : '--va');
  const features = featuresOf(options.features, '--features');
  const geometry = valueOf(shape({ granule: granuleOf(options.granule, '--granule'), stage, bits, features }, options), undefined, 1);
  const regions = valueOf(readRegionMap(readText(path)), path);
  const built = buildTables({ backend, regime, geometry, features, base, regions, roundOut: options.roundOut === true });
  const at = built.kind === 'refused' && built.id === 'build.base' ? '--base' : path;
  return valueOf(built, at, built.kind === 'done' ? 2 : exitCodeOf(built));
}

/** The pieces of a format, in bytes. */
function* contentOf(built: BuiltTables, format: BuildFormat): Generator<Uint8Array> {
  const text = new TextEncoder();
  switch (format) {
    case 'bin':
      yield built.bytes;
      return;
    case 'asm':
      yield text.encode([...buildAssembly(built)].join(''));
      return;
    case 'json':
      yield text.encode(`${JSON.stringify(buildJson(built), undefined, 2)}\n`);
      return;
  }
}

function run(path: string, options: Options): void {
  const built = build(path, options);
  const { output, regs, json } = options;
  const format = json === true ? 'json' : options.format;
  if (regs !== undefined) {
    writeBytes(regs, [new TextEncoder().encode(`${JSON.stringify(buildRegistersJson(built), undefined, 2)}\n`)]);
  }
  if (output !== undefined) {
    writeBytes(output, contentOf(built, format ?? 'bin'));
  }
  if (format === undefined || output !== undefined) {
    printLines(buildLines(built));
  } else {
    for (const piece of contentOf(built, format)) {
      printBytes(piece);
    }
  }
}
