import { describe, expect, it } from 'vitest';
import { CONTRACT, DONE, ENTRY, done, levelIndex, notModelled, refused, retry } from '../src/index.js';

describe('outcomes', () => {
  it('the contract number is an integer, so that a newer backend can be refused in words', () => {
    expect(CONTRACT).toBe(1);
  });

  it('the answer of an operation without a value is one frozen object', () => {
    expect(Object.isFrozen(DONE)).toBe(true);
    expect(DONE).toEqual({ kind: 'done', value: undefined });
  });

  it('every failure carries its id, sentence and source, and says of which kind it is', () => {
    const failures = [refused, retry, notModelled].map((make) => make('area.reason', 'A sentence.', 'A source'));
    expect(failures.map((failure) => failure.kind)).toEqual(['refused', 'retry', 'not-modelled']);
    for (const failure of failures) {
      expect(failure).toMatchObject({ id: 'area.reason', sentence: 'A sentence.', source: 'A source' });
    }
  });

  it('done carries the value as it is', () => {
    const value = { some: 'value' };
    expect(done(value).value).toBe(value);
  });
});

describe('words', () => {
  it('levels −1 to 3 index arrays from 0 to 4', () => {
    expect([-1, 0, 1, 2, 3].map(levelIndex)).toEqual([0, 1, 2, 3, 4]);
  });

  it('the kinds of entries are four distinct numbers, zero for the entry that is zero', () => {
    expect(new Set(Object.values(ENTRY)).size).toBe(4);
    expect(ENTRY.zero).toBe(0);
  });
});
