import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { violationText } from '@granule/cache-tlb';
import { effectText } from '@granule/conformance';
import type { Effect } from '@granule/contract';
import { describe, expect, it } from 'vitest';
import { random } from './maintenance-rig.js';
import { act, isLogged } from './policy-actions.js';
import { PolicyBench } from './policy-bench.js';
import { PolicyRig, type PolicySetup } from './policy-rig.js';

/**
 * What KVM does for guests and for its host, under the adversarial TLB: long random sequences, with accesses of the guests on two PEs between their single
 * effects. Each access finds what the tables said at a moment that the architecture allows, each write to a page that is logged is in the log, and the judge has
 * nothing to say.
 */
const RUNS = Number(process.env['GRANULE_POLICY_RUNS'] ?? 3);
const SEED = Number(process.env['GRANULE_POLICY_SEED'] ?? 5);
const LENGTH = 50;

const A76 = { ttl: true, vmidBits: 8, paBits: 40 } as const;
const RANGES = { ...A76, s2fwb: true, tlbirange: true } as const;
const SETUPS: readonly PolicySetup[] = [
  { name: 'armv8 4K', backend: armv8, granule: '4K', kernel: '7.2', features: A76 },
  { name: 'armv8 4K, S2FWB and TLBIRANGE', backend: armv8, granule: '4K', kernel: '7.2', features: RANGES },
  { name: 'armv8 4K, HA', backend: armv8, granule: '4K', kernel: '7.2', features: { ...A76, haf: true } },
  { name: 'armv8 4K, TLBIRANGE, each', backend: armv8, granule: '4K', kernel: '7.2', features: { ...A76, tlbirange: true }, options: { invalidation: 'each' } },
  { name: 'armv8 4K, all of the VM', backend: armv8, granule: '4K', kernel: '6.12', features: { ...A76, s2fwb: true }, options: { invalidation: 'vm-wide' } },
  { name: 'armv8 16K', backend: armv8, granule: '16K', kernel: '7.2', features: { ...A76, granules2: ['16K'] } },
  { name: 'armv8 64K', backend: armv8, granule: '64K', kernel: '7.2', features: { ...RANGES, granules2: ['64K'] } },
  { name: 'armv8 4K, a VMID for virtual EL2', backend: armv8, granule: '4K', kernel: '7.2', features: A76, options: { virtualEl2Vmid: true } },
  { name: 'armv7-lpae', backend: armv7Lpae, granule: '4K', kernel: '4.8', features: {} },
];

/** Dirty logging, with eager split: in chunks, as logging begins or as masks are cleared; by hand, or with every page dirty to begin with. */
const LOGGING: readonly PolicySetup[] = [
  { name: 'armv8 4K, split by 2M', backend: armv8, granule: '4K', kernel: '7.2', features: A76, splitChunk: 'pmd' },
  { name: 'armv8 4K, split by pages, TLBIRANGE, cleared by hand', backend: armv8, granule: '4K', kernel: '7.2', features: RANGES, splitChunk: 'page', manualDirtyLog: 1 },
  { name: 'armv8 4K, split by 2M, HA, all dirty to begin with', backend: armv8, granule: '4K', kernel: '6.12', features: { ...A76, haf: true }, splitChunk: 'pmd', manualDirtyLog: 3 },
  { name: 'armv8 16K, split by 32M', backend: armv8, granule: '16K', kernel: '7.2', features: { ...A76, granules2: ['16K'] }, splitChunk: 'pmd' },
  { name: 'armv7-lpae, without', backend: armv7Lpae, granule: '4K', kernel: '4.8', features: {} },
];

/** One step of a run, at random; answers its name. */
type Step = (rig: PolicyRig, pe: number, slot: number, at: number) => string;

const anything: Step = (rig, pe, slot) => (rig.next() < 0.6 ? touched(rig, pe) : rig.next() < 0.1 ? migrated(rig) : act(rig, pe, slot));

/** Half of the time both slots are logged, and the guests write while their log is read and cleared; then they are not, and what is written next collapses. */
const logging: Step = (rig, pe, slot, at) => {
  const on = at % LENGTH < LENGTH / 2;
  if (isLogged(rig, slot) !== on) return act(rig, pe, slot, ['log']);
  return rig.next() < 0.8 ? touched(rig, pe) : act(rig, pe, slot, on ? ['collect', 'clear', 'age', 'unmap'] : ['age']);
};

function runClean(setup: PolicySetup, seed: number, step: Step, length: number, lost?: (effect: Effect) => boolean): PolicyRig {
  const next = random(seed);
  const rig = new PolicyRig(setup, next, new PolicyBench(setup, next, lost));
  const done: string[] = [];
  try {
    for (const pe of [0, 1]) rig.enter(pe);
    for (let i = 0; i < length; i += 1) {
      const [pe, slot] = [next(), next()].map((each) => Math.floor(each * 2));
      done.push(`${step(rig, pe, slot, i)} ${pe} ${slot}`);
    }
    rig.end(0);
    const { violations } = rig.bench.judge.finish();
    if (violations.length > 0) throw new Error(violations.map(violationText).join('\n'));
  } catch (error) {
    const log = rig.bench.log.map((each, i) => `${i + 1} PE ${'pe' in each ? each.pe : '-'} ${effectText(each)}`).slice(-60);
    throw new Error([`seed ${seed}: ${String(error)}`, done.join(', '), ...log].join('\n'), { cause: error });
  }
  return rig;
}

function touched(rig: PolicyRig, pe: number): string {
  rig.touch(pe);
  return 'touch';
}

/** Both vCPUs leave their PEs, and come back to them or change places. */
function migrated(rig: PolicyRig): string {
  const first = rig.next() < 0.5 ? 0 : 1;
  for (const pe of [0, 1]) rig.leave(pe);
  rig.enter(0, first);
  rig.enter(1, 1 - first);
  return 'migrate';
}

const runs = (setup: PolicySetup, step: Step, length = LENGTH): readonly PolicyRig[] =>
  Array.from({ length: RUNS }, (_, run) => runClean(setup, SEED * 1000 + run, step, length));

describe(`every operation of the policy is clean under the adversarial TLB (GRANULE_POLICY_SEED=${SEED})`, () => {
  for (const setup of SETUPS) {
    it(setup.name, () => {
      const rigs = runs(setup, anything);
      const did = new Set(rigs.flatMap(({ handled }) => handled.map((each) => (each.kind === 'done' ? each.value.did : each.id))));
      expect([...did]).toEqual(expect.arrayContaining(['mapped', 'mmio']));
    }, 60_000);
  }
});

describe(`so is dirty logging, eager split and collapse included (GRANULE_POLICY_SEED=${SEED})`, () => {
  for (const setup of LOGGING) {
    it(setup.name, () => {
      const rigs = runs(setup, logging, 2 * LENGTH);
      const calls = ['s2_wrprotect', 's2_relax_perms', ...(setup.splitChunk === undefined ? [] : ['s2_split'])];
      expect([...new Set(rigs.flatMap(({ told }) => [...told]))]).toEqual(expect.arrayContaining(calls));
      // A table that is freed after a grace period was replaced by a block: its pages collapsed.
      expect(rigs.some(({ bench }) => bench.log.some((each) => each.type === 'free' && each.deferred))).toBe(true);
    }, 60_000);
  }
});

describe('without the flush after write protection', () => {
  it('a guest writes to a page that the log does not have', () => {
    // Of the whole slot, by range.
    const lost = (effect: Effect): boolean => effect.type === 'tlbi' && effect.bytes === 2 * 2 ** 21;
    const found = Array.from({ length: 8 }, (_, run) => {
      try {
        runClean(LOGGING[1], SEED * 1000 + run, logging, 2 * LENGTH, lost);
        return '';
      } catch (error) {
        return String(error);
      }
    });
    expect(found.filter((each) => /a write at 0x[0-9a-f]+ is not in the log of dirty pages/.test(each))).not.toEqual([]);
  }, 60_000);
});
