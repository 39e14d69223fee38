import { readScenario, reportHtml, reportText, type RunReport, runScenario } from '@granule/lab';
import { eventLogWriter } from '@granule/snapshot';
import type { EffectSink } from '@granule/contract';
import { Command } from 'commander';
import { type Architecture, ARCHITECTURES, backendOf, BACKENDS } from '../backends.js';
import { CommandFailure, valueOf } from '../failures.js';
import { LineFile, readText, writeText } from '../files.js';
import { print, printJson } from '../output.js';
import { progressOf } from '../progress.js';

interface Options {
  readonly arch?: string;
  readonly events?: string;
  readonly html?: string;
  readonly json?: boolean;
}

const EXAMPLE = `
Example:
  granule run apps/granule/scenarios/boot.yaml
  granule run apps/granule/scenarios/two-vcpus.yaml --arch armv7-lpae --events two-vcpus.jsonl`;

export function command(): Command {
  return new Command('run')
    .summary('a scenario through policy and hardware: what it costs, what guests see, which rules break')
    .description(
      'Runs scenarios (granule-scenario/1, YAML or JSON): a machine, a VM on it, and what its guests and its host do. Reports geometry, tables, mappings, faults, ' +
        'TLB and cache maintenance, values that guests saw, broken rules, and estimated costs; variants beside each other. The last line is the verdict; exit ' +
        'code 1 where an expectation failed or a rule broke that the scenario does not expect.',
    )
    .argument('<SCENARIO...>', 'files; schema in docs/schemas/granule-scenario-1.json')
    .option('--arch <ARCH>', `${ARCHITECTURES}, in place of the scenario's own; its CPU, features and host are then left out`)
    .option('--events <FILE>', 'write what happened as an event log (docs/events.md); of several variants, each its own, numbered')
    .option('--html <FILE>', 'write the report as one HTML page')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(paths: readonly string[], options: Options): void {
  const { html, events, json } = options;
  const single = events === undefined ? (html === undefined ? undefined : '--html') : '--events';
  if (single !== undefined && paths.length > 1) {
    throw new CommandFailure(`${single}: it takes one scenario, and there are ${paths.length}.`);
  }
  const reports = paths.map((path) => reportOf(path, options));
  process.exitCode = reports.every(({ clean }) => clean) ? 0 : 1;
  if (html !== undefined) {
    writeText(html, reportHtml(reports[0]));
  }
  if (json === true) {
    printJson(reports.length === 1 ? reports[0] : reports);
  } else {
    print(reports.map(reportText).join('\n'));
  }
}

function reportOf(path: string, { arch, events }: Options): RunReport {
  if (arch !== undefined) {
    backendOf(arch);
  }
  const { scenario, place } = valueOf(readScenario(readText(path), path));
  const progress = progressOf();
  const logs = events === undefined ? undefined : new EventLogs(events, scenario.variants?.map(({ name }) => name) ?? []);
  try {
    return valueOf(
      runScenario(scenario, {
        backends: BACKENDS, file: path, place, progress: progress.told,
        ...(arch !== undefined && { arch: arch as Architecture }),
        ...(logs !== undefined && { log: (variant) => logs.of(variant) }),
      }),
    );
  } finally {
    progress.end();
    logs?.close();
  }
}

/** One event log for a run, or one for each of several variants: `run.jsonl`, `run.1.jsonl` … */
class EventLogs {
  #current: LineFile | undefined;

  constructor(
    private readonly path: string,
    private readonly variants: readonly string[],
  ) {}

  of(variant: string): EffectSink {
    this.close();
    const number = this.variants.length > 1 ? `.${this.variants.indexOf(variant) + 1}` : '';
    const file = new LineFile(this.path.replace(/(\.[^./\\]*)?$/, (extension) => `${number}${extension}`));
    this.#current = file;
    return eventLogWriter((line) => file.add(line));
  }

  close(): void {
    this.#current?.close();
    this.#current = undefined;
  }
}
