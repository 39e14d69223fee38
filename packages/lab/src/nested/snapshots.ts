import type { GuestMemory, PhysicalReader } from '@granule/contract';
import type { GuestWrite } from './guest-tables.js';
import type { EnteredContext, GuestHypervisor } from './hypervisor.js';
import type { Stretch } from './stretches.js';

/** What a checkpoint shows of a guest hypervisor. */
export interface Shown {
  /** The context that runs there; undefined: the guest hypervisor itself does. */
  readonly current: EnteredContext | undefined;
  /** Memory at the VM's IPAs. */
  readonly memory: PhysicalReader;
}

/**
 * A guest hypervisor by the checkpoints alone. While its guest runs it changes nothing: a stretch with a checkpoint in it is known wholly. Of a stretch without
 * one the context is known where another stretch of the same use of it has a checkpoint, and the tables are not.
 */
export class SnapshotHypervisor implements GuestHypervisor {
  memory: GuestMemory | undefined;
  readonly writes: readonly GuestWrite[] = [];
  readonly #stretches: readonly Stretch[];
  readonly #shown: ReadonlyMap<string, Shown>;
  readonly #contexts = new Map<string, EnteredContext>();
  #next = 0;

  constructor(stretches: readonly Stretch[], shown: ReadonlyMap<string, Shown>, readonly problem: string) {
    this.#stretches = stretches;
    this.#shown = shown;
    for (const { use, checkpoint } of stretches) {
      const current = checkpoint === undefined ? undefined : shown.get(checkpoint)?.current;
      if (use !== undefined && current !== undefined) {
        this.#contexts.set(use, current);
      }
    }
  }

  enter(): EnteredContext | undefined {
    const stretch = this.#stretches[this.#next++];
    const shown = stretch?.checkpoint === undefined ? undefined : this.#shown.get(stretch.checkpoint);
    this.memory = shown?.current === undefined ? undefined : shown.memory;
    return shown?.current ?? (stretch?.use === undefined ? undefined : this.#contexts.get(stretch.use));
  }

  /** What is invalidated, only the kernel's calls tell. */
  invalidate(): undefined {
    return undefined;
  }
}
