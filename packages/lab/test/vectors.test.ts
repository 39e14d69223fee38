import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { runVectors } from '@granule/conformance/vectors';
import type { CaseTranslator } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { runCase } from '../src/index.js';
import { recordedCases, recordedMachines } from './vectors/read.js';

const BACKENDS = { aarch64: armv8, aarch32: armv7Lpae };
const translator: CaseTranslator = (each, machine) => runCase(each, machine, BACKENDS);

const machines = recordedMachines();

interface Counted {
  passed: number;
  failed: string[];
  /** By doubt, then by what the model agrees with. */
  doubtful: Record<string, number>;
}

function count(family: string): Counted {
  const counted: Counted = { passed: 0, failed: [], doubtful: {} };
  for (const { case: id, index, query, verdict, agrees, reasons } of runVectors(recordedCases(family), machines, translator)) {
    const key = `${query.doubt.join(' ')}: ${agrees}`;
    if (verdict === 'passed') counted.passed += 1;
    else if (verdict === 'failed') counted.failed.push(`${id}#${index}: ${reasons.join('; ')}`);
    else counted.doubtful[key] = (counted.doubtful[key] ?? 0) + 1;
  }
  return counted;
}

/** Queries without a doubt, and those with one by what the model answers: as recorded, or the alternative that the source's authors give. */
const FAMILIES: Readonly<Record<string, { readonly passed: number; readonly doubtful: Readonly<Record<string, number>> }>> = {
  s1: { passed: 609, doubtful: { 'sh-reserved: recorded': 1 } },
  's1-perm': { passed: 224, doubtful: {} },
  's1-range': { passed: 226, doubtful: { 'txsz-range: recorded': 20, 'tg-reserved: recorded': 11, 'sctlr-c: alternative': 4 } },
  s2: {
    passed: 533,
    doubtful: {
      'txsz-range: recorded': 42,
      'xs-combine: alternative': 6,
      'fwb-device: alternative': 1,
      's2-memattr-reserved sh-reserved xs-combine: alternative': 1,
    },
  },
  'two-stage': {
    passed: 293,
    doubtful: {
      'device-normal-combine: alternative': 9,
      'ptw-device-level: alternative': 3,
      'transient-combine: alternative': 2,
      'xs-combine: alternative': 2,
      'fwb-device: alternative': 1,
      'sh-reserved: recorded': 1,
    },
  },
  attr: {
    passed: 232,
    doubtful: {
      'device-normal-combine: alternative': 7,
      'sh-reserved: recorded': 7,
      'fwb-device: alternative': 5,
      'fwb-shareability: recorded': 3,
      's2-memattr-reserved: alternative': 1,
      's2-memattr-reserved: recorded': 1,
    },
  },
  lpa: { passed: 458, doubtful: { 'xs-combine: alternative': 41, 'txsz-range: recorded': 6 } },
  hyp: { passed: 188, doubtful: {} },
  a32: { passed: 416, doubtful: { 'a32-s2-config: alternative': 8 } },
  other: { passed: 649, doubtful: {} },
  abort: { passed: 465, doubtful: { 'fetch-from-device: recorded': 19, 'high-address-bits: alternative': 2 } },
};

describe('recorded address translations', () => {
  it.each(Object.entries(FAMILIES))('%s: every query without a doubt agrees, in every bit that is defined', (family, { passed, doubtful }) => {
    const counted = count(family);
    expect(counted.failed).toEqual([]);
    expect(counted.passed).toBe(passed);
    expect(counted.doubtful).toEqual(doubtful);
  });
});
