import type { Effect } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { allSetWays, encodeSetWay, type MachineOptions, type Pe } from '../../src/index.js';
import { must } from '../tlb/support.js';
import { CACHED, cachedGuest, CACHES, OUTPUT, SHAPE, told, UNCACHED, valueOf } from './cached-guest.js';

const PAGE = 4096;
const NEW_IPA = 0x5000n;
const NEW_PA = 0x20_0000;
const cmo =
  (...ops: readonly string[]) =>
  (effect: Effect): boolean =>
    effect.type === 'cmo' && ops.includes(effect.op);
const nothing = (): boolean => false;

type Made = ReturnType<typeof cachedGuest>;

/** As a guest with its caches off: stage 1 is off, and nothing makes it Normal. */
function cachesOff(pe: Pe): void {
  pe.writeRegister('HCR_EL2', (1n << 31n) | 1n);
  pe.isb();
}

/** What a hypervisor does with a page, and what a guest then reads: 42 where all is well. */
interface Scenario {
  readonly options?: Partial<MachineOptions>;
  readonly run: (made: Made, broken: boolean) => bigint | undefined;
}

const bytes = (value: number): Uint8Array => Uint8Array.of(value, 0, 0, 0, 0, 0, 0, 0);

/** Every set and way of the level-1 cache of one PE. */
function flushOwn(pe: Pe): void {
  for (const each of allSetWays(1, SHAPE)) pe.maintenance.bySetWay('CISW', Math.floor(encodeSetWay(each, SHAPE, 64) / 16), 0);
  for (const each of allSetWays(2, CACHES.outer)) pe.maintenance.bySetWay('CISW', Math.floor(encodeSetWay(each, CACHES.outer, 64) / 16), 1);
  pe.maintenance.dsb('sy');
}

/** The guest writes on PE 1, goes on on PE 0 and flushes "its" cache by set/way, which traps; what then is done is `emulate`. */
function setWay({ machine }: Made, emulate: () => void): bigint | undefined {
  const [first, second] = machine.pes;
  second.write('el10', CACHED, 42n);
  first.writeRegister('HCR_EL2', (1n << 31n) | (1n << 12n) | (1n << 22n) | 1n);
  first.isb();
  machine.handler = {
    trap: (_, trap) => {
      if (trap.kind === 'operation') emulate();
      return { kind: 'skip' };
    },
  };
  first.maintenance.bySetWay('CISW', 0, 0, 'el1');
  return valueOf(first, UNCACHED);
}

const SCENARIOS = {
  'a new page, read by a guest with its caches off': {
    run: ({ machine, map }) => {
      machine.store(0, NEW_PA, bytes(42));
      map(NEW_IPA, NEW_PA, 'normal');
      cachesOff(machine.pes[1]);
      return valueOf(machine.pes[1], NEW_IPA);
    },
  },
  'new code in a page from which another guest executed': {
    run: ({ machine, table, map }) => {
      const [, pe] = machine.pes;
      map(NEW_IPA, NEW_PA, 'normal');
      pe.fetch('el10', NEW_IPA);
      must(table.unmap(Number(NEW_IPA), PAGE));
      machine.store(0, NEW_PA, bytes(42));
      map(NEW_IPA, NEW_PA, 'normal');
      return valueOf(pe, NEW_IPA, true);
    },
  },
  'a page that a guest wrote past the caches is taken from it': {
    run: ({ machine, table }) => {
      const [host, pe] = machine.pes;
      valueOf(host, CACHED);
      pe.write('el10', UNCACHED, 42n);
      must(table.unmap(Number(CACHED), 2 * PAGE));
      machine.pes[0].maintenance.dsb('ish');
      return mapped(machine.pes[0], table);
    },
  },
  'a guest flushes by set/way': {
    run: (made, broken) =>
      setWay(made, () => {
        if (broken) flushOwn(made.machine.pes[0]);
        else must(made.table.flush(0, 16 * PAGE));
      }),
  },
  'a guest flushes by set/way, and every PE does it': {
    options: { caches: { ...CACHES, system: { ...SHAPE, sets: 64 } } },
    run: (made, broken) =>
      setWay(made, () => {
        if (broken) made.machine.pes.forEach(flushOwn);
        else must(made.table.flush(0, 16 * PAGE));
      }),
  },
  'maintenance by a guest, late': {
    options: { choose: () => 0 },
    run: ({ machine }, broken) => {
      const [pe] = machine.pes;
      pe.write('el10', CACHED, 42n);
      pe.maintenance.byAddress('CVAC', 'el10', CACHED);
      pe.maintenance.dsb(broken ? 'ishst' : 'sy');
      return valueOf(pe, UNCACHED);
    },
  },
  'DC IVAC of a guest, which cleans because of stage 2': {
    run: ({ machine }, broken) => {
      const [pe] = machine.pes;
      pe.write('el10', CACHED, 42n);
      pe.maintenance.byAddress('IVAC', 'el10', CACHED, broken ? 'el2' : 'el1');
      return valueOf(pe, CACHED);
    },
  },
  'new code of a guest': {
    run: ({ machine }, broken) => {
      const [pe, other] = machine.pes;
      other.fetch('el10', CACHED);
      pe.write('el10', CACHED, 42n);
      pe.maintenance.byAddress('CVAU', 'el10', CACHED);
      pe.maintenance.dsb('ish');
      pe.maintenance.instructions(!broken);
      pe.maintenance.dsb('ish');
      return valueOf(other, CACHED, true);
    },
  },
  'new code of a guest at two addresses of a virtually indexed cache': {
    options: { caches: { ...CACHES, instruction: { sets: 512, ways: 1, replacement: 'lru', index: 'virtual' } } },
    run: ({ machine, map }, broken) => {
      const [pe] = machine.pes;
      map(NEW_IPA, OUTPUT, 'normal');
      pe.fetch('el10', NEW_IPA);
      pe.write('el10', CACHED, 42n);
      pe.maintenance.byAddress('CVAU', 'el10', CACHED);
      pe.maintenance.dsb('ish');
      if (broken) pe.maintenance.byAddress('IVAU', 'el10', CACHED);
      else pe.maintenance.instructions(true);
      pe.maintenance.dsb('ish');
      pe.isb();
      return valueOf(pe, NEW_IPA, true);
    },
  },
} as const satisfies Record<string, Scenario>;

/** The page mapped anew, cacheable, and read. */
function mapped(pe: Pe, table: Made['table']): bigint | undefined {
  must(table.map(Number(NEW_IPA), PAGE, OUTPUT, {}));
  return valueOf(pe, NEW_IPA);
}

/** One fault in cache maintenance each: what it does, to what, and the rule that tells why the value is wrong. */
const FAULTS: readonly (readonly [name: string, scenario: keyof typeof SCENARIOS, rule: string, lost: (effect: Effect) => boolean])[] = [
  ['no clean of a new page', 'a new page, read by a guest with its caches off', 'data.stale-read', cmo('dc-civac')],
  ['no invalidation of instructions of a new page', 'new code in a page from which another guest executed', 'code.stale-instructions', cmo('ic-ivau')],
  ['no clean of a new page of code', 'new code in a page from which another guest executed', 'code.stale-instructions', cmo('dc-civac', 'ic-ivau')],
  ['no maintenance of a page that is taken, nor of it as a new one', 'a page that a guest wrote past the caches is taken from it', 'data.stale-read', cmo('dc-civac')],
  ['set/way emulated by set/way on the PE of the vCPU', 'a guest flushes by set/way', 'cache.set-way-not-enough', nothing],
  ['set/way emulated by set/way on every PE', 'a guest flushes by set/way, and every PE does it', 'cache.set-way-not-enough', nothing],
  ['a DSB of stores alone after a clean', 'maintenance by a guest, late', 'data.stale-read', nothing],
  ['an invalidation that does not clean', 'DC IVAC of a guest, which cleans because of stage 2', 'data.lost-dirty-line', nothing],
  ['instructions invalidated on one PE', 'new code of a guest', 'code.stale-instructions', nothing],
  ['instructions invalidated at one of two addresses', 'new code of a guest at two addresses of a virtually indexed cache', 'code.stale-instructions', nothing],
];

function outcome(scenario: Scenario, broken: boolean, lost: (effect: Effect) => boolean): { readonly value: bigint | undefined; readonly rules: readonly string[] } {
  const made = cachedGuest(scenario.options, broken ? lost : nothing, { fwb: false, dic: false });
  const value = scenario.run(made, broken);
  return { value, rules: told(made.judge.verdict()).map(([rule]) => rule) };
}

describe('each fault in cache maintenance is seen by a guest, and told', () => {
  it.each(FAULTS)('%s (%s): %s', (_, name, rule, lost) => {
    const { value, rules } = outcome(SCENARIOS[name], true, lost);
    expect(value).not.toBe(42n);
    expect(rules[0]).toBe(rule);
  });

  it.each(Object.keys(SCENARIOS) as (keyof typeof SCENARIOS)[])('without it: %s', (name) => {
    expect(outcome(SCENARIOS[name], false, nothing)).toEqual({ value: 42n, rules: [] });
  });
});
