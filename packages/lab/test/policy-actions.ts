import {
  clearDirtyLog, flushVm, getDirtyLog, notifierAge, notifierEnd, notifierStart, notifierUnmap, resetVcpu, setMemoryRegion,
} from '@granule/kvm';
import { must } from './maintenance-rig.js';
import type { PolicyRig } from './policy-rig.js';

export type Action = (rig: PolicyRig, pe: number, slot: number) => void;

const WORD_PAGES = 64;

function range(rig: PolicyRig, slot: number): readonly [number, number] {
  const { hva, size } = rig.region(slot);
  const pages = size / rig.sizes.page;
  const first = Math.floor(rig.next() * pages);
  const count = rig.next() < 0.5 ? 1 : Math.ceil(rig.next() * (pages - first));
  return [hva + first * rig.sizes.page, hva + (first + count) * rig.sizes.page];
}

export const isLogged = ({ vm }: PolicyRig, slot: number): boolean => vm.slots.byId(slot)?.dirty !== undefined;

/** KVM_CLEAR_DIRTY_LOG of some words, and in them of some pages. */
function clear(rig: PolicyRig, pe: number, slot: number): void {
  const words = rig.region(slot).size / rig.sizes.page / WORD_PAGES;
  const first = Math.floor(rig.next() * words);
  const count = Math.ceil(rig.next() * (words - first));
  const every = 1 + Math.floor(rig.next() * 3);
  rig.host(pe, () => clearDirtyLog(rig.vm, slot, first * WORD_PAGES, count * WORD_PAGES, (page) => page % every === 0));
}

/** What a host does to a VM that runs. */
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
  log: (rig, pe, slot) => rig.host(pe, () => must(setMemoryRegion(rig.vm, { ...rig.region(slot), ipa: rig.vm.slots.byId(slot)!.ipa, logDirty: !isLogged(rig, slot) }))),
  collect: (rig, pe, slot) => rig.host(pe, () => getDirtyLog(rig.vm, slot)),
  clear,
  replace(rig, pe, slot) {
    rig.host(pe, () => must(setMemoryRegion(rig.vm, { ...rig.region(slot), size: 0 })));
    if (rig.bench.running[1 - pe] === rig) rig.touch(1 - pe);
    rig.host(pe, () => must(setMemoryRegion(rig.vm, rig.region(slot))));
  },
  move(rig, pe) {
    const here = rig.vm.slots.byId(1)!.ipa;
    const there = (here === 8 * rig.sizes.pmd ? 12 : 8) * rig.sizes.pmd;
    rig.host(pe, () => must(setMemoryRegion(rig.vm, { ...rig.region(1, there), logDirty: isLogged(rig, 1) })));
  },
  reset: (rig, pe) => rig.host(pe, () => resetVcpu(rig.vm, rig.vcpus[pe])),
  flush: (rig, pe) => rig.host(pe, () => flushVm(rig.vm)),
};

/** One action of these, drawn at random. Answers its name. */
export function act(rig: PolicyRig, pe: number, slot: number, names: readonly string[] = Object.keys(ACTIONS)): string {
  const name = names[Math.floor(rig.next() * names.length)];
  ACTIONS[name](rig, pe, slot);
  return name;
}
