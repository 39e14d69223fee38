import { join } from 'node:path';
import { Command } from 'commander';
import {
  addressPrinter,
  type CausesReport,
  dump,
  type Image,
  type Mapping,
  mappingHeading,
  mappingRow,
  readMappings,
  type RegimeTables,
  replayCauses,
  type Scan,
  scanJson,
  summaryLines,
  titleLine,
  type ShadowWalk,
  walkAddress,
  walkShadow,
} from '@granule/lab';
import { hex } from '@granule/geometry/bits';
import { valueOf } from '../failures.js';
import { BACKENDS } from '../backends.js';
import { openImageFiles } from '../images.js';
import { colour, printJson, printLines } from '../output.js';
import { BUNDLED_NESTED_RUN, BUNDLED_RUN, linesOfFile, openRun, type RunDirectory, runFiles } from '../runs.js';
import { slotMap } from '../slot-map.js';
import { chainLines, shadowJson } from '../shadow-text.js';
import { walkJson, walkLines } from '../walk-text.js';

interface Options {
  readonly full?: boolean;
  readonly json?: boolean;
}

const CHECKPOINT = 'c2';
/** Code of the guest, which its own stage 1 maps by a page. */
const ADDRESS = 0x8000_1234n;

/** While a nested guest runs, and an address of it. */
const NESTED_CHECKPOINT = 'c7';
const NESTED_ADDRESS = 0x2200_0008n;

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

/** Causes, calls by kind, one line a table and checkpoint, and `N of N calls, N of N mappings equal`. */
function replayLines({ causes, calls, checkpoints, totals, exact }: CausesReport): readonly string[] {
  const sumOf = (names: RegExp): string => {
    const counts = Object.entries(calls).filter(([name]) => names.test(name)).map(([, count]) => count);
    const sum = (of: 'equal' | 'total'): number => counts.reduce((all, count) => all + count[of], 0);
    return `${sum('equal')} of ${sum('total')}`;
  };
  const faults = `${causes['guest faults'] ?? 0} guest faults, ${causes['notifier ranges'] ?? 0} notifier ranges`;
  const traps = `${(causes['set/way operations'] ?? 0) + (causes['VM-register writes'] ?? 0)} trapped cache operations`;
  const tables = checkpoints.flatMap(({ name, tables: compared }) =>
    compared.map(({ name: table, mappings, tablePages }) => {
      const pages = tablePages.ours.reduce((sum, count) => sum + count, 0);
      const { equal, total, identical } = mappings;
      return `${name}: ${table}: ${equal} of ${total} mappings equal, ${identical} bit for bit; ${pages} table pages`;
    }),
  );
  const verdict = `${ofTotal(totals.calls)} calls, ${ofTotal(totals.mappings)} mappings equal`;
  return [
    `causes: ${faults}, ${traps}`,
    `calls: page tables ${sumOf(/^s2_/)}, TLB flushes ${sumOf(/^flush_/)}, cache maintenance ${sumOf(/cache_/)}`,
    ...tables,
    exact ? colour.green(verdict) : colour.red(verdict),
  ];
}

const ofTotal = ({ equal, total }: { readonly equal: number; readonly total: number }): string =>
  `${equal.toLocaleString('en')} of ${total.toLocaleString('en')}`;

const heading = (number: number, text: string): string => `\n${colour.bold(`${number}. ${text}`)}`;

function replayJson({ checkpoints, totals: { calls, mappings } }: CausesReport): unknown {
  const identical = checkpoints.flatMap(({ tables }) => tables).reduce((sum, table) => sum + table.mappings.identical, 0);
  return { calls: calls.total, callsEqual: calls.equal, mappings: mappings.total, equal: mappings.equal, identical };
}

interface NestedPart {
  readonly replay: CausesReport;
  readonly walk: ShadowWalk;
}

function nestedPart(): NestedPart {
  const recorded = openRun(BUNDLED_NESTED_RUN);
  const replay = valueOf(replayCauses({ files: runFiles(recorded.path), backends: BACKENDS, until: NESTED_CHECKPOINT }));
  return { replay, walk: valueOf(walkShadow(imageAt(recorded, NESTED_CHECKPOINT), 's2', NESTED_ADDRESS)) };
}

function nestedLines({ replay: { totals, exact }, walk }: NestedPart): readonly string[] {
  const shadows = totals.shadowMappings ?? { equal: 0, total: 0 };
  const verdict = `${ofTotal(totals.calls)} calls, ${ofTotal(shadows)} shadow mappings equal, up to ${NESTED_CHECKPOINT}`;
  return [exact ? colour.green(verdict) : colour.red(verdict), ...chainLines(walk)];
}

function run(options: Options): void {
  const recorded = openRun(BUNDLED_RUN);
  const image = imageAt(recorded, CHECKPOINT);
  const map = readMap(image);
  const texts = recorded.checkpoints.flatMap((checkpoint) => compareTexts(recorded, checkpoint) ?? []);
  const walk = valueOf(walkAddress(image, 'el10', ADDRESS));
  const replay = valueOf(replayCauses({ files: runFiles(recorded.path), backends: BACKENDS }));
  const nested = nestedPart();
  const sound =
    map.scan.findings.length === 0 && replay.exact && nested.replay.exact && nested.walk.state === 'mapped' && texts.every(({ equal, total }) => equal === total) && walk.end.kind === 'translated';
  process.exitCode = sound ? 0 : 1;
  if (options.json === true) {
    const { run: name, kernel } = recorded.about;
    printJson({ schema: 'granule-tour/1', run: name, kernel, map: scanJson(map.scan), replay: replayJson(replay), texts, walk: walkJson(walk), nested: nestedJson(nested) });
    return;
  }
  const { run: name, kernel, cpu } = recorded.about;
  printLines([
    `A real machine, bundled: Linux ${kernel.split(' ')[2]} with KVM on ${cpu}, stopped while its VM ran (run ${name}, ${CHECKPOINT}).`,
    heading(1, "The stage-2 map of the VM, read from the kernel's memory"),
    ...mapLines(map, recorded, options.full === true),
    heading(2, "What happened to it, replayed: faults and notifiers drive KVM's policy, whose calls and tables are the kernel's"),
    ...replayLines(replay),
    heading(3, "The kernel's own dump of the same tables (stage2_page_tables)"),
    ...texts.map(textLine),
    heading(4, `One guest address through both stages: VA ${hex(ADDRESS)}`),
    ...walkLines(walk),
    heading(5, `A guest that is a hypervisor: its shadow stage 2s replayed, and IPA ${hex(NESTED_ADDRESS)} of its own guest`),
    ...nestedLines(nested),
    ...nextLines(recorded.path),
  ]);
}

function nestedJson({ replay, walk }: NestedPart): unknown {
  return { replay: { ...(replayJson(replay) as object), shadowMappings: replay.totals.shadowMappings }, walk: shadowJson(walk) };
}

function nextLines(path: string): readonly string[] {
  const image = `${path.replace(`${process.cwd()}/`, '')}/${CHECKPOINT}.core.gz`;
  return [
    heading(6, 'Next'),
    `  npx granule dump ${image} --regime el10 --filter wx`,
    '  npx granule geometry --granule 16K --ipa 42 --host-granule 16K --host-va 36',
    '  npx granule run apps/granule/scenarios/device-reset.yaml',
    '  docs/questions.md: five questions from reviews of KVM/arm, and the commands that answer them',
  ];
}
