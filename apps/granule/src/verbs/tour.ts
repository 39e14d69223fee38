import { join } from 'node:path';
import { Command } from 'commander';
import {
  addressPrinter,
  dump,
  type Image,
  type Mapping,
  mappingHeading,
  mappingRow,
  readMappings,
  type RegimeTables,
  replayOps,
  type ReplayReport,
  type Scan,
  scanJson,
  summaryLines,
  titleLine,
  walkAddress,
} from '@granule/lab';
import { hex } from '@granule/geometry/bits';
import { valueOf } from '../failures.js';
import { BACKENDS, openImageFiles } from '../images.js';
import { colour, printJson, printLines } from '../output.js';
import { BUNDLED_RUN, linesOfFile, openRun, type RunDirectory, runFiles } from '../runs.js';
import { slotMap } from '../slot-map.js';
import { walkJson, walkLines } from '../walk-text.js';

interface Options {
  readonly full?: boolean;
  readonly json?: boolean;
}

const CHECKPOINT = 'c2';
/** Code of the guest, which its own stage 1 maps by a page. */
const ADDRESS = 0x8000_1234n;

const EXAMPLE = `
Example:
  granule tour --full`;

export function command(): Command {
  return new Command('tour')
    .summary('the tables of a bundled real machine, read, replayed and walked')
    .description(
      "What granule does, on a bundled real machine: the stage-2 map of a running VM, its replay, the kernel's own dump, a walk.",
    )
    .option('--full', 'every row of the map')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

interface TourMap {
  readonly tables: RegimeTables;
  readonly mappings: readonly Mapping[];
  readonly scan: Scan;
}

function readMap(image: Image): TourMap {
  const [tables] = valueOf(image.tables('s2'));
  const mappings: Mapping[] = [];
  const scan = readMappings(tables, { mapping: (mapping) => mappings.push(mapping) });
  return { tables, mappings, scan };
}

function mapLines({ tables, mappings, scan }: TourMap, run: RunDirectory, full: boolean): readonly string[] {
  const print = addressPrinter(tables);
  return [
    titleLine(tables),
    colour.dim(mappingHeading(tables)),
    ...slotMap(run.slots, mappings, (mapping) => mappingRow(mapping, print), full),
    ...summaryLines(scan).map((line) => colour.bold(line)),
  ];
}

interface TextComparison {
  readonly checkpoint: string;
  readonly equal: number;
  readonly total: number;
}

/** The kernel's own text of the VM's stage 2 against ours, line by line. */
function compareTexts(run: RunDirectory, checkpoint: string): TextComparison | undefined {
  const theirs = linesOfFile(join(run.path, `${checkpoint}.stage2_page_tables.txt`));
  if (theirs === undefined) {
    return undefined;
  }
  let text = '';
  dump({ tables: valueOf(imageAt(run, checkpoint).tables('s2')), format: 'ptdump' }, (piece) => (text += piece));
  const ours = text.split('\n');
  ours.pop();
  const equal = theirs.filter((line, i) => line === ours[i]).length;
  return { checkpoint, equal, total: Math.max(theirs.length, ours.length) };
}

function imageAt(run: RunDirectory, checkpoint: string): Image {
  const path = join(run.path, checkpoint);
  return openImageFiles(`${path}.core.gz`, { regs: `${path}.regs.json` });
}

function textLine({ checkpoint, equal, total }: TextComparison): string {
  const count = `${equal} of ${total} lines equal`;
  return `${checkpoint}: ${equal === total ? colour.green(count) : colour.red(count)}`;
}

/** The replay as one line a table and checkpoint, and `N of N mappings equal`. */
function replayLines(report: ReplayReport): readonly string[] {
  const operations = Object.entries(report.operations).map(([name, { done }]) => `${done} ${name}`);
  const tables = report.checkpoints.flatMap(({ name, tables: compared }) =>
    compared.map(({ name: table, mappings, tablePages }) => {
      const pages = tablePages.ours.reduce((sum, count) => sum + count, 0);
      const { equal, total, identical } = mappings;
      return `${name}: ${table}: ${equal} of ${total} mappings equal, ${identical} bit for bit; ${pages} table pages`;
    }),
  );
  const { equal, mappings } = report.totals;
  const verdict = `${equal} of ${mappings} mappings equal`;
  return [`done: ${operations.join(', ')}`, ...tables, report.exact ? colour.green(verdict) : colour.red(verdict)];
}

const heading = (number: number, text: string): string => `\n${colour.bold(`${number}. ${text}`)}`;

function run(options: Options): void {
  const recorded = openRun(BUNDLED_RUN);
  const image = imageAt(recorded, CHECKPOINT);
  const map = readMap(image);
  const texts = recorded.checkpoints.flatMap((checkpoint) => compareTexts(recorded, checkpoint) ?? []);
  const walk = valueOf(walkAddress(image, 'el10', ADDRESS));
  const replay = valueOf(replayOps({ files: runFiles(recorded.path), backends: BACKENDS }));
  const sound =
    map.scan.findings.length === 0 && replay.exact && texts.every(({ equal, total }) => equal === total) && walk.end.kind === 'translated';
  process.exitCode = sound ? 0 : 1;
  if (options.json === true) {
    const { run: name, kernel } = recorded.about;
    printJson({ schema: 'granule-tour/1', run: name, kernel, map: scanJson(map.scan), replay: replay.totals, texts, walk: walkJson(walk) });
    return;
  }
  const { run: name, kernel, cpu } = recorded.about;
  printLines([
    `A real machine, bundled: Linux ${kernel.split(' ')[2]} with KVM on ${cpu}, stopped while its VM ran (run ${name}, ${CHECKPOINT}).`,
    heading(1, "The stage-2 map of the VM, read from the kernel's memory"),
    ...mapLines(map, recorded, options.full === true),
    heading(2, "The page-table operations of its trace, replayed and compared with the kernel's tables"),
    ...replayLines(replay),
    heading(3, "The kernel's own dump of the same tables (stage2_page_tables)"),
    ...texts.map(textLine),
    heading(4, `One guest address through both stages: VA ${hex(ADDRESS)}`),
    ...walkLines(walk),
    ...nextLines(recorded.path),
  ]);
}

function nextLines(path: string): readonly string[] {
  const image = `${path.replace(`${process.cwd()}/`, '')}/${CHECKPOINT}.core.gz`;
  return [
    heading(5, 'Next'),
    `  npx granule dump ${image} --regime el10 --filter wx`,
    '  npx granule geometry --granule 16K --ipa 42 --host-granule 16K --host-va 36',
  ];
}
