import type { Backend, NestedLayer } from '@granule/contract';
import { budgetOf, type Runner } from '../law.js';
import { compositionLaws } from './composition.js';
import { contextLaws } from './contexts.js';
import { decisionLaws } from './decisions.js';
import { walkLaws } from './guest-walk.js';
import { tlbiLaws } from './tlbi.js';

export interface NestedConformanceOptions extends Runner {
  /** Where the guest hypervisor's formats come from; its own suite must pass first. */
  readonly backend: Backend;
  /** Random cases per law; default 20. */
  readonly runs?: number;
  readonly seed?: number;
  /** Whether a failing case is made as small as it gets; default true. */
  readonly shrink?: boolean;
}

const GROUPS = { contexts: contextLaws, 'guest walk': walkLaws, decisions: decisionLaws, invalidation: tlbiLaws, composition: compositionLaws };

/**
 * A nested layer against a guest hypervisor of one page of registers, with a memory, a host and a shadow that are lists: contexts come and go as KVM's do, the
 * guest hypervisor's stage 2 is walked with KVM's checks in KVM's order, faults are forwarded or mapped, invalidations reach what they are to reach and in the
 * sizes that KVM gives them; and after any sequence of entries, accesses, changes, invalidations and moves of the host's, on two vCPUs and with any granule on
 * any other, an access reaches what both stages say, with no right that one of them denies, as soon as the guest hypervisor has invalidated what it changed.
 */
export function nestedConformance(layer: NestedLayer, options: NestedConformanceOptions): void {
  const { describe, it, backend } = options;
  const subject = { layer, backend, budget: budgetOf(options, 20) };
  describe(`${layer.name} on ${backend.name}`, () => {
    for (const [group, laws] of Object.entries(GROUPS)) {
      describe(group, () => {
        for (const { name, sentence, check } of laws) it(`${name}: ${sentence}`, () => { check(subject); });
      });
    }
  });
}
