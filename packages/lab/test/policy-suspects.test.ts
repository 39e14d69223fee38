import { armv8 } from '@granule/armv8';
import { contextFormats, createJudge, violationText, type Violation } from '@granule/cache-tlb';
import { expandEffect } from '@granule/conformance';
import type { ContextFormat, Effect, EffectSink } from '@granule/contract';
import { entrySpan, stage1Geometry } from '@granule/geometry';
import {
  Backing, createVm, DownwardVa, guestAbort, HYP_POLICIES, hypLayout, HypMappings, type HypPolicy, kernelProfile, notifierUnmap, setMemoryRegion, type Vm, VmidAllocator,
  type VmOptions,
} from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import { createPageTable } from '@granule/pgtable';
import { describe, expect, it } from 'vitest';
import { must, random } from './maintenance-rig.js';

const G = 2 ** 30;
const PAGE = 4096;
const FEATURES = { ...armv8.registers.features({ ID_AA64MMFR0_EL1: 0x1122n, CTR_EL0: 0x8444_c004n }), ttl: true };

/** A judge, and everything that it heard, entry by entry. */
function judged() {
  const judge = createJudge({ format: contextFormats({ armv8 }) });
  const log: Effect[] = [];
  const sink: EffectSink = {
    effect: (run) => {
      for (const each of expandEffect(run, (level) => entrySpan('4K', level))) {
        log.push(each);
        judge.effect(each);
      }
    },
  };
  /** The first violation, with the event that is to blame. */
  const first = (): { readonly rule: string; readonly blamed: Effect; readonly text: string } | undefined => {
    const violation: Violation | undefined = judge.finish().violations.at(0);
    return violation && { rule: violation.rule.id, blamed: log[violation.cause - 1], text: violationText(violation) };
  };
  return { judge, log, sink, first };
}

const memoryAt = (physical: number) =>
  ({ start: 0, bytes: 64 * PAGE, kind: 'anonymous', pageBytes: PAGE, memory: 'normal', writable: true, physical, leafBytes: PAGE }) as const;

function vmOn(sink: EffectSink, vmids: VmidAllocator, base: number, options: Partial<VmOptions> = {}): Vm {
  const hostMemory = new Backing(PAGE);
  hostMemory.add(memoryAt(4 * G));
  const vm = must(createVm({
    backend: armv8, kernel: kernelProfile('7.2'), host: { granule: '4K', vaBits: 48, features: FEATURES, hardwareAccessFlag: false, tlbRange: false },
    memory: createTableArena({ pageShift: 12, base, maxPages: 64, initialPages: 64 }), hostMemory, vmids, sink, ...options,
  }));
  vm.addVcpu();
  must(setMemoryRegion(vm, { slot: 0, ipa: G, size: 64 * PAGE, hva: 0 }));
  return vm;
}

/** A translation fault of a write (ESR_EL2: EC 0x24, IL, WnR, DFSC 0b000111). */
const fault = (vm: Vm, ipa: number): void => void must(guestAbort(vm, vm.vcpus[0], { esr: 0x9200_0047n, far: 0n, ipa }));

describe('invalidation that is left out at an unmapping', () => {
  const remapped = (invalidation: VmOptions['invalidation']): ReturnType<ReturnType<typeof judged>['first']> => {
    const { sink, first } = judged();
    const hostMemory = new Backing(PAGE);
    hostMemory.add(memoryAt(4 * G));
    const vm = vmOn(sink, new VmidAllocator(8), 2 ** 38, { invalidation, hostMemory });
    vm.load(vm.vcpus[0], 0);
    // Two pages, so that the table stays when one goes: a table that is freed is invalidated at once whatever the policy.
    [G, G + PAGE].forEach((ipa) => fault(vm, ipa));
    notifierUnmap(vm, 0, PAGE);
    hostMemory.add(memoryAt(5 * G));
    fault(vm, G);
    return first();
  };

  it('is found at the write that took the page away', () => {
    const found = remapped('elided');
    expect(found?.rule).toBe('tlbi.missing');
    expect(found?.blamed).toMatchObject({ type: 'write', address: G, level: 3 });
    expect((found?.blamed as { new: Uint32Array }).new[0]).toBe(0);
  });

  it.each(['each', 'deferred', 'vm-wide'] as const)('is not left out by the policy "%s"', (policy) => {
    expect(remapped(policy)).toBeUndefined();
  });
});

describe('VMIDs', () => {
  /** Twelve VMs on two PEs with three bits of VMID, in and out; each maps a page when it first runs, and loses one now and then. */
  const fleet = (lost: (effect: Effect) => boolean) => {
    const { sink, first, log } = judged();
    const vmids = new VmidAllocator(3);
    const filter: EffectSink = { effect: (effect) => lost(effect) || sink.effect(effect) };
    const vms = Array.from({ length: 12 }, (_, i) => vmOn(filter, vmids, 2 ** 38 + i * 2 ** 24));
    const next = random(3);
    for (let i = 0; i < 150; i += 1) {
      const vm = vms[Math.floor(next() * vms.length)];
      vm.load(vm.vcpus[0], i % 2);
      if (vm.table.query(G, PAGE).length === 0) fault(vm, G);
      else if (i % 3 === 0) notifierUnmap(vm, 0, PAGE);
      if (i % 4 === 0) vm.put(i % 2);
    }
    return { found: first(), generations: vmids.generation, everything: log.filter((each) => each.type === 'tlbi' && each.op === 'ALLE1IS').length };
  };

  it('that roll over with one invalidation of all are clean', () => {
    const { found, generations, everything } = fleet(() => false);
    expect([found?.text, everything]).toEqual([undefined, generations - 1]);
    expect(generations).toBeGreaterThan(5);
  });

  it('that are given to another VM without it are caught', () => {
    const { found } = fleet(({ type, ...effect }) => type === 'tlbi' && 'op' in effect && effect.op === 'ALLE1IS');
    expect(found?.rule).toBe('context.vmid-reuse');
    expect(found?.blamed.type).toBe('context-retired');
  });
});

describe('hyp mappings that are unmapped', () => {
  const MAIR = 0xff04n;

  /** An object of the kernel is unmapped, and its hyp address then stands for another one. */
  const reused = (policy: HypPolicy): ReturnType<ReturnType<typeof judged>['first']> => {
    const { sink, first } = judged();
    const geometry = must(stage1Geometry({ granule: '4K', vaBits: 48 }));
    const memory = createTableArena({ pageShift: 12, base: 2 ** 40, maxPages: 64, initialPages: 64 });
    const table = must(createPageTable({ format: must(armv8.format('el2', { geometry, mair: MAIR })), memory, sink }));
    const format: ContextFormat = { backend: 'armv8', granule: '4K', iaBits: geometry.iaBits, oaBits: geometry.oaBits, startLevel: geometry.startLevel, mair: MAIR };
    sink.effect({ type: 'context-installed', regime: 'el2', root: table.root, format });
    const layout = must(hypLayout({ vaBits: 48, idmap: 0x4072_2000, linear: { start: 0, end: 2 * G } }));
    const hyp = new HypMappings({ policy, layout, linearOffset: G, table, privateVa: new DownwardVa(layout, 12) });
    [0x4100_0000, 0x4101_0000].forEach((phys) => must(hyp.mapPrivate(phys, PAGE, 'data')));
    const at = must(hyp.mapPrivate(0x4102_0000, PAGE, 'data'));
    must(hyp.unmap(at, PAGE));
    must(hyp.mapAt(at, PAGE, 0x4103_0000, 'data'));
    return first();
  };

  it('with the invalidation of pKVM can have their address used again', () => {
    expect(reused(HYP_POLICIES.pkvm)).toBeUndefined();
  });

  it('without one, as they were to be in 2016, cannot: EL2 may still reach the old page', () => {
    const found = reused(HYP_POLICIES['unmap-without-flush']);
    expect(found?.rule).toBe('tlbi.missing');
    expect(found?.blamed).toMatchObject({ type: 'write', level: 3 });
  });
});
