import { armv8 } from '@granule/armv8';
import { Command } from 'commander';
import type { ExplainedField, Format, FormatConfig } from '@granule/contract';
import { bigintHigh, bigintLow, hex } from '@granule/geometry/bits';
import { stage1Geometry, stage2Geometry } from '@granule/geometry';
import { CommandFailure, valueOf } from '../failures.js';
import { colour, fieldJson, fieldRows, printJson, printLines } from '../output.js';
import { FEATURE_NAMES, featuresOf, granuleOf, levelOf, requireArmv8, wordOf } from '../words.js';

interface Options {
  readonly arch: string;
  readonly regime: string;
  readonly granule: string;
  readonly level: string;
  readonly features: string;
  readonly mair?: string;
  readonly json?: boolean;
}

const EXAMPLE = `
Examples:
  granule decode VTCR_EL2 0x800a3558
  granule decode descriptor 0x004000004077277f --regime s2 --level 3`;

export function command(): Command {
  return new Command('decode')
    .summary('a register or a descriptor, field by field')
    .description('Named fields of a system register, or of a descriptor (WHAT is the word descriptor).')
    .argument('<WHAT>', 'a register by its Arm name (TCR_EL2_E2H: TCR_EL2 with HCR_EL2.E2H = 1), or descriptor')
    .argument('<VALUE>', '64 bits, 0x… or decimal, _ between digits')
    .option('--arch <NAME>', 'armv8', 'armv8')
    .option('--regime <NAME>', 'descriptor: s2, el10, el20 or el2', 's2')
    .option('--granule <SIZE>', 'descriptor: 4K, 16K or 64K', '4K')
    .option('--level <N>', 'descriptor: -1 to 3', '3')
    .option('--features <LIST>', `descriptor: ${FEATURE_NAMES}`, 'xnx')
    .option('--mair <VALUE>', 'descriptor, stage 1: the MAIR in force, to name memory types')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(what: string, text: string, options: Options): void {
  requireArmv8(options.arch, 'decode');
  const value = wordOf(text, 'VALUE');
  if (what.toLowerCase() === 'descriptor') {
    decodeDescriptor(value, options);
    return;
  }
  const name = what.toUpperCase();
  if (!armv8.registers.names.includes(name)) {
    const like = armv8.registers.names.filter((each) => each.startsWith(name.slice(0, 4)));
    throw new CommandFailure(`${what} is not a register that is known${like.length === 0 ? '' : `; like it are ${like.join(', ')}`}.`);
  }
  show(name, value, valueOf(armv8.registers.explain(name, value)), options);
}

function show(what: string, value: bigint, fields: readonly ExplainedField[], options: Options, about?: string): void {
  if (options.json === true) {
    printJson({ schema: 'granule-decode/1', what, value: hex(value), fields: fieldJson(fields) });
    return;
  }
  printLines([`${colour.bold(what)} ${hex(value)}${about === undefined ? '' : `  ${about}`}`, ...fieldRows(fields)]);
}

function formatOf(options: Options): Format {
  const granule = granuleOf(options.granule, '--granule');
  const features = featuresOf(options.features, '--features');
  const lpa2 = features.lpa2Granules2?.includes(granule) === true && granule !== '64K';
  const wide = lpa2 || features.lpa === true;
  const bits = wide ? 52 : 48;
  const common = { granule, paBits: bits, ds: lpa2, features: { lpa: wide, lpa2, lva: true, ttst: true } };
  const stage2 = options.regime === 's2';
  const geometry = valueOf(stage2 ? stage2Geometry({ ...common, ipaBits: bits }) : stage1Geometry({ ...common, vaBits: bits }));
  const extra: Partial<FormatConfig> = stage2
    ? { fwb: features.s2fwb === true }
    : options.mair === undefined
      ? {}
      : { mair: wordOf(options.mair, '--mair') };
  return valueOf(armv8.format(options.regime, { geometry, features, ...extra }), '--regime');
}

function decodeDescriptor(value: bigint, options: Options): void {
  const level = levelOf(options.level, '--level');
  const fields = formatOf(options).explain(bigintLow(value), bigintHigh(value), level);
  const about = `${options.regime}, ${options.granule}, level ${level}; features: ${options.features === '' ? 'none' : options.features}`;
  show('descriptor', value, fields, options, about);
}
