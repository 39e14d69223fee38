import type { TracedEvent } from '../replay/trace-pass.js';
import { checkpointOf } from '../replay/trace-pass.js';

/** One stretch of running a nested guest, from the guest hypervisor's ERET to the next exception to virtual EL2. */
export interface Stretch {
  /** The first checkpoint inside it. */
  checkpoint: string | undefined;
  /** Which use of which context: stretches of one use have one key. Undefined: the trace does not tell. */
  use: string | undefined;
}

/** The nested guest's stretches of a trace, in order. One vCPU runs. */
export function stretchesOf(events: Iterable<TracedEvent>): readonly Stretch[] {
  const stretches: Stretch[] = [];
  const shadows = new Map<bigint, bigint>();
  const misses = new Map<bigint, number>();
  let canonical: bigint | undefined;
  let inside: Stretch | undefined;
  let missed = false;
  for (const event of events) {
    const { decoded } = event;
    const checkpoint = checkpointOf(decoded);
    if (inside !== undefined && checkpoint !== undefined) {
      inside.checkpoint ??= checkpoint;
    }
    if (decoded?.event === 's2_init') {
      canonical ??= decoded.fields.pgt;
      shadows.set(decoded.fields.pgt, decoded.fields.mmu);
    } else if (decoded?.event === 'kvm_nested_eret') {
      inside = { checkpoint: undefined, use: undefined };
      stretches.push(inside);
    } else if (decoded?.event === 'kvm_inject_nested_exception') {
      inside = undefined;
    } else if (decoded?.event === 'lookup_s2_mmu_ret' && inside !== undefined) {
      const { mmu } = decoded.fields;
      missed ||= mmu === 0n;
      inside.use ??= mmu === 0n ? undefined : useOf(mmu, misses);
    } else if (inside !== undefined && missed && decoded !== undefined) {
      // The first call about a shadow after a miss names the context that was taken.
      const { pgt, mmu } = decoded.fields as { readonly pgt?: bigint; readonly mmu?: bigint };
      const taken = mmu ?? (pgt === undefined || pgt === canonical ? undefined : shadows.get(pgt));
      if (taken !== undefined) {
        misses.set(taken, (misses.get(taken) ?? 0) + 1);
        inside.use = useOf(taken, misses);
        missed = false;
      }
    }
  }
  return stretches;
}

function useOf(mmu: bigint, misses: ReadonlyMap<bigint, number>): string {
  return `${mmu} ${misses.get(mmu) ?? 0}`;
}
