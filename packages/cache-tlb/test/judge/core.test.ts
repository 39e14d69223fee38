import { commandSequences, commandText, effectText, recorder } from '@granule/conformance';
import type { Effect, EffectSink, Mode } from '@granule/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { violationText } from '../../src/index.js';
import { entrySpan } from '@granule/geometry';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import { changing, drop, dsbOf, tlbi, type Change } from './faults.js';
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

/** Entries that were valid and are gone: a maintenance that is dropped must be missed for each of them. */
function leftInvalid(effects: readonly Effect[]): number {
  const gone = new Set<number>();
  for (const each of effects) {
    for (let i = 0; each.type === 'write' && i < each.count; i++) {
      const entry = each.table + 8 * (each.index + i);
      const isValid = each.new[2 * i] % 2 === 1;
      if (isValid || each.old[2 * i] % 2 === 1) {
        gone[isValid ? 'delete' : 'add'](entry);
      }
    }
  }
  return gone.size;
}

describe('a core that leaves a part of its maintenance out is always caught', () => {
  const parts: readonly (readonly [string, Change])[] = [
    ['every invalidation', drop(tlbi())],
    ['every invalidation by IPA or range', drop(tlbi('IPAS2E1IS', 'RIPAS2E1IS'))],
    ['every invalidation of stage 1', drop(tlbi('VMALLE1IS'))],
    ['every DSB before an invalidation', drop(dsbOf('ishst'))],
    ['every DSB after an invalidation', drop(dsbOf('ish'))],
  ];
  it.each(parts)('%s', (_, change) => {
    let caught = 0;
    const law = fc.property(commandSequences(formatOf(STAGE2), 25), (commands) => {
      const judge = newJudge();
      const kept = recorder();
      const both: EffectSink = {
        effect(each) {
          kept.effect(each);
          judge.effect(each);
        },
      };
      const machine = new Machine(
        STAGE2,
        changing(both, change, (level) => entrySpan('4K', level)),
      );
      for (const command of commands) {
        machine.perform(command, 'exact');
      }
      if (leftInvalid(kept.effects) > 0) {
        expect(judge.finish().violations.length).toBeGreaterThan(0);
        caught++;
      }
    });
    // A fixed seed, so that some of the sequences do leave something invalid.
    fc.assert(law, { numRuns: RUNS, seed: 1 });
    expect(caught).toBeGreaterThan(0);
  });
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
  it('nothing where Linux defers, takes a block whole and flushes a part of it: all of what TLBs hold of the block goes (D8.17, R_TVTYQ)', () => {
    const kept = recorder();
    const machine = new Machine(STAGE2, kept);
    machine.table.map(0, 2 ** 22, 2 ** 30, {}, { mode: 'linux' });
    machine.table.unmap(4096, 4096, { mode: 'linux', tlbi: 'deferred' });
    expect(judged(kept.effects).violations.map((each) => each.rule.id)).toEqual([]);
  });

  it('stage 1 with range operations: a replaced table of level 1 takes everything below out of walk caches', () => {
    const kept = recorder();
    const machine = new Machine(EL2, kept);
    machine.table.map(0, 2 ** 22, 0, {}, { pages: true });
    machine.table.map(0, 2 ** 30, 0, {}, {});
    expect(judged(kept.effects).violations).toEqual([]);
  });
});
