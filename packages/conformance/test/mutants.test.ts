import { describe, expect, it } from 'vitest';
import { MUTANTS, SOUND } from './mutants/all.js';

describe('a suite', () => {
  it.each(SOUND)('$suite finds nothing where nothing is wrong', ({ run }) => {
    expect(run()).toEqual([]);
  });

  it.each(MUTANTS)('$suite catches by name: $fault ($caughtBy)', ({ caughtBy, run }) => {
    const names = run();
    expect(names.includes(caughtBy), `caught by ${names.join(', ')}`).toBe(true);
  });

  it('has each fault once', () => {
    const names = MUTANTS.map(({ suite, fault }) => `${suite} ${fault}`);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(100);
  });
});
