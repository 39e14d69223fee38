import { Command, CommanderError } from 'commander';
import { CommandFailure, reasonOf, reportFailure } from './failures.js';

interface Verb {
  readonly summary: string;
  readonly load: () => Promise<{ readonly command: () => Command }>;
}

/** Every verb is a file of its own, loaded only when it is asked for. */
const VERBS: Readonly<Record<string, Verb>> = {
  tour: { summary: 'the tables of a bundled real machine, read, replayed and walked', load: () => import('./verbs/tour.js') },
  geometry: {
    summary: 'levels, start level, entry tables and VTCR of a configuration, or why it is illegal',
    load: () => import('./verbs/geometry.js'),
  },
  decode: { summary: 'a register or a descriptor, field by field', load: () => import('./verbs/decode.js') },
  dump: { summary: 'every mapping of one regime of a memory image', load: () => import('./verbs/dump.js') },
  walk: { summary: 'one address through the tables, level by level, both stages', load: () => import('./verbs/walk.js') },
  translate: { summary: 'translation cases: registers, memory and addresses in, PAR or abort out', load: () => import('./verbs/translate.js') },
  check: { summary: 'judges an event log: is every TLB maintenance sequence complete and in order', load: () => import('./verbs/check.js') },
  build: { summary: 'tables for a region map, with register values and the size of the table pool', load: () => import('./verbs/build.js') },
  run: {
    summary: 'a scenario through policy and hardware: what it costs, what guests see, which rules break',
    load: () => import('./verbs/run.js'),
  },
  replay: { summary: 'the page-table operations of a real run, compared with its tables', load: () => import('./verbs/replay.js') },
};

/** Verbs of the design that are not written yet. */
const LATER = ['study', 'find', 'explore'];

const EXAMPLES = `
Exit code 0: clean; 1: a finding (a mismatch, a broken table, an unsupported configuration); 2: usage, or input that cannot be read.

Examples:
  granule tour
  granule geometry --granule 16K --ipa 42
  granule run apps/granule/scenarios/boot.yaml
  granule dump c1.core.gz --regs c1.regs.json --regime s2
  granule walk c2.core.gz --regs c2.regs.json --regime el10 0xffffffff80001234
`;

function program(): Command {
  const root = new Command('granule')
    .description('Translation tables of Arm: what they say, whether they are right, what changing them does.')
    .version('0.0.0', '--version')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'granule: ')) })
    .exitOverride()
    .addHelpText('after', EXAMPLES);
  return root;
}

/** Runs one command line, without node and script. */
async function main(given: readonly string[]): Promise<void> {
  const [first, second] = given;
  const words = first === 'help' && second !== undefined && Object.hasOwn(VERBS, second) ? [second, '--help'] : given;
  if (LATER.includes(first ?? '')) {
    throw new CommandFailure(`${first}: this verb is planned and not there yet.`);
  }
  const root = program();
  const verb = words[0] ?? '';
  const asked = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  for (const [name, { summary }] of Object.entries(VERBS)) {
    if (name !== verb) {
      root.addCommand(new Command(name).summary(summary).description(summary));
    }
  }
  if (asked !== undefined) {
    root.addCommand((await asked.load()).command());
  }
  root.commands.forEach((each) => each.copyInheritedSettings(root));
  await root.parseAsync(words, { from: 'user' });
}

/** `granule dump … | head` closes the pipe: that is no error. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') {
    process.stderr.write(`granule: standard output: ${reasonOf(error)}.\n`);
    process.exitCode = 2;
  }
  process.exit();
});

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = error instanceof CommanderError ? (error.exitCode === 0 ? 0 : 2) : reportFailure(error);
}
