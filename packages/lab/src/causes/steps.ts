import type { MemoryRegion } from '@granule/kvm';
import { parseAddress } from '@granule/geometry/bits';
import type { MemorySlot, Step, StepsFile } from '@granule/snapshot';
import type { TracedArea } from './host.js';

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

/** PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4 (Linux include/uapi/asm-generic/mman-common.h). */
const PROT_BITS = { PROT_READ: 1, PROT_WRITE: 2, PROT_EXEC: 4 } as const;

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

/** An address or size among the arguments of a step, by the first of these names that has one; undefined where none was recorded. */
export function addressArg({ args }: Pick<Step, 'args'>, ...names: readonly string[]): number | undefined {
  for (const name of names) {
    const value = args[name];
    const number = typeof value === 'string' ? parseAddress(value) : typeof value === 'number' && value >= 0 ? value : undefined;
    if (number !== undefined) {
      return number;
    }
  }
  return undefined;
}

/** Whether a `prot` permits an access: `PROT_READ|PROT_WRITE`, a list of names, or their bits. */
export function permits(prot: unknown, what: keyof typeof PROT_BITS): boolean {
  const bits = typeof prot === 'string' ? parseAddress(prot) : prot;
  if (typeof bits === 'number') {
    return Math.floor(bits / PROT_BITS[what]) % 2 === 1;
  }
  return (Array.isArray(prot) ? prot.map(String) : String(prot).split('|')).some((name) => name.trim() === what);
}

/** Whether the VMM was told that a call failed. */
export function failed({ result }: Pick<Step, 'result'>): boolean {
  return typeof result === 'number' ? result < 0 : typeof result === 'string' && /^(?:MAP_FAILED|-\d+|-?E[A-Z0-9]+)\b/u.test(result);
}

const UNITS: Readonly<Record<string, number>> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Bytes of a hugetlb page: as recorded, or by the kind or the flags; the default huge page is that of a PMD. */
function hugePageBytes(step: Step, kind: string, pmd: number): number {
  const text = [kind, ...(Array.isArray(step.args['flags']) ? step.args['flags'].map(String) : [])].join(' ');
  const named = /(?:hugetlb-|MAP_HUGE_)(\d+)([kmg])/iu.exec(text);
  return addressArg(step, 'hugePageSize') ?? (named === null ? pmd : Number(named[1]) * UNITS[named[2].toLowerCase()]);
}

/** The VMA that an mmap made; undefined where it made none, or none whose address is known. */
export function areaOf(step: Step, sizes: { readonly page: number; readonly pmd: number }): TracedArea | undefined {
  const start = addressArg(step, 'addr') ?? (failed(step) ? undefined : addressArg({ args: { result: step.result } }, 'result'));
  const bytes = addressArg(step, 'len', 'length');
  if (failed(step) || start === undefined || bytes === undefined) {
    return undefined;
  }
  const { prot, kind, flags } = step.args;
  const accessible = permits(prot, 'PROT_READ') || permits(prot, 'PROT_WRITE');
  const huge = (Array.isArray(flags) ? flags.join('|') : String(flags)).includes('MAP_HUGETLB');
  const text = typeof kind === 'string' ? kind : huge ? 'hugetlb' : 'unknown';
  const physical = addressArg(step, 'physicalAddress');
  return { ...backingOf(text, sizes, hugePageBytes(step, text, sizes.pmd)), start, end: start + bytes, writable: permits(prot, 'PROT_WRITE'), accessible, ...(physical === undefined ? {} : { physical }) };
}

/** Backing by the name of its kind; what is not known is ordinary memory, of which the calls tell the page size. */
function backingOf(kind: string, { page, pmd }: { readonly page: number; readonly pmd: number }, huge: number): Pick<TracedArea, 'kind' | 'pageBytes' | 'memory' | 'touched'> {
  if (kind.startsWith('hugetlb')) {
    return { kind: 'hugetlb', pageBytes: huge, memory: 'normal', touched: false };
  }
  // Write-combining of the VMM's own mapping does not reach stage 2 without VM_ALLOW_ANY_UNCACHED, which only VFIO sets.
  return kind.startsWith('pfnmap') || kind.startsWith('vfio')
    ? { kind: 'device', pageBytes: page, memory: 'device', touched: false }
    : { kind: 'anonymous', pageBytes: pmd, memory: 'normal', touched: false };
}

/** The VMA behind a slot whose mmap was not recorded: `slots.json` tells its kind. */
export function areaOfSlot({ hva, size, slot }: MemoryRegion, slots: readonly MemorySlot[], sizes: { readonly page: number; readonly pmd: number }): TracedArea {
  const kind = slots.find((each) => each.id === slot && each.hva === hva)?.kind ?? 'unknown';
  const named = /^hugetlb-(\d+)([kmg])/iu.exec(kind);
  const huge = named === null ? sizes.pmd : Number(named[1]) * UNITS[named[2].toLowerCase()];
  return { ...backingOf(kind, sizes, huge), start: hva, end: hva + size, writable: true, accessible: true, touched: true };
}

export function regionOf(step: Step): MemoryRegion | undefined {
  const [slot, flags, ipa, size, hva] = ['slot', 'flags', 'guest_phys_addr', 'memory_size', 'userspace_addr'].map((name) => addressArg(step, name));
  if (slot === undefined || size === undefined || (size !== 0 && (ipa === undefined || hva === undefined))) {
    return undefined;
  }
  const has = (flag: number): boolean => Math.floor((flags ?? 0) / flag) % 2 === 1;
  return { slot, ipa: ipa ?? 0, size, hva: hva ?? 0, logDirty: has(LOG_DIRTY_PAGES), readonly: has(READONLY) };
}

/** The value of a KVM_ENABLE_CAP, whichever way the step has it. */
export function capabilityOf(step: Step): { readonly name: string; readonly value: number } | undefined {
  const { cap, args } = step.args;
  const name = step.call.startsWith('KVM_CAP_') ? step.call : typeof cap === 'string' ? cap : undefined;
  const first = Array.isArray(args) ? addressArg({ args: { first: args[0] as unknown } }, 'first') : undefined;
  return name === undefined ? undefined : { name, value: addressArg(step, 'value', 'args0', 'args[0]', 'flags') ?? first ?? 0 };
}
