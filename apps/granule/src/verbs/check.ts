import { contextFormats, createJudge, verdictText, violationText, type Verdict, type Violation } from '@granule/cache-tlb';
import { hex } from '@granule/geometry/bits';
import { readEventLog } from '@granule/snapshot';
import { Command } from 'commander';
import { CommandFailure } from '../failures.js';
import { plainSource } from '../files.js';
import { BACKENDS } from '../backends.js';
import { printJson, printLines } from '../output.js';

interface Options {
  readonly json?: boolean;
}

/** Violations that are shown one by one. */
const SHOWN = 20;

const EXAMPLE = `
Example:
  granule check events.jsonl`;

export function command(): Command {
  return new Command('check')
    .summary('judges an event log: is all TLB and cache maintenance complete and in order')
    .description(
      'Judges an event log (granule-events/1, gzip accepted): break-before-make, TLB invalidations and their barriers, pages and tags ' +
        'that are used again; stale data and instructions. Code is taken to need DC CVAU and IC unless the log tells CTR_EL0. The verdict is the last line. Exit code 1 where a rule is broken.',
    )
    .argument('<EVENTS>', 'the log, - for standard input; event n is its line n + 1')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLE)
    .action(run);
}

function run(path: string, options: Options): void {
  const judge = createJudge({ format: contextFormats(BACKENDS), caches: { idc: false, dic: false } });
  const position = { line: 0 };
  const outcome = readEventLog(plainSource(path), judge, position);
  if (outcome.kind !== 'done') {
    throw new CommandFailure(`${path}:${Math.max(1, position.line)}: ${outcome.sentence}`);
  }
  const verdict = judge.finish();
  const unjudged = verdict.unjudged[0];
  if (unjudged !== undefined) {
    throw new CommandFailure(`${path}:${lineOf(unjudged.event)}: ${unjudged.sentence}`);
  }
  process.exitCode = verdict.violations.length > 0 ? 1 : 0;
  if (options.json === true) {
    printJson(verdictJson(verdict));
    return;
  }
  const shown = verdict.violations.slice(0, SHOWN);
  const rest = verdict.violations.length - shown.length;
  printLines([
    ...shown.map((each) => `${path}:${lineOf(each.exposed)}: ${violationText(each)}`),
    ...(rest > 0 ? [`… ${rest} more violations`] : []),
    verdictText(verdict),
  ]);
}

/** The header is line 1. */
function lineOf(event: number): number {
  return event + 1;
}

function violationJson({ rule, cause, exposed, address, count }: Violation): unknown {
  return {
    rule: rule.id,
    clause: rule.clause,
    sentence: rule.sentence,
    cause,
    exposed,
    line: lineOf(exposed),
    address: hex(address),
    count,
  };
}

function verdictJson(verdict: Verdict): unknown {
  const { events, contexts, violations } = verdict;
  return {
    schema: 'granule-check/1',
    clean: violations.length === 0,
    events,
    tables: contexts,
    violations: violations.map(violationJson),
    verdict: verdictText(verdict),
  };
}
