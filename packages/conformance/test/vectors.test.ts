import { done, refused } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { runVectors, vectorConformance } from '../src/vectors/index.js';
import { CASES, MACHINES, translatorOf } from './sample-cases.js';

describe('the vector runner on answers as recorded', () => {
  vectorConformance(translatorOf(), { describe, it, cases: CASES, machines: MACHINES });
});

describe('the vector runner', () => {
  it('yields a verdict for every query, in order, and counts a doubtful one apart', () => {
    const results = [...runVectors(CASES, MACHINES, translatorOf())];
    expect(results.map(({ case: id, index, verdict, agrees }) => `${id} ${index} ${verdict} ${agrees}`)).toEqual([
      'instructions 0 passed recorded',
      'instructions 1 passed recorded',
      'instructions 2 passed recorded',
      'accesses 0 passed recorded',
      'accesses 1 passed recorded',
      'accesses 2 passed recorded',
      'accesses 3 doubtful alternative',
    ]);
    expect(results[6].reasons).toEqual(['sh-reserved', 'par is 0x0000000000000003, recorded 0x0000000000000001']);
  });

  it('says what differs: is and recorded', () => {
    const [first] = runVectors(CASES, MACHINES, translatorOf((answer) => ({ ...answer, changed: [[0x4000_0000, 1n]] })));
    expect(first).toMatchObject({ verdict: 'failed', reasons: ['changed is 0x0000000040000000: 0x0000000000000001, recorded '] });
  });

  it('fails every query of a case that is refused, of an unknown machine, or without an answer for each', () => {
    const reasons = (...args: Parameters<typeof runVectors>) => [...runVectors(...args)].map(({ verdict, reasons: [why] }) => `${verdict}: ${why}`);
    const one = CASES.slice(0, 1);
    expect(reasons(one, MACHINES, () => refused('cases.none', 'Nothing.', 'nowhere'))).toEqual(Array(3).fill('failed: cases.none: Nothing.'));
    expect(reasons(one, new Map(), translatorOf())).toEqual(Array(3).fill('failed: there is no machine one'));
    expect(reasons(one, MACHINES, () => done([]))).toEqual(Array(3).fill('failed: 0 answers to 3 queries'));
  });
});
