import type { ShadowDecision } from '@granule/contract';
import { hex, type InputAddress } from '@granule/geometry/bits';
import type { ShadowEvent, UnmapCause } from './events.js';

/** Something that happened to addresses of a shadow. */
export interface ShadowRecord {
  /** In the order in which they happened, from 1; numbers of records that were dropped are missing. */
  readonly n: number;
  readonly context: number;
  /** Addresses [start, end) of the nested guest. */
  readonly start: InputAddress;
  readonly end: InputAddress;
  readonly what:
    /** A fault that the host mapped; the range is what it mapped. */
    | { readonly did: 'mapped'; readonly fault: InputAddress }
    | { readonly did: 'forwarded'; readonly decision: ShadowDecision & { readonly did: 'forward' } }
    | { readonly did: 'unmapped'; readonly cause: UnmapCause };
}

/** What became of shadows, newest last, as far back as `limit` records: who created an entry, and who removed it. Give `on` to the layer as its listener. */
export class ShadowHistory {
  #records: ShadowRecord[] = [];
  #count = 0;

  /** @param limit records kept, from 2; when they are full, the older half goes */
  constructor(readonly limit = 4096) {}

  /** Records that are no longer there. */
  get dropped(): number {
    return this.#count - this.#records.length;
  }

  readonly on = (event: ShadowEvent): void => {
    if (event.event === 'unmap') {
      this.#add(event.context, event.start, event.end, { did: 'unmapped', cause: event.cause });
    } else if (event.event === 'decided' && event.decision.did === 'forward') {
      this.#add(event.context, event.ipa, event.ipa + 1, { did: 'forwarded', decision: event.decision });
    }
  };

  /** The host mapped [start, end) after a fault: only it knows the size. */
  mapped(context: number, fault: InputAddress, start: InputAddress, end: InputAddress): void {
    this.#add(context, start, end, { did: 'mapped', fault });
  }

  /** What happened to one address of a context, oldest first. */
  of(context: number, ipa: InputAddress): readonly ShadowRecord[] {
    return this.#records.filter((record) => record.context === context && record.start <= ipa && ipa < record.end);
  }

  #add(context: number, start: InputAddress, end: InputAddress, what: ShadowRecord['what']): void {
    if (this.#records.length >= this.limit) {
      this.#records = this.#records.slice(-Math.floor(this.limit / 2));
    }
    this.#count += 1;
    this.#records.push({ n: this.#count, context, start, end, what });
  }
}

function causeText(cause: UnmapCause): string {
  switch (cause.why) {
    case 'tlbi':
      return `TLBI ${cause.name} ${hex(cause.operand, 1)} of the guest hypervisor`;
    case 'taken-over':
      return 'the context was taken over for another table';
    case 'host':
      return 'the host took memory away';
  }
}

/** A record as one line. */
export function recordText({ n, start, end, what }: ShadowRecord): string {
  const range = `${hex(start)}-${hex(end)}`;
  switch (what.did) {
    case 'mapped':
      return `#${n} mapped ${range} after a fault at ${hex(what.fault)}`;
    case 'forwarded':
      return `#${n} forwarded the fault at ${hex(start)}: ${what.decision.sentence}`;
    case 'unmapped':
      return `#${n} unmapped ${range}: ${causeText(what.cause)}`;
  }
}
