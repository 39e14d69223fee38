import type { LookupResult } from '@granule/contract';
import { ENTRY } from '@granule/contract';
import { hex, type InputAddress } from '@granule/geometry/bits';
import type { Vm } from '@granule/kvm';
import { newLookup } from '@granule/pgtable';
import type { Call } from './calls.js';
import type { Where } from './session.js';

/** Something that made, changed or removed a shadow's entry for an address, or kept it from being made. */
export interface EntryEvent {
  /** Number of the shadow, from 1. */
  readonly shadow: number;
  readonly did: 'mapped' | 'relaxed' | 'write-protected' | 'removed' | 'forwarded';
  /** What it followed from: a fault of the nested guest, a TLBI of its hypervisor, a notifier. */
  readonly cause: string;
  readonly trace: string;
  readonly line: number;
}

/** What became of the shadows' entries for one address of a nested guest, oldest first. */
export interface EntryHistory {
  readonly address: string;
  readonly events: readonly EntryEvent[];
}

const DID: Readonly<Record<string, EntryEvent['did'] | undefined>> = {
  s2_map: 'mapped', s2_relax_perms: 'relaxed', s2_wrprotect: 'write-protected', s2_unmap: 'removed',
};

/** Keeps the history of chosen addresses. Calls are seen before they are done, so that one that finds nothing there is left out. */
export class EntryHistories {
  readonly #events: readonly { readonly address: InputAddress; readonly events: EntryEvent[] }[];
  readonly #at: LookupResult = newLookup();

  constructor(addresses: readonly InputAddress[]) {
    this.#events = addresses.map((address) => ({ address, events: [] }));
  }

  call({ event, fields }: Call, vm: Vm | undefined, cause: string, { trace, line }: Where): void {
    const { addr, size = 1, table } = fields;
    const did = DID[event];
    if (did === undefined || typeof addr !== 'number' || typeof size !== 'number' || typeof table !== 'number' || table === 0) {
      return;
    }
    for (const { address, events } of this.#events) {
      // A block is removed whole, though the range holds but a part of it.
      const inside = addr <= address && address < addr + size;
      if (did === 'mapped' ? inside : this.#reaches(vm, table, address, addr, addr + size)) {
        events.push({ shadow: table, did, cause, trace, line });
      }
    }
  }

  /** Whether a shadow has an entry for an address that a range touches. */
  #reaches(vm: Vm | undefined, table: number, address: InputAddress, start: InputAddress, end: InputAddress): boolean {
    const stage2 = vm?.nested?.shadows[table - 1];
    if (stage2 === undefined || !stage2.table.lookup(address, this.#at) || this.#at.kind !== ENTRY.leaf) {
      return false;
    }
    const { pageShift, stride } = stage2.format.geometry;
    const span = 2 ** (pageShift + stride * (3 - this.#at.level));
    const first = address - (address % span);
    return first < end && start < first + span;
  }

  forwarded(shadow: number, ipa: InputAddress, sentence: string, { trace, line }: Where): void {
    for (const { address, events } of this.#events) {
      if (Math.floor(ipa / 4096) === Math.floor(address / 4096)) {
        events.push({ shadow, did: 'forwarded', cause: sentence, trace, line });
      }
    }
  }

  get all(): readonly EntryHistory[] {
    return this.#events.map(({ address, events }) => ({ address: hex(address), events }));
  }
}

export function historyLines({ address, events }: EntryHistory): readonly string[] {
  const lines = events.map(({ shadow, did, cause, trace, line }) => `  ${trace}:${line} ${did} in shadow ${shadow}: ${cause}`);
  return [`history of IPA ${address}`, ...(lines.length === 0 ? ['  nothing happened there'] : lines)];
}
