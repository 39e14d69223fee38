import type { NestedState, ShadowContext } from '@granule/contract';
import { alignDown, hex, type InputAddress, type OutputAddress } from '@granule/geometry/bits';
import type { Level } from '@granule/geometry';
import type { GuestEntry, GuestWalk, GuestWalker } from './guest-walk.js';
import type { ShadowHistory, ShadowRecord } from './history.js';

/** A valid leaf of the VM's own stage 2, or of a shadow. */
export interface ChainLeaf {
  readonly level: Level;
  /** First address that it translates and how many bytes. */
  readonly start: InputAddress;
  readonly bytes: number;
  /** Output address of `start`. */
  readonly output: OutputAddress;
  readonly read: boolean;
  readonly write: boolean;
  readonly executeEl1: boolean;
  readonly executeEl0: boolean;
  /** Software bits: in a shadow the guest hypervisor's level, 0 none. */
  readonly tag: number;
}

/** How the entry of a shadow stands to what both stages say now. */
export type ShadowStanding =
  /** It leads where both stages lead, with no more permissions. */
  | 'composed'
  /** There is none: the next access faults, and is mapped or forwarded. */
  | 'absent'
  /** It leads elsewhere, or permits more: legal until the guest hypervisor has completed its invalidation, or the host its own. */
  | 'stale';

/** One address of a nested guest, followed through every table that has a say in it. */
export interface ShadowChain {
  readonly ipa: InputAddress;
  /** The guest hypervisor's walk; undefined where its stage 2 is off. */
  readonly guest: { readonly walk: GuestWalk; readonly entries: readonly GuestEntry[] } | undefined;
  /** The VM's IPA; undefined where the guest hypervisor does not map the address. */
  readonly vmIpa: InputAddress | undefined;
  readonly host: ChainLeaf | undefined;
  /** The physical address; undefined where either stage does not map it. */
  readonly physical: OutputAddress | undefined;
  readonly shadow: ChainLeaf | undefined;
  readonly standing: ShadowStanding;
  readonly why: string;
  /** What created and removed the entry, oldest first, where somebody kept a history. */
  readonly history: readonly ShadowRecord[];
}

export interface ChainTables {
  /** Walks the guest hypervisor's tables without setting access flags: memory that does not `exchange`. */
  readonly walker: GuestWalker;
  readonly host: (ipa: InputAddress) => ChainLeaf | undefined;
  readonly shadow: (ipa: InputAddress) => ChainLeaf | undefined;
  readonly history?: ShadowHistory;
}

/** Follows an IPA of a nested guest: the guest hypervisor's entry, the VM's IPA, the host's entry, the physical address; and the shadow entry or why there is none. */
export function shadowChain(ipa: InputAddress, context: ShadowContext, state: NestedState, tables: ChainTables): ShadowChain {
  const entries: GuestEntry[] = [];
  const guest = context.stage2 ? { walk: tables.walker.walk(state, ipa, entries), entries } : undefined;
  const vmIpa = guest === undefined ? ipa : guest.walk.kind === 'mapped' ? guest.walk.output : undefined;
  const host = vmIpa === undefined ? undefined : tables.host(vmIpa);
  const physical = host === undefined || vmIpa === undefined ? undefined : at(host, vmIpa);
  const shadow = tables.shadow(ipa);
  const history = tables.history?.of(context.index, ipa) ?? [];
  return { ipa, guest, vmIpa, host, physical, shadow, ...standing({ ipa, guest: guest?.walk, host, physical, shadow }), history };
}

function at({ start, output }: ChainLeaf, address: number): OutputAddress {
  return output + (address - start);
}

interface Seen {
  readonly ipa: InputAddress;
  readonly guest: GuestWalk | undefined;
  readonly host: ChainLeaf | undefined;
  readonly physical: OutputAddress | undefined;
  readonly shadow: ChainLeaf | undefined;
}

function standing(seen: Seen): Pick<ShadowChain, 'standing' | 'why'> {
  const { ipa, guest, host, physical, shadow } = seen;
  if (shadow === undefined) {
    return { standing: 'absent', why: whyAbsent(guest, host) };
  }
  if (physical === undefined) {
    const gone = guest?.kind === 'fault' ? `the guest hypervisor no longer maps it (${guest.sentence})` : "the VM's own stage 2 no longer maps it";
    return { standing: 'stale', why: `The shadow has an entry, but ${gone}: an invalidation is owed.` };
  }
  if (at(shadow, ipa) !== physical) {
    const [has, wants] = [at(shadow, ipa), physical].map((each) => hex(alignDown(each, 12)));
    return { standing: 'stale', why: `The shadow leads to ${has}, both stages together to ${wants}: an invalidation is owed.` };
  }
  const more = RIGHTS.filter((right) => shadow[right] && !(host?.[right] === true && (guest?.kind !== 'mapped' || guest[right])));
  return more.length === 0
    ? { standing: 'composed', why: 'The shadow leads where both stages lead, and permits no more than either.' }
    : { standing: 'stale', why: `The shadow permits more than both stages together (${more.join(', ')}): an invalidation is owed.` };
}

const RIGHTS = ['read', 'write', 'executeEl1', 'executeEl0'] as const;

function whyAbsent(guest: GuestWalk | undefined, host: ChainLeaf | undefined): string {
  if (guest?.kind === 'fault') {
    return `There is no shadow entry, and there will be none: the fault goes to the guest hypervisor. ${guest.sentence}`;
  }
  return host === undefined
    ? "There is no shadow entry, nor one in the VM's own stage 2: the first access faults."
    : 'There is no shadow entry: nothing was accessed there since the context was taken or last invalidated, and the next access makes one.';
}
