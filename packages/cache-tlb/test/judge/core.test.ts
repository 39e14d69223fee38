import { commandSequences, commandText, effectText, recorder } from '@granule/conformance';
import type { EffectSink, Mode } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { violationText } from '../../src/index.js';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import { EL2, formatOf, judged, Machine, newJudge, SETUPS, STAGE2, type Setup } from './run.js';

const RUNS = Number(process.env['GRANULE_JUDGE_RUNS'] ?? 30);

function runClean(setup: Setup, mode: Mode): void {
  const law = fc.property(commandSequences(formatOf(setup), 25), fc.boolean(), (commands, fwb) => {
    const judge = newJudge();
    const kept = recorder();
    const sink: EffectSink = {
      effect(each) {
        kept.effect(each);
        judge.effect(each);
      },
    };
    const machine = new Machine(setup, sink, { fwb });
    for (const command of commands) {
      machine.perform(command, mode);
    }
    const { violations } = judge.finish();
    machine.destroy();
    const after = judge.finish().violations;
    if (after.length > 0) {
      const log = kept.effects.map((each, i) => `${i + 1} ${effectText(each)}`).slice(-60);
      throw new Error(
        [...(violations.length > 0 ? violations : after).map(violationText), ...commands.map(commandText), ...log].join('\n'),
      );
    }
  });
  fc.assert(law, { numRuns: RUNS });
}

describe('every operation of the core is clean', () => {
  for (const setup of SETUPS) {
    for (const mode of ['exact', 'linux'] as const) {
      it(`${setup.name}, ${mode}`, () => {
        runClean(setup, mode);
      });
    }
  }
});

describe('EL2 tables', () => {
  it('hyp map and unmap are clean', () => {
    const kept = recorder();
    const machine = new Machine(EL2, kept);
    const { table } = machine;
    hypMap(table, 0, 2 ** 22, 2 ** 30, {});
    hypMap(table, 2 ** 30, 3 * 4096, 2 ** 31, { write: false });
    hypUnmap(table, 0, 2 ** 22);
    hypUnmap(table, 2 ** 30, 3 * 4096);
    hypMap(table, 0, 2 ** 13, 2 ** 32, {});
    machine.destroy();
    expect(judged(kept.effects).violations.map(violationText)).toEqual([]);
  });

  it('hyp map as in Linux overwrites a live block, which is told', () => {
    const kept = recorder();
    const machine = new Machine(EL2, kept);
    const { table } = machine;
    hypMap(table, 0, 2 ** 21, 2 ** 30, {});
    hypMap(table, 4096, 4096, 2 ** 30 + 4096, { write: false }, { mode: 'linux' });
    expect(judged(kept.effects).violations.map((each) => each.rule.id)).toContain('bbm.block-size');
  });
});

describe('what the judge finds in the core', () => {
  it('linux, deferred: a block that sticks out of the range goes whole, and the flush covers the range alone', () => {
    const kept = recorder();
    const machine = new Machine(STAGE2, kept);
    machine.table.map(0, 2 ** 22, 2 ** 30, {}, { mode: 'linux' });
    machine.table.unmap(4096, 4096, { mode: 'linux', tlbi: 'deferred' });
    expect(judged(kept.effects).violations.map((each) => each.rule.id)).toEqual(['tlbi.range-too-small']);
  });

  it('stage 1 with range operations: tables below a replaced table of level 1 stay in walk caches', () => {
    const kept = recorder();
    const machine = new Machine(EL2, kept);
    machine.table.map(0, 2 ** 22, 0, {}, { pages: true });
    machine.table.map(0, 2 ** 30, 0, {}, {});
    expect(judged(kept.effects).violations.map((each) => [each.rule.id, each.address])).toEqual([['tlbi.last-level-only', 2 ** 21]]);
  });
});
