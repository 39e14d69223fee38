import { armv8 } from '@granule/armv8';
import type { Effect, EffectSink, Features } from '@granule/contract';
import {
  Backing, createVm, getDirtyLog, guestAbort, ioremap, type IoremapPolicy, kernelProfile, setMemoryRegion, setSplitChunk, unmapRange, type Vm, VmidAllocator, type VmOptions,
} from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import { print, ratio, type Row } from './measure.js';
import { GIB, must, warmUp } from './tables.js';

/** KVM's policy where it is large: 8 GiB of device memory under every policy of invalidation, and a VM of 1 TiB with its dirty pages logged. */

const MIB = 2 ** 20;
const TIB = 2 ** 40;
const PAGE = 4096;
const FEATURES: Features = {
  ...armv8.registers.features({ ID_AA64MMFR0_EL1: 0x10_1125n, ID_AA64MMFR1_EL1: 0x1021_2122n, CTR_EL0: 0x8444_c004n }), paBits: 48, ttl: true,
};

/** Invalidations one by one, as a run of effects stands for them. */
class Counts implements EffectSink {
  leaves = 0;
  tables = 0;
  ranges = 0;
  vm = 0;

  effect(effect: Effect): void {
    if (effect.type === 'write') {
      for (const each of effect.before ?? []) this.#count(each, effect.count);
      for (const each of effect.after ?? []) this.#count(each, effect.count);
    } else {
      this.#count(effect, 1);
    }
  }

  get all(): readonly number[] {
    return [this.leaves, this.tables, this.ranges, this.vm];
  }

  #count(effect: Effect, times: number): void {
    if (effect.type !== 'tlbi') return;
    if (effect.op === 'IPAS2E1IS') this[effect.level === undefined ? 'tables' : 'leaves'] += times;
    else if (effect.op === 'RIPAS2E1IS') this.ranges += times;
    else if (effect.op === 'VMALLS12E1IS') this.vm += times;
  }
}

interface Made {
  readonly vm: Vm;
  readonly host: Backing;
  readonly counts: Counts;
}

function make(options: Partial<VmOptions>, features: Partial<Features> = {}, ipaBits = 40, initialPages = 4200): Made {
  const host = new Backing(PAGE);
  const counts = new Counts();
  const vm = must(createVm({
    backend: armv8, kernel: kernelProfile('7.2'), host: { granule: '4K', vaBits: 48, features: { ...FEATURES, ...features }, hardwareAccessFlag: false, tlbRange: true },
    type: ipaBits, memory: createTableArena({ pageShift: 12, base: 2 ** 46, initialPages }), hostMemory: host, vmids: new VmidAllocator(8), sink: counts, ...options,
  }));
  vm.addVcpu();
  return { vm, host, counts };
}

const ms = (work: () => void): number => {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / 1e6;
};

type Mmio = readonly [name: string, policy: IoremapPolicy, invalidation: VmOptions['invalidation'] & string, features: Partial<Features>, counts: readonly number[]];

/** Leaves, tables, ranges, all of the VM: kvm-behaviour, device MMIO blocks. */
const MMIO: readonly Mmio[] = [
  ['4K, each', 'pages', 'each', {}, [2_097_152, 4104, 0, 0]],
  ['2M, each', 'pmd-blocks', 'each', {}, [4096, 8, 0, 0]],
  ['1G, each', 'largest-block', 'each', {}, [8, 0, 0, 0]],
  ['4K, range', 'pages', 'deferred', { s2fwb: true, tlbirange: true }, [0, 4104, 8, 0]],
  ['4K, all of the VM', 'pages', 'vm-wide', {}, [0, 4104, 0, 8]],
  ['4K, elided', 'pages', 'elided', {}, [0, 4104, 0, 0]],
];

function mmio(): void {
  const rows: Row[] = [];
  const total = ms(() => {
    for (const [name, policy, invalidation, features, expected] of MMIO) {
      const { vm, counts } = make({ invalidation }, features);
      let map = 0;
      const took = ms(() => {
        map = ms(() => must(ioremap(vm, 16 * GIB, 2 ** 39, 8 * GIB, policy)));
        unmapRange(vm, 16 * GIB, 24 * GIB);
      });
      const right = counts.all.join() === expected.join();
      rows.push({ what: name, value: `${map.toFixed(0)} + ${(took - map).toFixed(0)} ms`, limit: expected.join(' '), kept: right });
    }
  });
  print('8 GiB of device memory mapped and unmapped; TLBIs of leaves, tables, ranges, VM', [...rows, ratio('all of them', total / 1000, 2, 's')]);
}

/** An abort of a write: EC 0x24, IL, WnR, a translation fault of level 1. */
const ESR = 0x9200_0045n;

function touch(vm: Vm, start: number, bytes: number, step: number): void {
  const [vcpu] = vm.vcpus;
  for (let ipa = start; ipa < start + bytes; ipa += step) must(guestAbort(vm, vcpu, { esr: ESR, far: 0n, ipa }));
}

/** Memory of the VM by 2 MiB pages (`bytes` from TIB on), whose pages are then logged and split: ns a page of fault, protection with splitting, and collection. */
function logged(bytes: number): readonly [fault: number, split: number, collect: number] {
  const { vm, host } = make({}, { tlbirange: true }, 44, bytes / (2 * MIB) + 1024);
  must(setSplitChunk(vm, GIB));
  host.add({ start: 0, bytes, kind: 'hugetlb', pageBytes: 2 * MIB, memory: 'normal', writable: true, physical: TIB, leafBytes: 2 * MIB });
  const region = { slot: 0, ipa: TIB, size: bytes, hva: 0 };
  must(setMemoryRegion(vm, region));
  const fault = ms(() => touch(vm, TIB, bytes, 2 * MIB));
  const split = ms(() => must(setMemoryRegion(vm, { ...region, logDirty: true })));
  const dirty = vm.slots.byId(0)!.dirty!;
  dirty.fill();
  const collect = ms(() => must(getDirtyLog(vm, 0)));
  return [fault * 1e6 / (bytes / (2 * MIB)), split * 1e6 / (bytes / PAGE), collect * 1e6 / (bytes / PAGE)];
}

/** 1 TiB: half by 1 GiB, half by 2 MiB pages; 64 GiB of it logged and split. */
function large(): Row[] {
  const { vm, host } = make({}, { tlbirange: true }, 44, 64 * 512 + 2048);
  must(setSplitChunk(vm, GIB));
  const kind = { kind: 'hugetlb', memory: 'normal', writable: true } as const;
  host.add({ ...kind, start: 0, bytes: TIB / 2, pageBytes: GIB, physical: TIB, leafBytes: GIB });
  host.add({ ...kind, start: TIB / 2, bytes: TIB / 2, pageBytes: 2 * MIB, physical: 2 * TIB, leafBytes: 2 * MIB });
  const parts = [[0, 32 * GIB], [32 * GIB, TIB / 2 - 32 * GIB], [TIB / 2, 32 * GIB], [TIB / 2 + 32 * GIB, TIB / 2 - 32 * GIB]] as const;
  const regions = parts.map(([at, size], slot) => ({ slot, ipa: TIB + at, size, hva: at }));
  for (const region of regions) must(setMemoryRegion(vm, region));
  const faults = ms(() => {
    touch(vm, TIB, TIB / 2, GIB);
    touch(vm, TIB + TIB / 2, TIB / 2, 2 * MIB);
  });
  const split = ms(() => {
    for (const slot of [0, 2]) must(setMemoryRegion(vm, { ...regions[slot], logDirty: true }));
  });
  const collect = ms(() => {
    for (const slot of [0, 2]) {
      vm.slots.byId(slot)!.dirty!.fill();
      must(getDirtyLog(vm, slot));
    }
  });
  return [
    { what: 'faults', value: `${faults.toFixed(0)} ms` },
    { what: '64 GiB logged, protected and split', value: `${split.toFixed(0)} ms` },
    { what: '64 GiB all dirty, collected', value: `${collect.toFixed(0)} ms` },
    ratio('in all', (faults + split + collect) / 1000, 5, 's'),
  ];
}

warmUp();
mmio();
logged(GIB);
const [one, many] = [logged(GIB), logged(64 * GIB)];
print('A VM of 1 TiB, 1 GiB and 2 MiB blocks', large());
print('64 GiB against 1 GiB, a page', [
  ratio('fault', many[0] / one[0], 2, 'x'),
  ratio('protect and split', many[1] / one[1], 2, 'x'),
  ratio('collect', many[2] / one[2], 2, 'x'),
  { what: 'ns a page: fault of 2 MiB, split, collect', value: many.map((each) => each.toFixed(1)).join(', ') },
]);
