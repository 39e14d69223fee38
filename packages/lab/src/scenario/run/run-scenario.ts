import { type EffectSink, type Failure, type Outcome, done, refused } from '@granule/contract';
import { GRANULES } from '@granule/geometry';
import { assembleReport, type MeasuredTotal, type VariantRun } from '../../report/assemble.js';
import type { MachineReport, RunReport } from '../../report/report.js';
import { geometryReport, mappingCounts, tablesReport } from '../../report/vm-report.js';
import type { Progress } from '../../progress.js';
import { COST_PROFILES, costProfile } from '../../cost/profile.js';
import { parseDuration } from '../../cost/duration.js';
import { type Backends, type Configuration, configure, type Misplaced } from '../configure.js';
import { type FieldPath, fieldName } from '../read.js';
import { SCENARIO_SCHEMA, type Scenario, type Variant } from '../scenario.js';
import { fidelityOf, workOfScenario } from './fidelity.js';
import { Findings, violationReports } from './findings.js';
import { startHyp } from './hyp-steps.js';
import { MachineSide } from './machine-side.js';
import { nestedReport } from './nested/nested-report.js';
import { PolicySide } from './policy-side.js';
import { Recorder } from './recorder.js';
import { Run } from './run.js';
import { settingsOf, variantOf } from './variants.js';
import { World } from './world.js';

export interface RunOptions {
  readonly backends: Backends;
  /** In place of the scenario's architecture; its CPU and features are then left out. */
  readonly arch?: keyof Backends;
  /** As the user named it. */
  readonly file?: string;
  /** Where a field is written down; default: its name alone. */
  readonly place?: (path: FieldPath) => string;
  /** Takes the events of a variant, by its name. */
  readonly log?: (variant: string) => EffectSink | undefined;
  /** Told while a step takes long. */
  readonly progress?: Progress;
}

/** Bytes of table pages that a run may have: on modelled hardware, whose memory holds them, and otherwise (what an arena holds at most). */
const MACHINE_TABLES = 2 ** 28;
const POLICY_TABLES = 2 ** 33;
const INITIAL_PAGES = 64;
/** Accesses and entries of a run: an hour or so. */
const MOST = 2 ** 32;
/** Steps whose failure is what the guest runs into; that of any other is a mistake of the scenario. */
const GUEST_STEPS: ReadonlySet<string> = new Set(['read', 'write', 'fetch', 'dc', 'ic', 'stage1', 'other-vms', 'hyp-map', 'hyp-private', 'hyp-stack', 'hyp-share', 'hyp-unshare']);
/** What the policy looks at, where it is there. */
const TOLD_FEATURES = ['s2fwb', 'idc', 'dic', 'tlbirange', 'ttl', 'haf', 'xnx', 'lpa'] as const;

/**
 * Runs a scenario, each of its variants, and puts the report together. Refused: `scenario.*` and what the policy refuses of machine, VM, slots or a step of the
 * host, with the field in the sentence. What a guest runs into ends its variant and is in the report.
 */
export function runScenario(scenario: Scenario, options: RunOptions): Outcome<RunReport> {
  const { place = fieldName, file } = options;
  const wrong = namesOf(scenario) ?? otherArch(scenario, options.arch);
  if (wrong !== undefined) {
    return placed(wrong, place, options.place !== undefined);
  }
  const all: readonly (Variant | undefined)[] = scenario.variants ?? [undefined];
  const list = all.filter((variant) => fits(scenario, variant, options.arch));
  if (list.length === 0) {
    return refused('scenario.arch', `No variant is left for ${String(options.arch)}: each has a CPU, features or a host of its own.`, SCENARIO_SCHEMA);
  }
  const variants: VariantRun[] = [];
  for (const variant of list) {
    const run = runVariant(variantOf(scenario, variant), variant, options);
    if ('failure' in run) {
      const [section] = run.path;
      const own = variant !== undefined && typeof section === 'string' && section in variant ? ['variants', all.indexOf(variant)] : [];
      return placed({ ...run, path: [...own, ...run.path] }, place, options.place !== undefined);
    }
    variants.push(run);
  }
  return done(assembled(scenario, file, variants));
}

function assembled({ name, question, sources = [], costs = [], measured = [] }: Scenario, file: string | undefined, variants: readonly VariantRun[]): RunReport {
  const names = variants.map((each) => each.name);
  return assembleReport({
    scenario: { name, sources, ...(question !== undefined && { question }), ...(file !== undefined && { file }) },
    variants,
    profiles: costs.map((each) => costProfile(each)!),
    measured: measured.filter(({ between }) => between.every((each) => names.includes(each))).map(({ total, source, profile, between, phase, parts }): MeasuredTotal => ({
      ns: parseDuration(total)!, source, profile: costProfile(profile)!, between, ...(phase !== undefined && { phase }), ...(parts !== undefined && { parts }),
    })),
  });
}

/** Whether a variant means anything on the architecture asked for: one that differs in its CPU, features or host does not on another than the scenario's. */
/** One that names its architecture is of no other. */
function otherArch({ machine: { arch, needs } = {} }: Scenario, asked: keyof Backends | undefined): Misplaced | undefined {
  if (arch === undefined || asked === undefined || arch === asked) {
    return undefined;
  }
  const sentence = `The scenario is of ${arch} alone${needs === undefined ? '' : `: it needs ${needs}`}.`;
  return { path: ['machine', 'arch'], failure: refused('scenario.arch', sentence, SCENARIO_SCHEMA) };
}

function fits({ machine }: Scenario, variant: Variant | undefined, arch: keyof Backends | undefined): boolean {
  const { cpu, registers, features } = variant?.machine ?? {};
  const { granule, vaBits } = variant?.host ?? {};
  const own = [cpu, registers, features, granule, vaBits].some((each) => each !== undefined);
  return !own || arch === undefined || arch === (variant?.machine?.arch ?? machine?.arch ?? 'armv8');
}

/** `FILE:LINE:COLUMN: field: sentence`. */
function placed({ failure, path }: Misplaced, place: (path: FieldPath) => string, written: boolean): Failure {
  const where = written ? `${place(path)}: ` : '';
  return { ...failure, sentence: `${where}${fieldName(path)}: ${failure.sentence}` };
}

/** Names that the scenario uses of profiles, variants and phases. */
function namesOf({ costs = [], measured = [], variants = [], steps }: Scenario): Misplaced | undefined {
  const unknown = (path: FieldPath, what: string, known: readonly string[]): Misplaced => ({
    path, failure: refused('scenario.name', `${what} is none of ${known.join(', ')}.`, SCENARIO_SCHEMA),
  });
  const profiles = Object.keys(COST_PROFILES);
  const profile = [...costs.map((name, i) => ({ name, path: ['costs', i] })), ...measured.map(({ profile: name }, i) => ({ name, path: ['measured', i, 'profile'] }))]
    .find(({ name }) => !profiles.includes(name));
  if (profile !== undefined) {
    return unknown(profile.path, `"${profile.name}"`, profiles);
  }
  const names = variants.map(({ name }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0) {
    return { path: ['variants', twice, 'name'], failure: refused('scenario.name', `"${names[twice]}" names two variants.`, SCENARIO_SCHEMA) };
  }
  const phases = steps.flatMap((step) => (step.do === 'phase' ? [step.name] : []));
  for (const [i, { between, phase, total }] of measured.entries()) {
    const missing = between.findIndex((name) => !names.includes(name));
    if (missing >= 0) {
      return unknown(['measured', i, 'between', missing], `"${between[missing]}"`, names);
    }
    if (phase !== undefined && !phases.includes(phase)) {
      return unknown(['measured', i, 'phase'], `"${phase}"`, phases);
    }
    if (parseDuration(total) === undefined) {
      return { path: ['measured', i, 'total'], failure: refused('scenario.name', `${total} is not a whole number of nanoseconds below 2^53.`, SCENARIO_SCHEMA) };
    }
  }
  return undefined;
}

/** For another architecture: without what only the scenario's own has. */
function forArch(scenario: Scenario, arch: keyof Backends | undefined): { readonly scenario: Scenario; readonly arch: keyof Backends; readonly notes: readonly string[] } {
  const { machine = {}, host = {} } = scenario;
  const { cpu, registers, features, arch: own = 'armv8', ...rest } = machine;
  if (arch === undefined || arch === own) {
    return { scenario, arch: own, notes: [] };
  }
  const { granule, vaBits, ...plain } = host;
  const left = Object.entries({ cpu, registers, features, granule, vaBits }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  const notes = left.length === 0 ? [] : [`The scenario is of ${own}; for ${arch} its ${left.join(', ')} are left out.`];
  return { scenario: { ...scenario, machine: { ...rest, arch }, host: plain }, arch, notes };
}

function runVariant(given: Scenario, variant: Variant | undefined, options: RunOptions): VariantRun | Misplaced {
  const { scenario, arch, notes } = forArch(given, options.arch);
  const page = 2 ** GRANULES[scenario.host?.granule ?? '4K'].pageShift;
  const work = workOfScenario(scenario, page);
  if (work > MOST) {
    const sentence = `The steps come to ${work.toLocaleString('en')} accesses and table entries, and a run does at most ${MOST.toLocaleString('en')}.`;
    return { failure: refused('scenario.too-large', sentence, SCENARIO_SCHEMA), path: ['steps'] };
  }
  const fidelity = fidelityOf(scenario, work);
  const maxPages = (fidelity === 'machine' ? MACHINE_TABLES : POLICY_TABLES) / page;
  const configured = configure(scenario, options.backends, arch, { maxPages, initialPages: Math.min(maxPages, INITIAL_PAGES + Math.ceil((8 * work) / page)) });
  if ('failure' in configured) {
    return configured;
  }
  const config = configured;
  const lines = { data: config.line, instruction: config.line };
  const name = variant?.name ?? scenario.name;
  const recorder = new Recorder({ backend: config.backend, judged: fidelity !== 'policy', lines, log: options.log?.(name) });
  const unfit = nestedNeeds(scenario, config, fidelity);
  if (unfit !== undefined) {
    return unfit;
  }
  const world = new World(scenario, config, recorder);
  const hardware = fidelity === 'machine' ? new MachineSide(world) : undefined;
  world.side = hardware ?? new PolicySide(world);
  const failed = world.start();
  if (failed !== undefined) {
    return failed;
  }
  const hyp = startHyp(world);
  if (hyp.kind !== 'done') {
    return { failure: hyp, path: ['hyp'] };
  }
  const findings = new Findings(world);
  notes.forEach((note) => findings.notes.add(note));
  const run = new Run(world, findings, hardware, hyp.value, options.progress ?? (() => undefined));
  const stopped = steps(run, findings);
  if (stopped !== undefined && 'failure' in stopped) {
    return stopped;
  }
  const end = finish(run, fidelity, stopped !== undefined);
  return {
    name, settings: settingsOf(variant), fidelity, machine: machineReport(config, scenario), geometry: geometryReport(world.vm.format, world.vm.vtcr), ...end,
    ...(stopped === undefined ? {} : { stopped }),
  };
}

/** What a guest hypervisor needs of the run and of the machine. */
function nestedNeeds({ vm = {} }: Scenario, { features, backend }: Configuration, fidelity: VariantRun['fidelity']): Misplaced | undefined {
  if (vm.nested === undefined) {
    return undefined;
  }
  if (fidelity !== 'machine') {
    return { failure: refused('scenario.fidelity', `A guest that is a hypervisor needs modelled hardware, and fidelity is ${fidelity}.`, SCENARIO_SCHEMA), path: ['fidelity'] };
  }
  const sentence = 'A guest that is a hypervisor needs FEAT_NV2, which this machine has not: machine.cpu: max has it.';
  return backend.regimes.includes('el2') && features.nv !== true ? { failure: refused('scenario.setting', sentence, 'Linux ARM64_HAS_NESTED_VIRT'), path: ['vm', 'nested'] } : undefined;
}

type Stopped = NonNullable<VariantRun['stopped']>;

function steps(run: Run, findings: Findings): Stopped | Misplaced | undefined {
  const { scenario, recorder } = run.world;
  for (const [index, step] of scenario.steps.entries()) {
    run.label = `step ${index + 1} of ${scenario.steps.length}, ${step.do}`;
    run.progress(0, 1);
    const failure = run.step(step);
    if (failure === undefined) {
      continue;
    }
    const inner = step.do === 'repeat' ? step.steps.map((each) => each.do) : [step.do];
    if (failure.id.startsWith('scenario.') || !inner.some((each) => GUEST_STEPS.has(each))) {
      return { failure, path: ['steps', index] };
    }
    const { id, sentence, source } = failure;
    findings.notes.add(`The run ended at step ${index + 1} of ${scenario.steps.length}, ${step.do}.`);
    return { phase: recorder.phase, id, sentence, source };
  }
  return undefined;
}

function finish({ world, findings }: Run, fidelity: VariantRun['fidelity'], stopped: boolean): Omit<VariantRun, 'name' | 'settings' | 'fidelity' | 'machine' | 'geometry' | 'stopped'> {
  const { recorder, scenario, vm, down } = world;
  findings.endPhase();
  const verdict = recorder.judge?.finish();
  const { shown, more } = violationReports(world, verdict, scenario.expect?.verdict);
  if (scenario.expect !== undefined && !stopped) {
    findings.expectEnd(scenario.expect, shown, fidelity !== 'policy');
  }
  const { tally } = recorder;
  return {
    counts: tally.total(), tables: tablesReport(vm.format, tally.pages), mappings: down ? [] : mappingCounts(vm.table), phases: findings.phases, reads: findings.reads,
    moreReads: findings.moreReads, ...nestedReport(world, findings.chains), violations: shown, moreViolations: more, expectations: findings.expectations, notes: [...findings.notes],
  };
}

function machineReport({ backend, kernel, host, features, pes, line }: Configuration, { vm = {} }: Scenario): MachineReport {
  const { granule, vaBits } = host;
  const { invalidation = 'deferred', maintenance = 'map-and-unmap', vcpus = 1 } = vm;
  return {
    backend: backend.name, kernel: kernel.version, host: { granule, vaBits }, features: TOLD_FEATURES.filter((each) => features[each]), pes, vcpus, invalidation, maintenance,
    lines: { data: line, instruction: line },
  };
}
