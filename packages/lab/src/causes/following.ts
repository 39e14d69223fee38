import type { DecodedEvent, TraceFields } from '@granule/snapshot';
import type { TracedEvent } from '../replay/trace-pass.js';
import type { TableNumbers } from './actual.js';

const BOUNDS = new Set(['kvm_exit', 'kvm_entry', 'kvm_nested_eret']);

/** Calls that a task makes before it enters or leaves the guest again: what they tell where nothing else does. */
export class FollowingCalls {
  readonly #events: readonly DecodedEvent[];
  readonly #tables: TableNumbers;

  constructor(later: Iterable<TracedEvent>, pid: number, tables: TableNumbers) {
    const events: DecodedEvent[] = [];
    for (const { source, decoded } of later) {
      if (source.pid === pid && BOUNDS.has(source.event)) {
        break;
      }
      if (source.pid === pid && decoded !== undefined) {
        events.push(decoded);
      }
    }
    this.#events = events;
    this.#tables = tables;
  }

  /** The result of the next look-up: the number of a shadow, 0 none; undefined: there is none. */
  get found(): number | undefined {
    const { mmu } = this.#first('lookup_s2_mmu_ret') ?? {};
    return mmu === undefined ? undefined : mmu === 0n ? 0 : this.#tables.of(mmu);
  }

  get vmid(): number | undefined {
    return this.#first('s2_mmu_iterate_by_vmid')?.vmid;
  }

  /** Ranges that are unmapped, with the number of the stage 2. */
  get unmapped(): readonly { readonly mmu: number; readonly start: number; readonly size: number }[] {
    return this.#all('unmap_stage2_range').map(({ mmu, start, size }) => ({ mmu: this.#tables.of(mmu) ?? 0, start, size }));
  }

  #first<N extends DecodedEvent['event']>(name: N): TraceFields<N> | undefined {
    return this.#all(name)[0];
  }

  #all<N extends DecodedEvent['event']>(name: N): readonly TraceFields<N>[] {
    return this.#events.flatMap(({ event, fields }) => (event === name ? [fields as TraceFields<N>] : []));
  }
}
