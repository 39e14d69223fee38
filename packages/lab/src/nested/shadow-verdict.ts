import { type Attributes } from '@granule/contract';
import { entrySpan } from '@granule/geometry';
import { formatSize, hex } from '@granule/geometry/bits';
import type { GuestWalk } from '@granule/nested';
import type { StageWalk, Translated } from '../walk/address-walk.js';
import { reached } from '../walk/stages.js';
import type { ShadowWalk } from './shadow-walk.js';

/** How a shadow stands to what the guest hypervisor's tables and the VM's own say. */
export type ShadowState =
  /** It maps what they lead to, with no more than the guest hypervisor permits. */
  | 'mapped'
  /** They could be mapped, and no access has come there yet. */
  | 'not-yet'
  /** The guest hypervisor's tables do not translate it: an access is its own fault. */
  | 'forwarded'
  /** It maps what they no longer lead to: an invalidation is still owed. */
  | 'stale'
  /** The image does not hold what the answer needs. */
  | 'unknown';

type Judged = Pick<ShadowWalk, 'state' | 'sentences'>;
type Mapped = GuestWalk & { readonly kind: 'mapped' };

/**
 * Why a shadow has an entry for an address, or none. Whether the VM's own stage 2 maps the address as well says nothing: a shadow is filled from the memory of
 * the VM's slots, not from that table, which only what the guest hypervisor touched itself is in.
 */
export function judgeShadow({ context, shadow, kvm, host }: Omit<ShadowWalk, keyof Judged>): Judged {
  const there = reached(shadow.end);
  const off = (context.virtHCR & 1n) === 0n;
  if (!off && kvm === undefined) {
    return { state: 'unknown', sentences: ["The registers file lists no stage 2 of the VM's own, through which the guest hypervisor's tables could be read."] };
  }
  if (kvm !== undefined && kvm.kind !== 'mapped') {
    const sentence = kvm.kind === 'fault' ? kvm.sentence : "The guest hypervisor's entry changes while it is read.";
    return there === undefined
      ? { state: 'forwarded', sentences: [sentence, 'An access is forwarded to the guest hypervisor; there is nothing for the shadow to map.'] }
      : { state: 'stale', sentences: [sentence, 'The shadow maps what was there before: the guest hypervisor has not invalidated it.'] };
  }
  return there === undefined ? notYet(kvm, host) : against(shadow, there, kvm, host);
}

function notYet(kvm: Mapped | undefined, host: StageWalk | undefined): Judged {
  const limit = kvm === undefined ? '' : `, ${formatSize(kvm.blockBytes)} at most and with ${rightsText(kvm)} at most`;
  const untouched = 'Nothing was accessed there since the context was taken or last invalidated';
  const backed = host !== undefined && reached(host.end) !== undefined;
  const sentences = backed
    ? [`${untouched}; the next access is mapped${limit}.`]
    : [`${untouched}, or no memory slot of the VM is there (MMIO): an image does not tell.`, `An access to memory would be mapped${limit}.`];
  return { state: 'not-yet', sentences };
}

const rightsText = ({ read, write, executeEl1, executeEl0 }: Mapped): string =>
  `${read ? 'R' : '-'}${write ? 'W' : '-'}${executeEl1 === executeEl0 ? (executeEl1 ? 'X' : '-') : executeEl1 ? ' X at EL1' : ' X at EL0'}`;

/** A shadow's entry held against what it stands for. */
function against(shadow: StageWalk, there: Translated, kvm: Mapped | undefined, host: StageWalk | undefined): Judged {
  const behind = host && reached(host.end);
  const wrong = [
    ...(behind === undefined || behind.output === there.output ? [] : [`The shadow leads to PA ${hex(there.output)}, and both stages lead to ${hex(behind.output)}.`]),
    ...(kvm === undefined ? [] : beyond(leafOf(shadow), kvm)),
  ];
  if (wrong.length > 0) {
    return { state: 'stale', sentences: [...wrong, 'The guest hypervisor changed its entry and has not invalidated the old one.'] };
  }
  const [size, block] = [sizeOf(shadow), kvm === undefined ? '' : ` of the guest hypervisor's ${formatSize(kvm.blockBytes)}`];
  const made = `A fault of the nested guest mapped ${size}${block}: no more than that block, and than the host's memory there is made of.`;
  return { state: 'mapped', sentences: behind === undefined ? [made, UNTOUCHED] : [made] };
}

const UNTOUCHED = "The VM's own stage 2 has nothing there: the guest hypervisor has not touched this memory itself, so where it is only the shadow tells.";

/** What a shadow's leaf says that the guest hypervisor's entry does not. */
function beyond(leaf: Attributes, kvm: Mapped): readonly string[] {
  const rights = [['read', leaf.read, kvm.read], ['write', leaf.write, kvm.write], ['execute at EL1', leaf.px, kvm.executeEl1], ['execute at EL0', leaf.ux, kvm.executeEl0]] as const;
  const more = rights.filter(([, has, may]) => has && !may).map(([name]) => name);
  const noted = leaf.software % 4;
  return [
    ...(more.length === 0 ? [] : [`The shadow permits what the guest hypervisor's entry does not: ${more.join(', ')}.`]),
    ...(noted === kvm.level % 4 ? [] : [`The shadow's software bits note level ${noted}, and the guest hypervisor's entry is of level ${kvm.level}.`]),
  ];
}

/** The leaf of a walk that came to one. */
function leafOf({ tables: { format }, steps }: StageWalk): Attributes {
  const { lo, hi, level } = steps[steps.length - 1];
  return format.decodeLeaf(lo, hi, level);
}

function sizeOf({ tables, steps }: StageWalk): string {
  return formatSize(entrySpan(tables.format.geometry.granule, steps[steps.length - 1].level));
}
