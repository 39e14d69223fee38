import { type NestedState, type Outcome, done, refused } from '@granule/contract';
import type { OutputAddress } from '@granule/geometry/bits';
import { type GuestWalk, GuestWalker } from '@granule/nested';
import type { ShadowContext } from '@granule/snapshot';
import type { Image } from '../image/image.js';
import { contextsOf, tableOf } from '../image/nested-regimes.js';
import type { RegimeTables } from '../image/regime-tables.js';
import type { WalkAccess } from '../walk/access.js';
import type { StageWalk } from '../walk/address-walk.js';
import { walkAddress } from '../walk/walk.js';
import { guestOfMachine } from './guest-machine.js';
import { judgeShadow, type ShadowState } from './shadow-verdict.js';

/** An address of a nested guest: through its hypervisor's tables, through the VM's own, and in the shadow that stands for both. */
export interface ShadowWalk {
  readonly regime: string;
  readonly address: bigint;
  readonly context: ShadowContext;
  readonly shadow: StageWalk;
  /** The guest hypervisor's tables as hardware would walk them; absent: its stage 2 is off, or the file lists no such table. */
  readonly guest?: StageWalk;
  /** What KVM's own walk of them says; absent: its stage 2 is off. */
  readonly kvm?: GuestWalk;
  /** The VM's IPA. */
  readonly ipa?: OutputAddress;
  /** The VM's own stage 2 at that IPA. */
  readonly host?: StageWalk;
  readonly state: ShadowState;
  /** Why. */
  readonly sentences: readonly string[];
}

const SOURCE = 'granule walk --nested';

/** The context whose shadow, or whose guest hypervisor's table, these tables are; the one that runs first. */
function contextOf({ nested }: Image, { root, through }: RegimeTables): ShadowContext | undefined {
  const contexts = nested === undefined ? [] : contextsOf(nested);
  return contexts.find(({ hwVTTBR, virtVTTBR }) => tableOf(through === undefined ? hwVTTBR : virtVTTBR) === root);
}

/** Whether {@link walkShadow} has something to tell of a regime. */
export function isNestedRegime(image: Image, regime: string): boolean {
  const tables = image.tables(regime);
  return image.nested !== undefined && tables.kind === 'done' && tables.value[0].format.stage === 2;
}

/**
 * Follows an address of a nested guest by an image and the `nested` object of its registers: the guest hypervisor's entry, the VM's IPA, the VM's own stage 2,
 * the physical address; and the shadow's entry or why there is none. `regime` names a shadow (`s2` while a nested guest runs), or tables of the guest hypervisor.
 *
 * Refused: `walk.not-nested`, `walk.no-context`, and what {@link walkAddress} refuses.
 */
export function walkShadow(image: Image, regime: string, address: bigint, access: WalkAccess = {}): Outcome<ShadowWalk> {
  const tables = image.tables(regime);
  if (tables.kind !== 'done') {
    return tables;
  }
  const context = contextOf(image, tables.value[0]);
  if (context === undefined) {
    return noContext(image, tables.value[0]);
  }
  const parts = partsOf(image, context);
  const shadow = stageOf(image, parts.shadow, address, access);
  if (shadow.kind !== 'done') {
    return shadow;
  }
  const kvm = parts.own && kvmWalk(image, parts.own, context, address);
  const guest = parts.guest === undefined ? undefined : stageOf(image, parts.guest, address, access);
  if (guest !== undefined && guest.kind !== 'done') {
    return guest;
  }
  const off = (context.virtHCR & 1n) === 0n;
  const ipa = off ? Number(address) : kvm?.kind === 'mapped' ? kvm.output : undefined;
  const host = ipa === undefined || parts.own === undefined ? undefined : stageOf(image, parts.own.name, BigInt(ipa), access);
  const walk = {
    regime, address, context, shadow: shadow.value,
    ...(guest && { guest: guest.value }), ...(kvm && { kvm }), ...(ipa === undefined ? {} : { ipa }), ...(host?.kind === 'done' && { host: host.value }),
  };
  return done({ ...walk, ...judgeShadow(walk) });
}

function noContext({ nested }: Image, { name, root }: RegimeTables): Outcome<never> {
  if (nested === undefined) {
    return refused('walk.not-nested', 'The registers file has no object "nested": it does not tell of a guest hypervisor.', SOURCE);
  }
  const what = root === tableOf(nested.canonicalVTTBR_EL2) ? "is the VM's own stage 2, no shadow" : 'belongs to no context that was seen';
  const seen = nested.shadowsSeen.map(({ seenAt }) => seenAt).join(', ');
  const have = seen === '' ? 'no shadow was seen yet' : `shadows were seen at ${seen}, and are regimes shadow-cN`;
  return refused('walk.no-context', `Regime ${name} ${what}; ${have}.`, SOURCE);
}

interface Parts {
  readonly shadow: string;
  /** Absent: its stage 2 is off, or no such table is listed. */
  readonly guest?: string;
  readonly own?: RegimeTables;
}

/** The regimes of an image that make up a context. */
function partsOf(image: Image, { hwVTTBR, virtVTTBR, virtVTCR, virtHCR }: ShadowContext): Parts {
  const stage2 = image.regimes.flatMap((name) => {
    const tables = image.tables(name);
    return tables.kind === 'done' && tables.value[0].format.stage === 2 ? [{ name, tables: tables.value[0] }] : [];
  });
  const physical = (vttbr: bigint) => stage2.find(({ tables }) => tables.through === undefined && tables.root === tableOf(vttbr));
  const iaBits = 64 - Number(virtVTCR & 0x3fn);
  const on = (virtHCR & 1n) === 1n;
  const guest = stage2.find(({ tables }) => on && tables.through !== undefined && tables.root === tableOf(virtVTTBR) && tables.format.geometry.iaBits === iaBits);
  const own = physical(image.nested?.canonicalVTTBR_EL2 ?? 0n);
  return { shadow: physical(hwVTTBR)?.name ?? 's2', ...(guest && { guest: guest.name }), ...(own && { own: own.tables }) };
}

/** KVM's walk of the guest hypervisor's stage 2; undefined: that is off. Access flags stay as they are. */
function kvmWalk(image: Image, own: RegimeTables, { virtVTTBR, virtVTCR, virtHCR }: ShadowContext, address: bigint): GuestWalk | undefined {
  const guest = guestOfMachine(image.backend, image.features, own.format.geometry.granule);
  if ((virtHCR & 1n) === 0n || guest === undefined || address >= 2n ** 48n) {
    return undefined;
  }
  const state: NestedState = { vttbr: virtVTTBR, vtcr: virtVTCR, stage2: true };
  const read = (ipa: number, into: Uint8Array): boolean => image.throughStage2(own).read(ipa, into);
  return new GuestWalker(guest, { read, exchange: () => 'done' }).walk(state, Number(address));
}

function stageOf(image: Image, regime: string, address: bigint, access: WalkAccess): Outcome<StageWalk> {
  const walked = walkAddress(image, regime, address, access);
  return walked.kind === 'done' ? done(walked.value.stages[0]) : walked;
}
