import { type Attributes, type Outcome, ENTRY, done, refused } from '@granule/contract';
import { entrySpan } from '@granule/geometry';
import { formatSize, hex, type OutputAddress } from '@granule/geometry/bits';
import type { ShadowContext } from '@granule/snapshot';
import type { Image } from '../image/image.js';
import { contextsOf, tableOf } from '../image/nested-regimes.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { WalkAccess } from '../walk/access.js';
import type { StageWalk, Translated } from '../walk/address-walk.js';
import { reached } from '../walk/stages.js';
import { walkAddress } from '../walk/walk.js';

/** Why a shadow has an entry for an address, or none. */
export type ShadowState =
  /** It maps what both stages lead to. */
  | 'mapped'
  /** Both stages could map it, and no access has come there yet. */
  | 'not-yet'
  /** The guest hypervisor's tables do not translate it: an access is its own fault. */
  | 'forwarded'
  /** It maps what the two stages no longer lead to: the guest hypervisor has not invalidated it. */
  | 'stale'
  /** The image does not hold a table that the answer needs. */
  | 'unknown';

/** An address of a nested guest: through the guest hypervisor's tables, through the VM's own, and in the shadow that stands for both. */
export interface ShadowChain {
  readonly address: bigint;
  readonly context: ShadowContext;
  readonly shadow: StageWalk;
  /** The guest hypervisor's walk; absent: its stage 2 is off, and the address is the VM's IPA. */
  readonly guest?: StageWalk;
  /** The VM's IPA. */
  readonly ipa?: OutputAddress;
  /** The VM's own stage 2 at that IPA. */
  readonly host?: StageWalk;
  readonly state: ShadowState;
  readonly sentences: readonly string[];
}

const SOURCE = 'granule walk --nested';

/**
 * Tells an address of a nested guest from its IPA to the physical address, by an image and the `nested` object of its registers. `regime` names a shadow (`s2`
 * while a nested guest runs), or tables of the guest hypervisor. The guest hypervisor's stage 2 is walked as hardware would.
 *
 * Refused: `walk.not-nested`, `walk.no-context`, and what {@link walkAddress} refuses.
 */
export function walkShadow(image: Image, regime: string, address: bigint, access: WalkAccess = {}): Outcome<ShadowChain> {
  const tables = image.tables(regime);
  if (tables.kind !== 'done') {
    return tables;
  }
  const context = contextOf(image, tables.value[0]);
  if (context.kind !== 'done') {
    return context;
  }
  const { shadow, guest, own } = namesOf(image, context.value);
  const shadowWalk = walkAddress(image, shadow, address, access);
  if (shadowWalk.kind !== 'done') {
    return shadowWalk;
  }
  const [first] = shadowWalk.value.stages;
  const off = (context.value.virtHCR & 1n) === 0n;
  const guestWalk = off || guest === undefined ? undefined : walkAddress(image, guest, address, access);
  if (guestWalk !== undefined && guestWalk.kind !== 'done') {
    return guestWalk;
  }
  const guestStage = guestWalk?.value.stages[0];
  const output = off ? Number(address) : guestStage?.end.kind === 'translated' ? guestStage.end.output : undefined;
  const hostWalk = output === undefined || own === undefined ? undefined : walkAddress(image, own, BigInt(output), access);
  const host = hostWalk?.kind === 'done' ? hostWalk.value.stages[0] : undefined;
  const chain = {
    address, context: context.value, shadow: first, ...(guestStage && { guest: guestStage }), ...(output === undefined ? {} : { ipa: output }), ...(host && { host }),
  };
  return done({ ...chain, ...judged(chain) });
}

/** The context whose shadow, or whose guest hypervisor's table, these tables are. */
function contextOf({ nested }: Image, { name, root, through }: RegimeTables): Outcome<ShadowContext> {
  if (nested === undefined) {
    return refused('walk.not-nested', 'The registers file has no object "nested": it does not tell of a guest hypervisor.', SOURCE);
  }
  const contexts = contextsOf(nested);
  const found = contexts.find(({ hwVTTBR, virtVTTBR }) => tableOf(through === undefined ? hwVTTBR : virtVTTBR) === root);
  if (found !== undefined) {
    return done(found);
  }
  const own = root === tableOf(nested.canonicalVTTBR_EL2) ? "is the VM's own stage 2" : 'belongs to no context that was seen';
  const seen = contexts.map(({ seenAt }) => `shadow-${seenAt}`).join(', ');
  return refused('walk.no-context', `Regime ${name} ${own}; shadows are ${seen === '' ? 'not there' : seen}.`, SOURCE);
}

/** The names under which an image has what a context is made of. */
function namesOf(image: Image, { hwVTTBR, virtVTTBR, virtVTCR }: ShadowContext): { readonly shadow: string; readonly guest?: string; readonly own?: string } {
  const own = tableOf(image.nested?.canonicalVTTBR_EL2 ?? 0n);
  const iaBits = 64 - Number(virtVTCR & 0x3fn);
  const named = (fits: (tables: RegimeTables) => boolean): string | undefined =>
    image.regimes.find((name) => {
      const tables = image.tables(name);
      return tables.kind === 'done' && tables.value[0].format.stage === 2 && fits(tables.value[0]);
    });
  const guest = named(({ root, through, format }) => through !== undefined && root === tableOf(virtVTTBR) && format.geometry.iaBits === iaBits);
  const canonical = named(({ root, through }) => through === undefined && root === own);
  const shadow = named(({ root, through }) => through === undefined && root === tableOf(hwVTTBR)) ?? 's2';
  return { shadow, ...(guest === undefined ? {} : { guest }), ...(canonical === undefined ? {} : { own: canonical }) };
}

type Judged = Pick<ShadowChain, 'state' | 'sentences'>;

function judged({ context, shadow, guest, host }: Omit<ShadowChain, keyof Judged>): Judged {
  const there = reached(shadow.end);
  const off = (context.virtHCR & 1n) === 0n;
  if (!off && (guest === undefined || guest.end.kind === 'lost')) {
    const sentence = guest?.end.kind === 'lost' ? guest.end.sentence : "The registers file lists no table of the guest hypervisor's at its VTTBR_EL2.";
    return { state: 'unknown', sentences: [sentence] };
  }
  if (guest?.end.kind === 'fault') {
    const own = `The guest hypervisor's tables do not let it through: ${guest.end.sentence}`;
    return there === undefined
      ? { state: 'forwarded', sentences: [own, 'An access is forwarded to the guest hypervisor, and the shadow has nothing to map.'] }
      : { state: 'stale', sentences: [own, 'The shadow still maps what they did before: the guest hypervisor has not invalidated it.'] };
  }
  return there === undefined ? notYet(guest, host) : against(shadow, there, guest, host);
}

function notYet(guest: StageWalk | undefined, host: StageWalk | undefined): Judged {
  const limit = guest === undefined ? '' : `, at most ${sizeOf(guest)} of it and with at most the permissions of that entry`;
  const backed = host !== undefined && reached(host.end) !== undefined;
  const behind = backed
    ? 'The VM itself has memory there.'
    : "The VM's own stage 2 has nothing there: memory that the guest hypervisor has not touched itself, or no memory at all (MMIO), which an image does not tell.";
  return { state: 'not-yet', sentences: [`No access of the nested guest has come there since the context was taken or last invalidated; one would be mapped${limit}.`, behind] };
}

/** The leaf of a walk that came to one. */
function leafOf({ tables: { format }, steps }: StageWalk): Attributes {
  const { lo, hi, level } = steps[steps.length - 1];
  return format.decodeLeaf(lo, hi, level);
}

function sizeOf({ tables, steps }: StageWalk): string {
  return formatSize(entrySpan(tables.format.geometry.granule, steps[steps.length - 1].level));
}

/** A shadow's entry held against the two that it stands for. */
function against(shadow: StageWalk, there: Translated, guest: StageWalk | undefined, host: StageWalk | undefined): Judged {
  const wrong: string[] = [];
  const behind = host && reached(host.end);
  if (behind !== undefined && behind.output !== there.output) {
    wrong.push(`The shadow leads to PA ${hex(there.output)} and the two stages to ${hex(behind.output)}.`);
  }
  const leaf = leafOf(shadow);
  if (guest !== undefined) {
    const limits = leafOf(guest);
    const more = (['read', 'write', 'px', 'ux'] as const).filter((right) => leaf[right] && !limits[right]);
    if (more.length > 0) {
      wrong.push(`The shadow permits what the guest hypervisor's entry does not: ${more.join(', ')}.`);
    }
    const level = guest.steps[guest.steps.length - 1].level;
    if (leaf.software % 4 !== level % 4) {
      wrong.push(`The shadow's software bits note level ${leaf.software % 4}, and the guest hypervisor's entry is of level ${level}.`);
    }
  }
  if (wrong.length > 0) {
    return { state: 'stale', sentences: [...wrong, 'The guest hypervisor changed its entry and has not invalidated the old one, or the host is about to.'] };
  }
  return { state: 'mapped', sentences: [sizeSentence(shadow, guest, host), ...(behind === undefined ? [UNTOUCHED] : [])] };
}

const UNTOUCHED = "The VM's own stage 2 has nothing there: the guest hypervisor has not touched this memory itself, and a shadow is filled from the host's memory, not from that table.";

function sizeSentence(shadow: StageWalk, guest: StageWalk | undefined, host: StageWalk | undefined): string {
  const size = sizeOf(shadow);
  const hostSize = host !== undefined && host.steps[host.steps.length - 1].kind === ENTRY.leaf ? sizeOf(host) : undefined;
  const parts = [...(guest === undefined ? [] : [`the guest hypervisor's ${sizeOf(guest)}`]), ...(hostSize === undefined ? [] : [`the ${hostSize} that the VM's own stage 2 has there`])];
  const beside = parts.length === 0 ? '' : `, beside ${parts.join(' and ')}`;
  return `A fault of the nested guest mapped ${size}${beside}: never more than the guest hypervisor's block or what the host's memory is made of.`;
}
