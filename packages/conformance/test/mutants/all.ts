import { done, type Backend, type CaseTranslator, type Format } from '@granule/contract';
import { stage1Geometry, stage2Geometry, type Result, type TableGeometry } from '@granule/geometry';
import { fake, formatConformance, geometries, nestedConformance, pageTableConformance, translationConformance, type Runner } from '../../src/index.js';
import { vectorConformance } from '../../src/vectors/index.js';
import { assertions, findings } from '../findings.js';
import { referenceCore } from '../reference-core.js';
import { referenceLayer } from '../reference-layer.js';
import { referenceWalker } from '../reference-walker.js';
import { CASES, MACHINES, translatorOf } from '../sample-cases.js';
import { TestMemory } from '../table-memory.js';
import { CORE_MUTANTS } from './cores.js';
import { FORMAT_MUTANTS } from './formats.js';
import { LAYER_MUTANTS } from './layers.js';
import { TRANSLATOR_MUTANTS } from './translators.js';
import { WALKER_MUTANTS } from './walkers.js';

/** Something that does one thing wrong, and the suite that must say so. */
export interface Mutant {
  readonly suite: string;
  readonly fault: string;
  /** The assertion that must fail. */
  readonly caughtBy: string;
  /** Runs the suite on it: the assertions that failed, each once. */
  readonly run: () => readonly string[];
}

/** What nothing is wrong with: the same suites find nothing. */
export interface Sound {
  readonly suite: string;
  readonly run: () => readonly string[];
}

const memory = (options: { readonly pageShift: number; readonly pages: number }): TestMemory => new TestMemory(options);

const all = (outcomes: readonly Result<TableGeometry>[]): readonly TableGeometry[] =>
  outcomes.flatMap((each) => (each.kind === 'done' ? [each.value] : []));

const FORMATS = geometries(2).filter((each) => each.granule === '4K' && each.iaBits === 48);
const CORES = all([stage2Geometry({ granule: '4K', ipaBits: 40, startLevel: 1 })]);
const WALKERS = all([
  stage2Geometry({ granule: '4K', ipaBits: 40, startLevel: 1 }),
  stage2Geometry({ granule: '4K', ipaBits: 36, paBits: 36, startLevel: 1 }),
  stage1Geometry({ granule: '4K', vaBits: 39 }),
]);

/** The fake backend with formats that differ in one thing. */
const mutated = (change: (good: Format) => Partial<Format>): Backend => ({
  ...fake,
  format(regime, config) {
    const good = fake.format(regime, config);
    return good.kind === 'done' ? done({ ...good.value, ...change(good.value) }) : good;
  },
});

const once = (suite: (runner: Runner) => void): (() => readonly string[]) => () => assertions(findings(suite));

const formats = (backend: Backend): Sound => ({
  suite: 'formatConformance',
  run: once((runner) => formatConformance(backend, { ...runner, regimes: ['s2'], geometries: FORMATS, seed: 1, shrink: false })),
});

const cores = (core: ReturnType<typeof referenceCore>): Sound => ({
  suite: 'pageTableConformance',
  run: once((runner) => pageTableConformance(core, { ...runner, backend: fake, memory, geometries: CORES, runs: 2, shrink: false, seed: 1 })),
});

const walkers = (walker: ReturnType<typeof referenceWalker>): Sound => ({
  suite: 'translationConformance',
  run: once((runner) =>
    translationConformance(walker, { ...runner, backend: fake, core: referenceCore(), memory, geometries: WALKERS, runs: 10, shrink: false, seed: 1 }),
  ),
});

const layers = (layer: ReturnType<typeof referenceLayer>): Sound => ({
  suite: 'nestedConformance',
  run: once((runner) => nestedConformance(layer, { ...runner, backend: fake, runs: 40, shrink: false, seed: 1 })),
});

const translators = (translator: CaseTranslator): Sound => ({
  suite: 'vectorConformance',
  run: once((runner) => vectorConformance(translator, { ...runner, cases: CASES, machines: MACHINES })),
});

export const SOUND: readonly Sound[] = [formats(fake), cores(referenceCore()), walkers(referenceWalker()), layers(referenceLayer()), translators(translatorOf())];

export const MUTANTS: readonly Mutant[] = [
  ...FORMAT_MUTANTS.map(({ change, ...each }) => ({ ...each, ...formats(mutated(change)) })),
  ...CORE_MUTANTS.map((each) => ({ ...each, ...cores(referenceCore(each.fault)) })),
  ...WALKER_MUTANTS.map((each) => ({ ...each, ...walkers(referenceWalker(each.fault)) })),
  ...LAYER_MUTANTS.map((each) => ({ ...each, ...layers(referenceLayer(each.fault)) })),
  ...TRANSLATOR_MUTANTS.map(({ change, ...each }) => ({ ...each, ...translators(translatorOf(change)) })),
];
