import type { Effect, WriteEffect } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { effectsDiffer, effectText, expandAll, expandEffect, recorder, sameEffects } from '../src/index.js';

const span = (level: number): number => 2 ** (12 + 9 * (3 - level));

/** Two pages unmapped: each is cleared, then invalidated and cleaned. */
const run: WriteEffect = {
  type: 'write',
  table: 0x4000_1000,
  level: 3,
  index: 510,
  count: 2,
  address: 0x1f_e000,
  old: new Uint32Array([0x1000_0443, 1, 0x1000_1443, 1]),
  new: new Uint32Array(4),
  release: false,
  before: [{ type: 'dsb', domain: 'ishst' }],
  after: [
    { type: 'tlbi', op: 'IPAS2LE1IS', address: 0x1f_e000, level: 3 },
    { type: 'cmo', op: 'dc-civac', to: 'poc', address: 0x1_1000_0000, bytes: 0x1000 },
    { type: 'isb' },
  ],
};

describe('expandEffect', () => {
  it('gives each entry its before, its own write and its after, in entry order, with addresses that advance', () => {
    expect(expandEffect(run, span).map(effectText)).toEqual([
      'dsb ishst',
      'write 0x0000000040001000[510] level 3 ia 0x00000000001fe000 0x0000000110000443->0x0000000000000000',
      'tlbi IPAS2LE1IS 0x00000000001fe000 level 3',
      'cmo dc-civac 0x0000000110000000 bytes 4096 to poc',
      'isb',
      'dsb ishst',
      'write 0x0000000040001000[511] level 3 ia 0x00000000001ff000 0x0000000110001443->0x0000000000000000',
      'tlbi IPAS2LE1IS 0x00000000001ff000 level 3',
      'cmo dc-civac 0x0000000110001000 bytes 4096 to poc',
      'isb',
    ]);
  });

  it('advances by the span of the level, not by pages', () => {
    const [, , second] = expandEffect({ ...run, level: 2, before: [], after: [{ type: 'tlbi', op: 'X', address: 0 }] }, span);
    expect(second).toMatchObject({ type: 'write', address: 0x1f_e000 + 0x20_0000 });
  });

  it('leaves a TLBI without address, and every effect that is no write, as it is', () => {
    const all: Effect = { type: 'tlbi', op: 'VMALLS12E1IS' };
    expect(expandEffect(all, span)).toEqual([all]);
    expect(expandEffect({ ...run, before: [], after: [all] }, span).filter((each) => each.type === 'tlbi')).toEqual([all, all]);
  });
});

describe('recorder and comparison', () => {
  it('keeps effects in order until they are drained', () => {
    const sink = recorder();
    sink.effect({ type: 'isb' });
    sink.effect(run);
    expect(sink.drain()).toEqual([{ type: 'isb' }, run]);
    expect(sink.effects).toEqual([]);
  });

  it('a run and its entries are the same once expanded, and not before', () => {
    const entries = expandEffect(run, span);
    expect(sameEffects([run], entries)).toBe(false);
    expect(sameEffects(expandAll([run], span), entries)).toBe(true);
  });

  it('names the first difference, in words that the text of a long run leaves out', () => {
    const long: WriteEffect = { ...run, index: 0, count: 6, old: new Uint32Array(12), new: new Uint32Array(12), before: [], after: [] };
    const other = { ...long, new: new Uint32Array([0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0]) };
    expect(effectsDiffer([{ type: 'isb' }, long], [{ type: 'isb' }, other])).toMatch(/^effect 1 is "write .* and not "write /);
    expect(effectsDiffer([long], [])).toMatch(/ and not "nothing"$/);
    expect(effectsDiffer([long], [{ ...long, new: new Uint32Array(12) }])).toBeUndefined();
  });

  it('renders every kind of effect on one line', () => {
    const fault = { type: 'permission', level: 2, stage: 2, s1ptw: true, access: 'write', address: 16, upper: false, ipa: 32 } as const;
    const effects: readonly Effect[] = [
      run,
      { type: 'take', table: 0x1000, pages: 2 },
      { type: 'free', table: 0x1000, pages: 1, deferred: true },
      { type: 'register', name: 'VTTBR_EL2', value: 1n },
      { type: 'context-installed', regime: 's2', root: 0x2000, vmid: 3 },
      { type: 'context-retired', regime: 'el10', root: 0x2000, asid: 4 },
      { type: 'access', access: 'write', address: 16, output: 32, bytes: 8, value: 5n },
      { type: 'fault', fault },
    ];
    const lines = effects.map(effectText);
    expect(lines.every((each) => each.length > 0 && !each.includes('\n'))).toBe(true);
    expect(lines.slice(1)).toEqual([
      'take 0x0000000000001000 pages 2',
      'free 0x0000000000001000 pages 1 deferred',
      'register VTTBR_EL2 0x0000000000000001',
      'context-installed s2 0x0000000000002000 vmid 3',
      'context-retired el10 0x0000000000002000 asid 4',
      'access write 0x0000000000000010->0x0000000000000020 bytes 8 value 0x0000000000000005',
      'fault permission level 2 stage 2 s1ptw write 0x0000000000000010 ipa 0x0000000000000020',
    ]);
  });
});
