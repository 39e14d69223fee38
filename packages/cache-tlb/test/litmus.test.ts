import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { everyChoice, explore, parseLitmus, type Litmus } from '../src/pe/index.js';

const FOLDER = new URL('../litmus/', import.meta.url);

function parsed(text: string): readonly Litmus[] {
  const tests = parseLitmus(text);
  if (tests.kind !== 'done') throw new Error(tests.sentence);
  return tests.value;
}

const files = readdirSync(FOLDER).filter((name) => name.endsWith('.litmus'));
const all = files.flatMap((name) => parsed(readFileSync(new URL(name, FOLDER), 'utf8')));
const run = all.filter(({ notModelled }) => notModelled === undefined);

function outcomesOf(text: string): readonly string[] {
  const explored = explore(parsed(text)[0], armv8);
  if (explored.kind !== 'done') throw new Error(explored.sentence);
  return explored.value.outcomes;
}

describe('every litmus test agrees with its verdict, over all that the model may do', () => {
  for (const test of run) {
    it(test.name, () => {
      const explored = explore(test, armv8);
      if (explored.kind !== 'done') throw new Error(explored.sentence);
      const { verdicts, outcomes, runs } = explored.value;
      const failed = verdicts.filter(({ holds }) => !holds).map(({ verdict: { kind, text } }) => `${kind} ${text}`);
      expect(failed, `${runs} runs: ${outcomes.join(' | ')}`).toEqual([]);
    });
  }
});

describe('the set', () => {
  it('names every test once, says where its verdict is from, and has a verdict or a reason', () => {
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
    for (const { from, verdicts, notModelled } of all) {
      expect(from).not.toBe('');
      expect(verdicts.length > 0).toBe(notModelled === undefined);
    }
  });

  it('lists what is not modelled, which is not run', () => {
    for (const test of all.filter(({ notModelled }) => notModelled !== undefined)) {
      expect(explore(test, armv8)).toMatchObject({ kind: 'not-modelled', id: 'litmus.not-modelled' });
    }
  });

  it('runs tests of one PE, of two stages and of several PEs', () => {
    expect(run.filter(({ programs }) => programs.length === 1).length).toBeGreaterThan(40);
    expect(run.filter(({ stage2 }) => stage2.length > 0).length).toBeGreaterThan(20);
    expect(run.filter(({ programs }) => programs.length > 1).length).toBeGreaterThan(20);
  });
});

describe('the explorer', () => {
  it('takes every interleaving', () => {
    const text = 'litmus SB\nfrom here\nstage1 T asid 1: x -> a\n0: post m ; poll r0 n\n1: post n ; poll r1 m\nallowed r0=1';
    expect(outcomesOf(text)).toEqual(['r0=0 r1=1', 'r0=1 r1=0', 'r0=1 r1=1']);
  });

  it('runs every way to decide once', () => {
    const seen: string[] = [];
    const runs = everyChoice((choose) => {
      const first = choose(2);
      seen.push(first === 0 ? `0${choose(3)}` : '1');
    });
    expect([runs, seen]).toEqual([4, ['00', '01', '02', '1']]);
    const four = (choose: (count: number) => number): void => {
      choose(2);
      choose(2);
    };
    expect(everyChoice(four, 3)).toBe(-1);
  });

  it('answers a verdict that does not hold', () => {
    const text = 'litmus W\nfrom here\nstage1 T asid 1: x -> a\n0: read r0 x\nallowed r0=b\nforbidden r0=a\nrequired r0=b\nrequired r0=a';
    const explored = explore(parsed(text)[0], armv8);
    expect(explored.kind === 'done' && explored.value.verdicts.map(({ holds }) => holds)).toEqual([false, false, false, true]);
  });

  it('gives up in words', () => {
    const [test] = run.filter(({ name }) => name === 'BBM.coherence');
    expect(explore(test, armv8, 10)).toMatchObject({ kind: 'not-modelled', id: 'litmus.limit' });
    expect(explore(test, armv7Lpae)).toMatchObject({ kind: 'not-modelled', id: 'litmus.backend' });
  });

  it.each([
    ['litmus A\nfrom here\n0: jump', 'litmus.operation'],
    ['litmus A\nfrom here\nstage1 T asid 1: x -> q\n0: isb', 'litmus.name'],
  ])('refuses %j', (text, id) => {
    expect(explore(parsed(text)[0], armv8)).toMatchObject({ kind: 'refused', id });
  });

  it('refuses a line that is none, by its number', () => {
    expect(parseLitmus('litmus A\nfrom here\nwhat is this')).toMatchObject({ kind: 'refused', id: 'litmus.syntax', sentence: expect.stringContaining('Line 3') as string });
  });
});
