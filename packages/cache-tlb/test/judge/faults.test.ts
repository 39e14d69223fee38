import type { Effect, WriteEffect } from '@granule/contract';
import { entrySpan } from '@granule/geometry';
import { hypMap, hypUnmap } from '@granule/pgtable/hyp';
import { describe, expect, it } from 'vitest';
import { alter, alterTlbi, changing, drop, dsbAfter, dsbOf, moveBehind, tlbi, withoutBreak, type Change } from './faults.js';
import { EL2, Machine, newJudge, SETUPS, STAGE2, type Setup } from './run.js';

const PAGE = 4096;
const BLOCK = 2 ** 21;
const OUTPUT = 2 ** 31;
const EL10 = SETUPS[10];

/** What is done to a table; correct as it stands. */
interface Scenario {
  readonly setup: Setup;
  readonly run: (machine: Machine) => void;
}

const SCENARIOS = {
  'replace a page': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, 4 * PAGE, OUTPUT, {});
      table.map(PAGE, PAGE, 2 * OUTPUT, {}, { over: 'replace' });
    },
  },
  'replace a block': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, BLOCK, OUTPUT, {});
      table.map(0, BLOCK, 2 * OUTPUT, {}, { over: 'replace' });
    },
  },
  'split a block': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, BLOCK, OUTPUT, {});
      table.split(0, BLOCK);
    },
  },
  'map a page in a block': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, BLOCK, OUTPUT, {}, { mode: 'linux' });
      table.map(5 * PAGE, PAGE, 2 * OUTPUT, {}, { mode: 'linux' });
    },
  },
  'map a block over pages': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, BLOCK, OUTPUT, {}, { pages: true });
      table.map(0, BLOCK, OUTPUT, {});
    },
  },
  'merge pages': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, BLOCK, OUTPUT, {}, { pages: true });
      table.merge(0, BLOCK);
    },
  },
  'change memory type': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, PAGE, OUTPUT, {});
      table.map(0, PAGE, OUTPUT, { memory: 'device-nGnRE' });
    },
  },
  'unmap a page': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, 4 * PAGE, OUTPUT, {});
      table.unmap(PAGE, PAGE);
    },
  },
  'unmap a table': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, 2 * PAGE, OUTPUT, {});
      table.unmap(0, 2 * PAGE);
      table.map(0, PAGE, 2 * OUTPUT, {});
    },
  },
  'unmap a range, flushed at the end': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, 16 * PAGE, OUTPUT, {});
      table.unmap(2 * PAGE, 8 * PAGE, { tlbi: 'deferred' });
    },
  },
  'annotate a page': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, 2 * PAGE, OUTPUT, {});
      table.annotate(0, PAGE, 2, 5n);
    },
  },
  'write-protect and flush': {
    setup: STAGE2,
    run: (machine) => {
      machine.table.map(0, 4 * PAGE, OUTPUT, {});
      machine.table.writeProtect(0, 4 * PAGE);
      machine.flushRange(0, 4 * PAGE);
    },
  },
  'take write permission away by map': {
    setup: STAGE2,
    run: ({ table }) => {
      table.map(0, PAGE, OUTPUT, { write: true });
      table.map(0, PAGE, OUTPUT, { write: false });
    },
  },
  'EL2: unmap': {
    setup: EL2,
    run: ({ table }) => {
      hypMap(table, 0, 2 * PAGE, OUTPUT, {});
      hypUnmap(table, 0, 2 * PAGE);
    },
  },
  'EL1&0: replace a page': {
    setup: EL10,
    run: ({ table }) => {
      table.map(0, 2 * PAGE, OUTPUT, { nG: true });
      table.map(0, PAGE, 2 * OUTPUT, { nG: true }, { over: 'replace' });
    },
  },
  'EL1&0: map a block over pages': {
    setup: EL10,
    run: ({ table }) => {
      table.map(0, BLOCK, OUTPUT, {}, { pages: true });
      table.map(0, BLOCK, OUTPUT, {});
    },
  },
  'EL1&0: map and use': {
    setup: EL10,
    run: ({ table, sink }) => {
      table.map(0, PAGE, OUTPUT, {});
      sink.effect({ type: 'access', access: 'read', address: 8, bytes: 8, regime: 'el10', asid: 1, output: OUTPUT + 8 });
    },
  },
  'EL1&0: unmap and touch': {
    setup: EL10,
    run: ({ table, sink }) => {
      table.map(0, 2 * PAGE, OUTPUT, {});
      table.unmap(0, PAGE);
      sink.effect({
        type: 'fault',
        fault: { type: 'translation', level: 3, stage: 1, s1ptw: false, access: 'read', address: 8, upper: false },
        regime: 'el10',
        asid: 1,
      });
    },
  },
  'reuse a VMID': {
    setup: STAGE2,
    run: ({ table, sink }) => {
      sink.effect({ type: 'context-retired', regime: 's2', root: table.root, vmid: 1 });
      sink.effect({ type: 'tlbi', op: 'VMALLS12E1IS', vmid: 1 });
      sink.effect({ type: 'dsb', domain: 'ish' });
      sink.effect({ type: 'context-installed', regime: 's2', root: 2 ** 33, vmid: 1, format: STAGE2.format });
    },
  },
} as const satisfies Record<string, Scenario>;

const breaks = (effect: WriteEffect): boolean => effect.old[0] % 2 === 1 && effect.new[0] % 2 === 0;
const isFree = (effect: Effect): boolean => effect.type === 'free';
const isb = (effect: Effect): boolean => effect.type === 'isb';
const last = (op: string): string => op.replace('IPAS2E1', 'IPAS2LE1').replace('VAE', 'VALE').replace('VAAE', 'VAALE');
const ownPe = (op: string): string => op.replace(/IS$/u, '');

/** One fault in the maintenance of the core each: what it does, to what, and the rule by which the judge must catch it. */
const FAULTS: readonly (readonly [string, keyof typeof SCENARIOS, string, () => Change])[] = [
  ['no break before a new output address', 'replace a page', 'bbm.output-address', () => withoutBreak(breaks)],
  ['no break before another block', 'replace a block', 'bbm.output-address', () => withoutBreak(breaks)],
  ['no break before a table in place of a block', 'split a block', 'bbm.block-size', () => withoutBreak(breaks)],
  ['no break before a block in place of a table', 'map a block over pages', 'bbm.block-size', () => withoutBreak(breaks)],
  ['no break before merging', 'merge pages', 'bbm.block-size', () => withoutBreak(breaks)],
  ['no break before another memory type', 'change memory type', 'bbm.memory-type', () => withoutBreak(breaks)],
  ['no invalidation of a replaced page', 'replace a page', 'tlbi.missing', () => drop(tlbi('IPAS2E1IS'))],
  ['no invalidation at all of a replaced page', 'replace a page', 'tlbi.missing', () => drop(tlbi())],
  ['no invalidation of a split block', 'split a block', 'tlbi.missing', () => drop(tlbi('IPAS2E1IS'))],
  ['no invalidation of a replaced table', 'map a block over pages', 'tlbi.missing', () => drop(tlbi('RIPAS2E1IS'))],
  ['no invalidation of a merged table', 'merge pages', 'tlbi.missing', () => drop(tlbi('RIPAS2E1IS'))],
  ['no invalidation of an unmapped page', 'unmap a page', 'tlbi.missing', () => drop(tlbi('IPAS2E1IS'))],
  ['no invalidation of an annotated page', 'annotate a page', 'tlbi.missing', () => drop(tlbi('IPAS2E1IS'))],
  ['no flush of a deferred unmap', 'unmap a range, flushed at the end', 'tlbi.missing', () => drop(tlbi('RIPAS2E1IS'))],
  ['no flush after write protection', 'write-protect and flush', 'permission.not-invalidated', () => drop(tlbi('RIPAS2E1IS'))],
  [
    'no invalidation of a permission taken away',
    'take write permission away by map',
    'permission.not-invalidated',
    () => drop(tlbi('IPAS2E1IS')),
  ],
  ['stage 1 not invalidated after a page', 'replace a page', 'tlbi.stage1-missing', () => drop(tlbi('VMALLE1IS'))],
  ['stage 1 not invalidated after an unmap', 'unmap a page', 'tlbi.stage1-missing', () => drop(tlbi('VMALLE1IS'))],
  [
    'stage 1 not invalidated after a deferred unmap',
    'unmap a range, flushed at the end',
    'tlbi.stage1-missing',
    () => drop(tlbi('VMALLE1IS')),
  ],
  [
    'stage 1 of another VMID invalidated',
    'replace a page',
    'tlbi.wrong-vmid',
    () => alterTlbi(['VMALLE1IS'], (each) => ({ ...each, vmid: 2 })),
  ],
  [
    'stage 1 of this PE alone invalidated',
    'replace a page',
    'tlbi.local',
    () => alterTlbi(['VMALLE1IS'], (each) => ({ ...each, op: 'VMALLE1' })),
  ],
  ['no DSB between break and invalidation', 'replace a page', 'tlbi.before-dsb', () => drop(dsbOf('ishst'))],
  ['no DSB between unmap and invalidation', 'unmap a page', 'tlbi.before-dsb', () => drop(dsbOf('ishst'))],
  [
    'DSB of this PE alone before the invalidation',
    'replace a page',
    'tlbi.before-dsb',
    () => alter(dsbOf('ishst'), () => ({ type: 'dsb', domain: 'nshst' })),
  ],
  ['no DSB between stage 2 and stage 1', 'replace a page', 'tlbi.stage1-too-early', () => drop(dsbAfter('IPAS2E1IS'))],
  ['no DSB after stage 1', 'replace a page', 'tlbi.not-completed', () => drop(dsbAfter('VMALLE1IS'))],
  ['no DSB after any invalidation', 'unmap a table', 'tlbi.not-completed', () => drop(dsbAfter())],
  [
    'a DSB of stores alone after the invalidations',
    'replace a page',
    'tlbi.not-completed',
    () => alter(dsbAfter(), () => ({ type: 'dsb', domain: 'ishst' })),
  ],
  [
    'a DSB of this PE alone after the invalidations',
    'replace a page',
    'tlbi.not-completed',
    () => alter(dsbAfter(), () => ({ type: 'dsb', domain: 'nsh' })),
  ],
  ['EL2: no DSB after the invalidations', 'EL2: unmap', 'tlbi.not-completed', () => drop(dsbAfter('VALE2IS', 'VAE2IS'))],
  ['level hint one too small', 'replace a page', 'tlbi.wrong-level', () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, level: 2 }))],
  [
    'level hint of pages for a block',
    'split a block',
    'tlbi.wrong-level',
    () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, level: 3 })),
  ],
  [
    'level hint for a removed table',
    'unmap a table',
    'tlbi.wrong-level',
    () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, level: each.level ?? 1 })),
  ],
  [
    'last level alone for a removed table',
    'unmap a table',
    'tlbi.last-level-only',
    () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, op: last(each.op) })),
  ],
  [
    'last level alone for a replaced table',
    'map a block over pages',
    'tlbi.last-level-only',
    () => alterTlbi(['RIPAS2E1IS'], (each) => ({ ...each, op: 'RIPAS2LE1IS' })),
  ],
  [
    'EL2: last level alone for a removed table',
    'EL2: unmap',
    'tlbi.last-level-only',
    () => alterTlbi(['VAE2IS'], (each) => ({ ...each, op: last(each.op) })),
  ],
  [
    'one address for a replaced table',
    'map a block over pages',
    'tlbi.range-too-small',
    () => alterTlbi(['RIPAS2E1IS'], ({ type, address }) => ({ type, op: 'IPAS2E1IS', address })),
  ],
  ['this PE alone', 'unmap a page', 'tlbi.local', () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, op: ownPe(each.op) }))],
  ['EL2: this PE alone', 'EL2: unmap', 'tlbi.local', () => alterTlbi([], (each) => ({ ...each, op: ownPe(each.op) }))],
  [
    'range too short',
    'unmap a range, flushed at the end',
    'tlbi.range-too-small',
    () => alterTlbi(['RIPAS2E1IS'], (each) => ({ ...each, bytes: 7 * PAGE })),
  ],
  [
    'range shifted',
    'unmap a range, flushed at the end',
    'tlbi.range-too-small',
    () => alterTlbi(['RIPAS2E1IS'], (each) => ({ ...each, address: 3 * PAGE })),
  ],
  [
    'range from the page that faulted on instead of the replaced table',
    'map a block over pages',
    'tlbi.range-too-small',
    () => alterTlbi(['RIPAS2E1IS'], (each) => ({ ...each, address: 5 * PAGE })),
  ],
  [
    'range behind the replaced block',
    'map a page in a block',
    'tlbi.range-too-small',
    () => alterTlbi(['IPAS2E1IS'], ({ type }) => ({ type, op: 'RIPAS2E1IS', address: BLOCK, bytes: BLOCK })),
  ],
  [
    'the next page',
    'unmap a page',
    'tlbi.wrong-address',
    () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, address: (each.address ?? 0) + PAGE })),
  ],
  [
    'the output address instead of the IPA',
    'replace a page',
    'tlbi.wrong-address',
    () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, address: OUTPUT + PAGE })),
  ],
  ['another VMID', 'unmap a page', 'tlbi.wrong-vmid', () => alterTlbi([], (each) => ({ ...each, vmid: 2 }))],
  ['EL2 instead of stage 2', 'unmap a page', 'tlbi.wrong-regime', () => alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, op: 'VALE2IS' }))],
  ['EL2: EL1&0 instead', 'EL2: unmap', 'tlbi.wrong-regime', () => alterTlbi([], (each) => ({ ...each, op: each.op.replace('E2', 'E1') }))],
  ['EL1&0: another ASID', 'EL1&0: replace a page', 'tlbi.wrong-asid', () => alterTlbi([], (each) => ({ ...each, op: 'VALE1IS', asid: 2 }))],
  [
    'EL1&0: the leaves of a replaced table before the table',
    'EL1&0: map a block over pages',
    'tlbi.leaves-too-early',
    () =>
      alterTlbi([], ({ type, op, address }) => (op === 'VAAE1IS' ? { type, op: 'RVAALE1IS', address, bytes: BLOCK } : { type, op: 'VAAE1IS', address })),
  ],
  ['EL1&0: no invalidation', 'EL1&0: replace a page', 'tlbi.missing', () => drop(tlbi())],
  ['EL1&0: no DSB after map', 'EL1&0: map and use', 'use.before-dsb', () => drop(dsbOf('ishst'))],
  ['EL1&0: no ISB after map', 'EL1&0: map and use', 'use.before-isb', () => drop(isb)],
  ['EL1&0: no ISB after unmap', 'EL1&0: unmap and touch', 'use.before-isb', () => drop(isb)],
  ['a table freed before its invalidation', 'unmap a table', 'table.freed-in-use', () => moveFreeForward()],
  [
    'a table freed while linked',
    'unmap a table',
    'table.freed-while-linked',
    () => moveBehind((effect) => effect.type === 'write' && effect.level < 3 && breaks(effect), isFree),
  ],
  [
    'no invalidation of a removed table',
    'unmap a table',
    'table.freed-in-use',
    () => drop((effect) => effect.type === 'tlbi' && effect.op === 'IPAS2E1IS' && effect.level === undefined),
  ],
  ['a VMID reused without invalidation', 'reuse a VMID', 'context.vmid-reuse', () => drop(tlbi())],
  ['a VMID reused before the invalidation is complete', 'reuse a VMID', 'context.vmid-reuse', () => drop(dsbAfter())],
  [
    'a VMID reused after an invalidation on one PE',
    'reuse a VMID',
    'context.vmid-reuse',
    () => alterTlbi([], (each) => ({ ...each, op: 'VMALLS12E1' })),
  ],
];

/** The page of a table goes right after the entry that pointed to it, before anything is invalidated. */
function moveFreeForward(): Change {
  let freed = false;
  return (effect) => {
    if (effect.type === 'write' && effect.level === 2 && breaks(effect)) {
      freed = true;
      return [effect, { type: 'free', table: effect.old[0] - (effect.old[0] % PAGE), pages: 1, deferred: false }];
    }
    return freed && isFree(effect) ? [] : [effect];
  };
}

function rulesBroken({ setup, run }: Scenario, change: Change): readonly string[] {
  const judge = newJudge();
  const sink = changing(judge, change, (level) => entrySpan(setup.format.granule, level));
  run(new Machine(setup, sink));
  return judge.finish().violations.map((each) => each.rule.id);
}

describe('without a fault', () => {
  it.each(Object.entries(SCENARIOS))('%s is clean', (_, scenario) => {
    expect(rulesBroken(scenario, (effect) => [effect])).toEqual([]);
  });
});

describe('each seeded fault is caught by its rule', () => {
  it.each(FAULTS)('%s (%s): %s', (_, scenario, rule, change) => {
    expect(rulesBroken(SCENARIOS[scenario], change())[0]).toBe(rule);
  });

  it('there are at least 30', () => {
    expect(new Set(FAULTS.map(([name]) => name)).size).toBeGreaterThanOrEqual(30);
  });
});

describe('an access by a translation that is gone', () => {
  const read: Effect = { type: 'access', access: 'read', address: PAGE, output: OUTPUT + PAGE, bytes: 8, regime: 's2', vmid: 1, pe: 1 };

  function exposedBy(change: Change, before: boolean): readonly (readonly [string, boolean])[] {
    const judge = newJudge();
    const { table } = new Machine(
      STAGE2,
      changing(judge, change, (level) => entrySpan('4K', level)),
    );
    table.map(0, 4 * PAGE, OUTPUT, {});
    table.unmap(PAGE, PAGE, { tlbi: before ? 'none' : 'each' });
    judge.effect(read);
    const { events, violations } = judge.verdict();
    return violations.map(({ rule, exposed }) => [rule.id, exposed === events] as const);
  }

  it('is told at once where an invalidation missed it and was completed', () => {
    expect(
      exposedBy(
        alterTlbi(['IPAS2E1IS'], (each) => ({ ...each, level: 2 })),
        false,
      ),
    ).toEqual([['tlbi.wrong-level', true]]);
    expect(exposedBy(drop(tlbi('VMALLE1IS')), false)).toEqual([['tlbi.stage1-missing', true]]);
  });

  it('is legal before the invalidation, and while it is not complete', () => {
    expect(exposedBy((effect) => [effect], true)).toEqual([]);
    expect(exposedBy(drop(dsbAfter('IPAS2E1IS', 'VMALLE1IS')), false)).toEqual([]);
  });
});
