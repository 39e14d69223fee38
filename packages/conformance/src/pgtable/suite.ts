import type { Backend, Format, FormatConfig, PageTableCore } from '@granule/contract';
import { stage1Geometry, stage2Geometry, type Granule, type TableGeometry } from '@granule/geometry';
import { geometryName } from '../arbitraries/geometries.js';
import { refusalForm } from '../format/refusals.js';
import { budgetOf, ConformanceError, ensure, forAll, type Runner } from '../law.js';
import { commandSequences, commandText, type Command } from './commands.js';
import { scripts } from './scripts.js';
import { Subject, type MemoryFactory } from './subject.js';

export interface PageTableConformanceOptions extends Runner {
  /** Where the formats come from. The suite of its own ({@link formatConformance}) must pass first. */
  readonly backend: Backend;
  readonly memory: MemoryFactory;
  /** Default: all of the backend. */
  readonly regimes?: readonly string[];
  /** Default: each granule, one to four levels, with and without concatenated entry tables; those that the backend refuses are left out. */
  readonly geometries?: readonly TableGeometry[];
  readonly config?: (regime: string) => Omit<FormatConfig, 'geometry'>;
  /** Random command sequences per geometry; default 20. */
  readonly runs?: number;
  /** Commands in a sequence at most; default 20. */
  readonly length?: number;
  readonly seed?: number;
  /** Whether a failing case is made as small as it gets; default true. */
  readonly shrink?: boolean;
}

/** Table pages beside the entry tables: few, so that they run out. */
const POOL: Readonly<Record<Granule, number>> = { '4K': 14, '16K': 9, '64K': 6 };

function defaultGeometries(): readonly TableGeometry[] {
  const stage2 = (
    [
      ['4K', 40, 1],
      ['4K', 48, 0],
      ['16K', 40, 2],
      ['16K', 47, 1],
      ['64K', 42, 2],
      ['64K', 36, 2],
    ] as const
  ).map(([granule, ipaBits, startLevel]) => stage2Geometry({ granule, ipaBits, startLevel: startLevel }));
  const stage1 = (
    [
      ['4K', 39],
      ['4K', 48],
      ['16K', 36],
      ['64K', 48],
    ] as const
  ).map(([granule, vaBits]) => stage1Geometry({ granule, vaBits }));
  return [...stage1, ...stage2].flatMap((each) => (each.kind === 'done' ? [each.value] : []));
}

/** Runs a sequence on a fresh table, with somebody listening to its effects or without. */
function runSequence(core: PageTableCore, format: Format, memory: MemoryFactory, commands: readonly Command[], recorded: boolean): void {
  const subject = new Subject(core, format, memory, POOL[format.geometry.granule], recorded);
  commands.forEach((command, i) => {
    try {
      subject.run(command);
    } catch (error) {
      if (error instanceof ConformanceError) {
        const history = commands.slice(0, i + 1).map((each) => `\n    ${commandText(each)}`);
        throw new ConformanceError(error.assertion, `${error.sentence}\n  after${history.join('')}`);
      }
      throw error;
    }
  });
  subject.destroy();
}

function refusesOtherPages(core: PageTableCore, format: Format, memory: MemoryFactory): void {
  const pageShift = format.geometry.pageShift === 12 ? 14 : 12;
  refusalForm(core.create({ format, memory: memory({ pageShift, pages: 32 }) }), 'table');
}

function refusesWithoutPages(core: PageTableCore, format: Format, memory: MemoryFactory): void {
  const { pageShift, entryTables } = format.geometry;
  const small = memory({ pageShift, pages: entryTables });
  while (small.free > 0 && small.take(1) >= 0);
  const taken = small.taken;
  const outcome = core.create({ format, memory: small });
  refusalForm(outcome, 'pool');
  ensure('create.pool', small.taken === taken, 'create was refused and took pages');
}

function suiteOf(core: PageTableCore, format: Format, options: PageTableConformanceOptions): void {
  const { it, memory, length = 20 } = options;
  const budget = budgetOf(options, 20);
  it('create.page-size: a memory of another page size is refused', () => refusesOtherPages(core, format, memory));
  it('create.pool: a memory without room for the entry tables is refused and unchanged', () => refusesWithoutPages(core, format, memory));
  for (const recorded of [true, false]) {
    const how = recorded ? 'with every effect recorded' : 'with nobody listening';
    for (const { name, commands } of scripts(format)) {
      it(`script: ${name}, ${how}`, () => runSequence(core, format, memory, commands, recorded));
    }
    it(`commands: any sequence leaves the table that a naive model has, ${how}`, () =>
      forAll(commandSequences(format, length), budget, (commands) => runSequence(core, format, memory, commands, recorded)));
  }
}

/**
 * A page-table core against a naive model. After every command of fixed and of random sequences, the raw words of all tables are walked
 * and compared with the model, entry by entry; so are reference counts, pages taken, outcomes and answers. A refused operation has changed
 * nothing. The effects, expanded and replayed onto an empty copy of memory, give the same words, never replace a live entry that needs
 * break-before-make, and name the entries' addresses.
 */
export function pageTableConformance(core: PageTableCore, options: PageTableConformanceOptions): void {
  const { describe, backend, geometries = defaultGeometries() } = options;
  for (const regime of options.regimes ?? backend.regimes) {
    for (const geometry of geometries) {
      const format = backend.format(regime, { ...options.config?.(regime), geometry });
      if (format.kind === 'done') {
        describe(`${backend.name} ${regime} ${geometryName(geometry)}`, () => suiteOf(core, format.value, options));
      }
    }
  }
}
