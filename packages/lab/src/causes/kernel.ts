import type { KernelProfile } from '@granule/kvm';
import type { TracedEvent } from '../replay/trace-pass.js';

/** KVM_PGTABLE_WALK_SHARED (Linux kvm_pgtable.h): a fault's walk, and not that of an ioremap. */
const WALK_SHARED = 8;

/** A profile after the trace had its say, and what it said. */
export interface TracedKernel {
  readonly kernel: KernelProfile;
  readonly given: readonly string[];
}

/**
 * A version does not settle everything: stable kernels get changes of later ones. Constants of a kernel that all of its calls agree on are taken from them, and
 * told as given: the walker flags of faults, and whether a page's address is that of the fault, to 4 KiB, where pages are larger.
 */
export function kernelAsTraced(profile: KernelProfile, events: readonly TracedEvent[], pageBytes: number): TracedKernel {
  const given: string[] = [];
  let kernel = profile;
  const mapFlags = unanimous(events, 's2_map', (flags) => Math.floor(flags / WALK_SHARED) % 2 === 1);
  if (mapFlags !== undefined && mapFlags !== kernel.mapFlags) {
    given.push(`walker flags ${hexOf(mapFlags)} of s2_map, where Linux ${profile.version} has ${hexOf(profile.mapFlags)}`);
    kernel = { ...kernel, mapFlags };
  }
  const relaxFlags = profile.relaxFlags === undefined ? undefined : unanimous(events, 's2_relax_perms', () => true);
  if (relaxFlags !== undefined && relaxFlags !== kernel.relaxFlags) {
    given.push(`walker flags ${hexOf(relaxFlags)} of s2_relax_perms, where Linux ${profile.version} has ${hexOf(profile.relaxFlags ?? 0)}`);
    kernel = { ...kernel, relaxFlags };
  }
  const faultAddress = addressRule(events, pageBytes);
  if (faultAddress !== undefined && faultAddress !== kernel.faultAddress) {
    given.push(`addresses of page mappings ${faultAddress === 'page' ? 'aligned to the page' : 'as in the fault'}, unlike Linux ${profile.version}`);
    kernel = { ...kernel, faultAddress };
  }
  return { kernel, given };
}

const hexOf = (flags: number): string => `0x${flags.toString(16)}`;

/** The one value that the flags of a function have; undefined where there are none, or several. */
function unanimous(events: readonly TracedEvent[], name: 's2_map' | 's2_relax_perms', counts: (flags: number) => boolean): number | undefined {
  const values = new Set<number>();
  for (const { decoded } of events) {
    if (decoded?.event === name && decoded.fields.flags !== undefined && counts(decoded.fields.flags)) {
      values.add(decoded.fields.flags);
    }
  }
  return values.size === 1 ? [...values][0] : undefined;
}

/** What the faults on later parts of a page say: mapped at their own address, or at that of the page. */
function addressRule(events: readonly TracedEvent[], pageBytes: number): KernelProfile['faultAddress'] | undefined {
  const faults = new Map<number, number>();
  for (const { decoded, source } of events) {
    if (decoded?.event === 'kvm_guest_fault') {
      faults.set(source.pid, decoded.fields.ipa);
    } else if (decoded?.event === 's2_map') {
      const ipa = faults.get(source.pid) ?? 0;
      const { addr, size } = decoded.fields;
      faults.delete(source.pid);
      if (ipa % pageBytes !== 0 && size === pageBytes && addr - (addr % pageBytes) === ipa - (ipa % pageBytes)) {
        return addr === ipa ? 'fault' : 'page';
      }
    }
  }
  return undefined;
}
