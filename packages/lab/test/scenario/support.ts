import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import type { Outcome } from '@granule/contract';
import { readScenario, type RunOptions, type RunReport, runScenario } from '../../src/index.js';

export const BACKENDS = { armv8, 'armv7-lpae': armv7Lpae } as const;

/** One slot of 16 MiB at 1 GiB, 4K host pages behind it. */
export const HEAD = `schema: granule-scenario/1
name: test
memory: [{ hva: 0x7f00_0000_0000, size: 16M, physical: 0x8000_0000 }]
slots: [{ ipa: 0x4000_0000, size: 16M, hva: 0x7f00_0000_0000 }]
`;

/** Reads and runs what a file `x.yaml` would hold. */
export function outcomeOf(yaml: string, options: Partial<RunOptions> = {}): Outcome<RunReport> {
  const read = readScenario(yaml, 'x.yaml');
  return read.kind === 'done' ? runScenario(read.value.scenario, { backends: BACKENDS, place: read.value.place, ...options }) : read;
}

export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'done') {
    throw new Error(outcome.sentence);
  }
  return outcome.value;
}

export function reportOf(yaml: string, options: Partial<RunOptions> = {}): RunReport {
  return valueOf(outcomeOf(yaml, options));
}

/** The sentence with which a scenario is refused. */
export function refusal(yaml: string): string {
  const outcome = outcomeOf(yaml);
  return outcome.kind === 'done' ? 'it ran' : outcome.sentence;
}

/** What was expected and did not come about. */
export function failed({ variants }: RunReport): readonly string[] {
  return variants.flatMap(({ expectations }) => expectations.filter(({ passed }) => !passed).map(({ what, expected, actual }) => `${what}: ${expected}, not ${actual}`));
}
