import { armv8 } from '@granule/armv8';
import { bytesSource } from '@granule/memory';
import { describe, expect, it } from 'vitest';
import { causesText, replayCauses, replayOps, replayText, type RunFiles } from '../src/index.js';
import { Program, type Setup } from './emitted/program.js';
import { valueOf } from './support.js';

function filesOf(files: ReadonlyMap<string, Uint8Array | string>): RunFiles {
  return {
    open(name) {
      const content = files.get(name);
      return content === undefined ? undefined : bytesSource(typeof content === 'string' ? new TextEncoder().encode(content) : content);
    },
  };
}

const PLAIN: Setup = {
  seed: 1, kernel: '7.2', granule: '4K', ipaBits: 40, paBits: 48, fwb: false, dic: false, ha: false, range: false, cpus: 1, vcpus: 1, vhe: true, splitChunk: false, manualLog: 0,
};

/** Every granule, IPA sizes from the smallest to the largest, kernels, features, several vCPUs and CPUs; what is not named is as in {@link PLAIN}. */
const SETUPS: readonly Partial<Setup>[] = [
  { seed: 1 },
  { seed: 2, ipaBits: 32, ha: true },
  { seed: 3, ipaBits: 48, fwb: true, dic: true, range: true },
  { seed: 4, ipaBits: 34, kernel: '6.12', manualLog: 3, splitChunk: true },
  { seed: 5, ipaBits: 52, paBits: 52, kernel: '7.0', manualLog: 1 },
  { seed: 6, granule: '16K', ipaBits: 40 },
  { seed: 7, granule: '16K', ipaBits: 36, kernel: '6.12', ha: true },
  { seed: 8, granule: '16K', ipaBits: 48, fwb: true, manualLog: 3 },
  { seed: 9, granule: '16K', ipaBits: 52, paBits: 52, splitChunk: true },
  { seed: 10, granule: '64K', ipaBits: 40, kernel: '6.12' },
  { seed: 11, granule: '64K', ipaBits: 33, manualLog: 1 },
  { seed: 12, granule: '64K', ipaBits: 52, paBits: 52, fwb: true, range: true },
  { seed: 13, vcpus: 3, cpus: 1 },
  { seed: 14, vcpus: 2, cpus: 4, granule: '16K', kernel: '6.18' },
  { seed: 15, cpus: 4, vhe: false, kernel: '6.14' },
];

describe.each(SETUPS)('a run that the policy wrote down itself: %o', (setup) => {
  const files = filesOf(new Program({ ...PLAIN, ...setup }).run(60).files());
  const options = { files, backends: { armv8 } };

  it('is replayed by its causes: all calls and all mappings are equal', () => {
    const report = valueOf(replayCauses(options));
    expect(report.differences, causesText(report)).toEqual([]);
    expect(report.exact, causesText(report)).toBe(true);
    expect(report.totals.calls.total).toBeGreaterThan(100);
    expect(report.totals.mappings.total).toBeGreaterThan(0);
    expect(report.traces.map(({ torn }) => torn)).toEqual([0]);
  });

  it('is replayed by its operations: all mappings are equal', () => {
    const report = valueOf(replayOps(options));
    expect(report.exact, replayText(report)).toBe(true);
  });
});
