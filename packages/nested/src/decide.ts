import type { NestedFault, ShadowDecision, ShadowLimits } from '@granule/contract';
import type { InputAddress } from '@granule/geometry/bits';
import type { GuestWalk } from './guest-walk.js';

/** ESR_EL2.FSC, bits 5:0 of the syndrome of an abort (DDI 0487 ESR_EL2). */
const FSC = 0x3fn;
/** Permission fault, level 0. */
const PERMISSION = 0x0c;

/** The syndrome of a fault with another status code: what the guest hypervisor is to see (Linux esr_s2_fault, kvm_walk_nested_s2). */
export function withStatusCode(esr: bigint, statusCode: number): bigint {
  return esr - (esr & FSC) + BigInt(statusCode);
}

/** A nested guest whose hypervisor has its stage 2 off: addresses are the VM's IPAs, and only the host limits them. */
export function oneToOne(ipa: InputAddress): ShadowLimits {
  return { ipa, maxBytes: Infinity, read: true, write: true, executeEl1: true, executeEl0: true, level: undefined };
}

/** Why a permission fault is the guest hypervisor's own doing; undefined where it is the host's. Source: Linux kvm_s2_handle_perm_fault. */
function denied({ fetch, write, privileged }: NestedFault, walk: GuestWalk & { kind: 'mapped' }): string | undefined {
  if (fetch) {
    const level = privileged ? 'EL1' : 'EL0';
    return (privileged ? walk.executeEl1 : walk.executeEl0) ? undefined : `is not executable at ${level}`;
  }
  if (write) {
    return walk.write ? undefined : 'is not writable';
  }
  return walk.read ? undefined : 'is not readable';
}

/**
 * A fault of the shadow after the guest hypervisor's stage 2 was walked: what that walk faulted with goes to the guest hypervisor; a permission fault does
 * where its entry denies the access; anything else is for the host to map. A translation fault is not held against permissions: the access faults again, by
 * permission, if it has to.
 */
export function decide(fault: NestedFault, walk: GuestWalk): ShadowDecision {
  switch (walk.kind) {
    case 'retry':
      return { did: 'retry' };
    case 'fault':
      return { did: 'forward', esr: withStatusCode(fault.esr, walk.statusCode), statusCode: walk.statusCode, level: walk.level, sentence: walk.sentence };
    case 'mapped': {
      const why = fault.permission ? denied(fault, walk) : undefined;
      if (why !== undefined) {
        const statusCode = PERMISSION + walk.level;
        const sentence = `The guest hypervisor's level ${walk.level} entry ${why}.`;
        return { did: 'forward', esr: withStatusCode(fault.esr, statusCode), statusCode, level: walk.level, sentence };
      }
      const { output, blockBytes, read, write, executeEl1, executeEl0, level } = walk;
      return { did: 'map', limits: { ipa: output, maxBytes: blockBytes, read, write, executeEl1, executeEl0, level } };
    }
  }
}
