import { armv7Lpae } from '@granule/armv7-lpae';
import { armv8 } from '@granule/armv8';
import { violationText } from '@granule/cache-tlb';
import { effectText } from '@granule/conformance';
import {
  clearDirtyLog, flushVm, getDirtyLog, notifierAge, notifierEnd, notifierStart, notifierUnmap, resetVcpu, setMemoryRegion, teardown,
} from '@granule/kvm';
import { describe, expect, it } from 'vitest';
import { must, random } from './maintenance-rig.js';
import { PolicyRig, type PolicySetup } from './policy-rig.js';

/**
 * What KVM does for guests and for its host, under the adversarial TLB: long random sequences, with accesses of the guests on two PEs between their single
 * effects. Each access finds what the tables said at a moment that the architecture allows; the judge has nothing to say.
 */
const RUNS = Number(process.env['GRANULE_POLICY_RUNS'] ?? 3);
const SEED = Number(process.env['GRANULE_POLICY_SEED'] ?? 5);
const LENGTH = 50;

const A76 = { ttl: true, vmidBits: 8, paBits: 40 } as const;
const SETUPS: readonly PolicySetup[] = [
  { name: 'armv8 4K', backend: armv8, granule: '4K', kernel: '7.2', features: A76 },
  { name: 'armv8 4K, S2FWB and TLBIRANGE', backend: armv8, granule: '4K', kernel: '7.2', features: { ...A76, s2fwb: true, tlbirange: true } },
  { name: 'armv8 4K, HA', backend: armv8, granule: '4K', kernel: '7.2', features: { ...A76, haf: true } },
  { name: 'armv8 4K, TLBIRANGE, each', backend: armv8, granule: '4K', kernel: '7.2', features: { ...A76, tlbirange: true }, options: { invalidation: 'each' } },
  { name: 'armv8 4K, all of the VM', backend: armv8, granule: '4K', kernel: '6.12', features: { ...A76, s2fwb: true }, options: { invalidation: 'vm-wide' } },
  { name: 'armv8 16K', backend: armv8, granule: '16K', kernel: '7.2', features: { ...A76, granules2: ['16K'] } },
  { name: 'armv8 64K', backend: armv8, granule: '64K', kernel: '7.2', features: { ...A76, granules2: ['64K'], tlbirange: true, s2fwb: true } },
  { name: 'armv8 4K, a VMID for virtual EL2', backend: armv8, granule: '4K', kernel: '7.2', features: A76, options: { virtualEl2Vmid: true } },
  { name: 'armv7-lpae', backend: armv7Lpae, granule: '4K', kernel: '4.8', features: {} },
];

type Action = (rig: PolicyRig, pe: number, slot: number) => void;

function range(rig: PolicyRig, slot: number): readonly [number, number] {
  const { hva, size } = rig.region(slot);
  const pages = size / rig.sizes.page;
  const first = Math.floor(rig.next() * pages);
  const count = rig.next() < 0.5 ? 1 : Math.ceil(rig.next() * (pages - first));
  return [hva + first * rig.sizes.page, hva + (first + count) * rig.sizes.page];
}

const logged = ({ vm }: PolicyRig, slot: number): boolean => vm.slots.byId(slot)?.dirty !== undefined;

const ACTIONS: Readonly<Record<string, Action>> = {
  unmap: (rig, pe, slot) => rig.host(pe, () => notifierUnmap(rig.vm, ...range(rig, slot))),
  remap(rig, pe, slot) {
    const { hva, size } = rig.region(slot);
    rig.host(pe, () => {
      notifierStart(rig.vm, hva, hva + size);
      rig.back(slot, rig.next() < 0.5 ? rig.sizes.page : rig.sizes.pmd);
      notifierEnd(rig.vm, hva, hva + size);
    });
  },
  age: (rig, pe, slot) => rig.host(pe, () => notifierAge(rig.vm, ...range(rig, slot), rig.next() < 0.7, rig.next() < 0.5)),
  log: (rig, pe, slot) => rig.host(pe, () => setMemoryRegion(rig.vm, { ...rig.region(slot), ipa: rig.vm.slots.byId(slot)!.ipa, logDirty: !logged(rig, slot) })),
  collect: (rig, pe, slot) => rig.host(pe, () => getDirtyLog(rig.vm, slot)),
  clear: (rig, pe, slot) => rig.host(pe, () => clearDirtyLog(rig.vm, slot, 0, 64, (page) => page % 3 !== 1)),
  replace(rig, pe, slot) {
    rig.host(pe, () => must(setMemoryRegion(rig.vm, { ...rig.region(slot), size: 0 })));
    rig.touch(1 - pe);
    rig.host(pe, () => must(setMemoryRegion(rig.vm, rig.region(slot))));
  },
  move(rig, pe) {
    const here = rig.vm.slots.byId(1)!.ipa;
    const there = (here === 8 * rig.sizes.pmd ? 12 : 8) * rig.sizes.pmd;
    rig.host(pe, () => must(setMemoryRegion(rig.vm, { ...rig.region(1, there), logDirty: logged(rig, 1) })));
  },
  reset: (rig, pe) => rig.host(pe, () => resetVcpu(rig.vm, rig.vcpus[pe])),
  flush: (rig, pe) => rig.host(pe, () => flushVm(rig.vm)),
  migrate(rig) {
    rig.vm.put(0);
    rig.vm.put(1);
    const first = rig.next() < 0.5 ? 0 : 1;
    rig.enter(0, first);
    rig.enter(1, 1 - first);
  },
};
const NAMES = Object.keys(ACTIONS);

function runClean(setup: PolicySetup, seed: number): PolicyRig {
  const next = random(seed);
  const rig = new PolicyRig(setup, next);
  const done: string[] = [];
  try {
    for (let i = 0; i < LENGTH; i += 1) {
      const [pe, slot] = [next(), next()].map((each) => Math.floor(each * 2));
      const name = next() < 0.6 ? 'touch' : NAMES[Math.floor(next() * NAMES.length)];
      done.push(`${name} ${pe} ${slot}`);
      if (name === 'touch') rig.touch(pe);
      else ACTIONS[name](rig, pe, slot);
    }
    teardown(rig.vm);
    const { violations } = rig.judge.finish();
    if (violations.length > 0) throw new Error(violations.map(violationText).join('\n'));
  } catch (error) {
    const log = rig.log.map((each, i) => `${i + 1} PE ${'pe' in each ? each.pe : '-'} ${effectText(each)}`).slice(-60);
    throw new Error([`seed ${seed}: ${String(error)}`, done.join(', '), ...log].join('\n'), { cause: error });
  }
  return rig;
}

describe(`every operation of the policy is clean under the adversarial TLB (GRANULE_POLICY_SEED=${SEED})`, () => {
  for (const setup of SETUPS) {
    it(setup.name, () => {
      const rigs = Array.from({ length: RUNS }, (_, run) => runClean(setup, SEED * 1000 + run));
      const did = new Set(rigs.flatMap(({ handled }) => handled.map((each) => (each.kind === 'done' ? each.value.did : each.id))));
      // The runs come to what they are about: mappings, permissions that are added, exits.
      expect([...did]).toEqual(expect.arrayContaining(['mapped', 'relaxed', 'mmio']));
    }, 60_000);
  }
});
