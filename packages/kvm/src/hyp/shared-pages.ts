import type { Outcome } from '@granule/contract';
import { DONE } from '@granule/contract';
import { hex, isAligned } from '@granule/geometry/bits';
import { refuse } from '../errno.js';

/** What EL2 is asked for when a page is shared first, or no more; a failure undoes what was shared for the same range. */
export interface SharingCalls {
  share(pfn: number): Outcome<undefined>;
  unshare(pfn: number): Outcome<undefined>;
}

/**
 * Pages that a host shares with a protected hypervisor, counted by frame: EL2 is called for the first and the last user alone. Sources: Linux
 * kvm_share_hyp, kvm_unshare_hyp, share_pfn_hyp, unshare_pfn_hyp.
 */
export class SharedPages {
  readonly #counts = new Map<number, number>();
  readonly #calls: SharingCalls;
  readonly #pageShift: number;

  constructor(calls: SharingCalls, pageShift: number) {
    this.#calls = calls;
    this.#pageShift = pageShift;
  }

  count(pfn: number): number {
    return this.#counts.get(pfn) ?? 0;
  }

  /** Shares the frames that [start, end) touches. What EL2 refuses undoes the frames before. Refused: `hyp.vmalloc` for what is not in the linear map. */
  share(start: number, end: number, { vmalloc = false }: { readonly vmalloc?: boolean } = {}): Outcome<undefined> {
    if (vmalloc) {
      return refuse('hyp.vmalloc', `${hex(start)} is of vmalloc, whose frames need not be neighbours.`, 'Linux kvm_share_hyp: -EINVAL');
    }
    const frames = this.#frames(start, end);
    for (const [i, pfn] of frames.entries()) {
      const outcome = this.count(pfn) > 0 ? DONE : this.#calls.share(pfn);
      if (outcome.kind !== 'done') {
        frames.slice(0, i).forEach((each) => this.#drop(each));
        return outcome;
      }
      this.#counts.set(pfn, this.count(pfn) + 1);
    }
    return DONE;
  }

  /** Refused: `hyp.not-shared`, at the first frame that is not; frames before it are dropped. */
  unshare(start: number, end: number): Outcome<undefined> {
    for (const pfn of this.#frames(start, end)) {
      const outcome = this.#drop(pfn);
      if (outcome.kind !== 'done') {
        return outcome;
      }
    }
    return DONE;
  }

  #frames(start: number, end: number): readonly number[] {
    const first = Math.floor(start / 2 ** this.#pageShift);
    const last = Math.floor(end / 2 ** this.#pageShift) + (isAligned(end, this.#pageShift) ? 0 : 1);
    return Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
  }

  #drop(pfn: number): Outcome<undefined> {
    const count = this.count(pfn);
    if (count === 0) {
      return refuse('hyp.not-shared', `Frame ${hex(pfn, 1)} is not shared with EL2.`, 'Linux unshare_pfn_hyp: -ENOENT');
    }
    if (count > 1) {
      this.#counts.set(pfn, count - 1);
      return DONE;
    }
    this.#counts.delete(pfn);
    return this.#calls.unshare(pfn);
  }
}
