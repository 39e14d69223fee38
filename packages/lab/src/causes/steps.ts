import type { HostArea, MemoryRegion } from '@granule/kvm';
import { parseAddress } from '@granule/geometry/bits';
import type { Step, StepsFile } from '@granule/snapshot';

/** A step that matters to memory management, with the number of the event before which it happened. */
export interface PlacedStep {
  readonly n: number;
  readonly call: string;
  readonly before: number;
  readonly step: Step;
}

/** KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY (Linux include/uapi/linux/kvm.h). */
const LOG_DIRTY_PAGES = 1;
const READONLY = 2;

/** The steps that took place in one trace, in program order. */
export function placeSteps({ steps }: StepsFile, trace: string): readonly PlacedStep[] {
  const placed: PlacedStep[] = [];
  let before = 0;
  for (const step of steps) {
    const { events, after, before: next } = step;
    if ((after ?? next ?? { trace }).trace !== trace) {
      continue;
    }
    before = Math.max(before, events === undefined ? (after?.event ?? -1) + 1 : events[0]);
    placed.push({ n: step.n, call: step.call, before, step });
  }
  return placed;
}

/** An address or size among the arguments of a step; undefined where it was not recorded. */
export function addressArg({ args }: Step, name: string): number | undefined {
  const value = args[name];
  return typeof value === 'string' ? parseAddress(value) : typeof value === 'number' ? value : undefined;
}

/** The VMA that an mmap made; undefined where it made none, or none that is known. */
export function areaOf(step: Step, sizes: { readonly page: number; readonly pmd: number }): HostArea | undefined {
  const start = addressArg(step, 'addr');
  const bytes = addressArg(step, 'len');
  const { kind } = step.args;
  if (step.result === 'MAP_FAILED' || start === undefined || bytes === undefined || typeof kind !== 'string') {
    return undefined;
  }
  const area = { start, end: start + bytes, writable: String(step.args['prot']).includes('PROT_WRITE') };
  if (kind.startsWith('hugetlb')) {
    return { ...area, kind: 'hugetlb', pageBytes: addressArg(step, 'hugePageSize') ?? sizes.pmd, memory: 'normal' };
  }
  if (kind.startsWith('pfnmap')) {
    const physical = addressArg(step, 'physicalAddress');
    // Write-combining of the VMM's own mapping does not reach stage 2 without VM_ALLOW_ANY_UNCACHED, which only VFIO sets.
    return { ...area, kind: 'device', pageBytes: sizes.page, memory: 'device', ...(physical === undefined ? {} : { physical }) };
  }
  return kind.startsWith('anon') ? { ...area, kind: 'anonymous', pageBytes: sizes.pmd, memory: 'normal' } : undefined;
}

export function regionOf(step: Step): MemoryRegion | undefined {
  const [slot, flags, ipa, size, hva] = ['slot', 'flags', 'guest_phys_addr', 'memory_size', 'userspace_addr'].map((name) => addressArg(step, name));
  if (slot === undefined || ipa === undefined || size === undefined || hva === undefined) {
    return undefined;
  }
  const has = (flag: number): boolean => Math.floor((flags ?? 0) / flag) % 2 === 1;
  return { slot, ipa, size, hva, logDirty: has(LOG_DIRTY_PAGES), readonly: has(READONLY) };
}
