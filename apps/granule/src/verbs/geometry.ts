import { Command } from 'commander';
import type { Features } from '@granule/contract';
import { formatSize, hex } from '@granule/geometry/bits';
import { ARCHITECTURES, backendOf } from '../backends.js';
import { CommandFailure } from '../failures.js';
import { colour, print, printJson, printLines } from '../output.js';
import { refuseForeign, shape, type ShapeOptions, type ShapeRequest } from '../shapes.js';
import { countOf, FEATURE_NAMES, featuresOf, granuleOf } from '../words.js';

interface Options extends ShapeOptions {
  readonly ipa?: string;
  readonly va?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

const EXAMPLE = `
A start level that is not given is chosen as KVM does: as much concatenation as possible, but two levels at least.

Example:
  granule geometry --granule 16K --ipa 42 --host-granule 16K --host-va 36`;

export function command(): Command {
  return new Command('geometry')
    .summary('levels, start level, entry tables and VTCR of a configuration, or why it is illegal')
    .description(
      'The shape of a translation table: levels, start level, entry tables, bytes and alignment, VTCR. Exit code 1 where it is illegal.',
    )
    .option('--arch <NAME>', ARCHITECTURES, 'armv8')
    .option('--granule <SIZE>', '4K, 16K or 64K', '4K')
    .option('--ipa <BITS>', 'stage 2: input address size (default 40)')
    .option('--va <BITS>', 'stage 1: input address size')
    .option('--pa <BITS>', 'physical address size (default 48; 52 for larger inputs)')
    .option('--features <LIST>', FEATURE_NAMES, '')
    .option('--start-level <N>', 'any legal start level instead of the one KVM chooses')
    .option('--host-granule <SIZE>', 'compare with the levels of a host kernel of this granule')
    .option('--host-va <BITS>', 'and this VA size')
    .option('--all', 'every granule and size that is not given, as a table')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action((options: Options, command: Command) => run(options, command.getOptionValueSource('granule') === 'cli'));
}

interface Answer {
  readonly [field: string]: string | number | undefined | { readonly id: string; readonly sentence: string };
  readonly refused?: { readonly id: string; readonly sentence: string };
}

/** The fields that scripts read, in the architecture's order. */
function answer(request: ShapeRequest, options: Options): Answer {
  const made = shape(request, options);
  const { granule, stage, bits } = request;
  const input = stage === 2 ? { ipaBits: bits } : { vaBits: bits };
  if (made.kind !== 'done') {
    return { granule, ...input, refused: { id: made.kind === 'refused' ? made.id : made.kind, sentence: made.sentence } };
  }
  const { oaBits, startLevel, levels, entryTables, entryBytes, entryAlignment } = made.value;
  const { registers } = backendOf(options.arch);
  const vtcr = stage === 2 ? registers.encodeStage2({ geometry: made.value, features: request.features }) : undefined;
  return {
    granule,
    ...input,
    paBits: oaBits,
    startLevel,
    levels,
    entryTables,
    entryBytes,
    entryAlignment,
    ...(vtcr?.kind === 'done' ? { vtcr: hex(vtcr.value.vtcr) } : {}),
  };
}

/** What is of stage 2 alone. */
function refuseStage2(options: Options): void {
  const given = { '--start-level': options.startLevel, '--host-granule': options.hostGranule, '--host-va': options.hostVa };
  const foreign = Object.entries(given).find(([, value]) => value !== undefined)?.[0];
  if (foreign !== undefined) {
    throw new CommandFailure(`${foreign}: it is of stage 2, and --va asks for stage 1.`);
  }
}

function run(options: Options, granuleGiven: boolean): void {
  if (backendOf(options.arch).name === 'armv7-lpae') {
    refuseForeign(options);
  }
  if (options.ipa !== undefined && options.va !== undefined) {
    throw new CommandFailure('--ipa and --va: give one of them, stage 2 or stage 1.');
  }
  if (options.hostGranule !== undefined && options.hostVa === undefined) {
    throw new CommandFailure('--host-granule: the host needs --host-va too.');
  }
  if (options.va !== undefined) {
    refuseStage2(options);
  }
  const features = featuresOf(options.features, '--features');
  if (options.all === true) {
    printAll(features, options, granuleGiven);
    return;
  }
  const stage = options.va === undefined ? 2 : 1;
  const bits = countOf(options.va ?? options.ipa ?? '40', stage === 1 ? '--va' : '--ipa');
  const request = { granule: granuleOf(options.granule, '--granule'), stage, bits, features } as const;
  const found = answer(request, options);
  process.exitCode = 'refused' in found ? 1 : 0;
  if (options.json === true) {
    printJson({ schema: 'granule-geometry/1', ...found });
  } else if (found.refused !== undefined) {
    print(`${colour.red('refused')}: ${found.refused.sentence}\n`);
  } else {
    printLines(description(request, found, options));
  }
}

const textOf = (found: Answer, name: string): string => {
  const value = found[name];
  return typeof value === 'object' || value === undefined ? '' : String(value);
};

/** What was not asked for, and what stands in for it. */
function defaultsOf({ stage }: ShapeRequest, found: Answer, options: Options): readonly string[] {
  const value = (name: string): string => textOf(found, name);
  const ipa = options.ipa === undefined && stage === 2 ? ['--ipa 40'] : [];
  if (options.arch === 'armv7-lpae') {
    return [...ipa, ...(options.startLevel === undefined && stage === 2 ? ['the deepest start level'] : [])];
  }
  return [
    ...ipa,
    ...(options.pa === undefined ? [`--pa ${value('paBits')}`] : []),
    ...(options.features === '' ? ['no features'] : []),
    ...(options.startLevel === undefined && stage === 2 ? ["KVM's start level"] : []),
    ...(options.hostVa === undefined && stage === 2 ? ['no host compared'] : []),
  ];
}

function description(request: ShapeRequest, found: Answer, options: Options): readonly string[] {
  const { stage, bits } = request;
  const value = (name: string): string => textOf(found, name);
  const defaults = defaultsOf(request, found, options);
  const vtcr = options.arch === 'armv7-lpae' ? 'VTCR    ' : 'VTCR_EL2';
  const bytes = Number(found['entryBytes']);
  return [
    `${stage === 2 ? `stage 2, ${bits}-bit IPA` : `stage 1, ${bits}-bit VA`}, ${value('paBits')}-bit output, ${value('granule')} granule`,
    `  levels           ${value('levels')} (start level ${value('startLevel')})`,
    `  entry tables     ${value('entryTables')}${Number(found['entryTables']) > 1 ? ' concatenated' : ''}`,
    `  entry bytes      ${bytes}${bytes < 1024 ? '' : ` (${formatSize(bytes)})`}, aligned to ${value('entryAlignment')}`,
    ...(found['vtcr'] === undefined ? [] : [`  ${vtcr}         ${value('vtcr')}`]),
    colour.dim(`  by default: ${defaults.length === 0 ? 'nothing' : defaults.join(', ')}`),
  ];
}

const GRANULES = ['4K', '16K', '64K'] as const;

/** Every granule and size that is not given; of stage 2, unless a VA is. */
function everyAnswer(features: Partial<Features>, options: Options, granuleGiven: boolean): readonly Answer[] {
  const armv7 = options.arch === 'armv7-lpae';
  const granules = granuleGiven || armv7 ? [granuleOf(options.granule, '--granule')] : GRANULES;
  const [smallest, largest] = armv7 ? [25, 40] : [32, 52];
  const stage = options.va === undefined ? 2 : 1;
  const given = options.va ?? options.ipa;
  const sizes = given === undefined ? Array.from({ length: largest - smallest + 1 }, (_, i) => smallest + i) : [countOf(given, stage === 1 ? '--va' : '--ipa')];
  return granules.flatMap((granule) => sizes.map((bits) => answer({ granule, stage, bits, features }, options)));
}

function printAll(features: Partial<Features>, options: Options, granuleGiven: boolean): void {
  const armv7 = options.arch === 'armv7-lpae';
  const input = options.va === undefined ? 'IPA' : ' VA';
  const rows = everyAnswer(features, options, granuleGiven);
  if (options.json === true) {
    printJson({ schema: 'granule-geometry/1', configurations: rows });
    return;
  }
  print(`GRANULE  ${input}  PA  LEVELS  START  ENTRY TABLES  ENTRY BYTES  ALIGNMENT  ${armv7 ? 'VTCR' : 'VTCR_EL2'}\n`);
  for (const row of rows) {
    const cell = (name: string, width: number): string => textOf(row, name).padStart(width);
    const head = `${cell('granule', 7)}  ${cell(options.va === undefined ? 'ipaBits' : 'vaBits', 3)}`;
    const columns = [
      cell('paBits', 2),
      cell('levels', 6),
      cell('startLevel', 5),
      cell('entryTables', 12),
      cell('entryBytes', 11),
      cell('entryAlignment', 9),
    ];
    const text = `${head}  ${[...columns, cell('vtcr', 18)].join('  ')}`;
    print(row.refused === undefined ? `${text}\n` : `${head}  ${colour.dim(row.refused.sentence)}\n`);
  }
}
