import { DONE, type HostStage2, type NestedGuest, type Outcome, type ShadowLeaf, type ShadowLimits } from '@granule/contract';
import { hex } from '@granule/geometry/bits';

/** What a nested layer asked of its host. */
export type Call =
  | { readonly did: 'add' | 'write-protect' | 'flush'; readonly context: number }
  | { readonly did: 'unmap'; readonly context: number; readonly start: number; readonly end: number }
  | { readonly did: 'stage1'; readonly context: number; readonly name: string; readonly operand: bigint };

export function callText(call: Call): string {
  switch (call.did) {
    case 'unmap':
      return `unmap [${hex(call.start)}, ${hex(call.end)}) of ${call.context}`;
    case 'stage1':
      return `${call.name} ${hex(call.operand)} for ${call.context}`;
    case 'add':
    case 'write-protect':
    case 'flush':
      return `${call.did} ${call.context}`;
  }
}

export interface Access {
  readonly type: 'read' | 'write' | 'fetch';
  readonly privileged: boolean;
}

export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  readonly executeEl1: boolean;
  readonly executeEl0: boolean;
}

export const ALL: Rights = { read: true, write: true, executeEl1: true, executeEl0: true };

export function allows(rights: Rights, { type, privileged }: Access): boolean {
  if (type === 'fetch') return privileged ? rights.executeEl1 : rights.executeEl0;
  return type === 'write' ? rights.write : rights.read;
}

export function both(a: Rights, b: Rights): Rights {
  return {
    read: a.read && b.read,
    write: a.write && b.write,
    executeEl1: a.executeEl1 && b.executeEl1,
    executeEl0: a.executeEl0 && b.executeEl0,
  };
}

/** What the host maps at an IPA of the VM: aligned alike in input and output. */
export interface HostLeaf {
  readonly start: number;
  readonly bytes: number;
  readonly output: number;
  readonly rights: Rights;
}

/** A leaf of a shadow. */
export interface Leaf {
  readonly start: number;
  readonly end: number;
  readonly output: number;
  readonly rights: Rights;
  readonly tag: number;
}

/** One try of an access through a shadow. */
export type Attempt =
  /** `rights`: what else the shadow permits there, if that is known. */
  | { readonly kind: 'reached'; readonly output: number; readonly rights?: Rights; readonly bytes?: number; readonly tag?: number }
  | { readonly kind: 'fault'; readonly permission: boolean };

/** Shadows, and whoever accesses memory through them: lists, or tables under a machine with TLBs. */
export interface ShadowHost extends HostStage2 {
  /** The vCPU runs in this context from here on. */
  enter(vcpu: number, context: number): void;
  attempt(vcpu: number, context: number, ipa: number, access: Access): Attempt;
  /**
   * Maps what a decision says, as KVM does: at most the guest hypervisor's size and the host's, of the host's sizes, with the rights that both leave. False:
   * the host has nothing there, or does not let the access through itself.
   */
  map(vcpu: number, context: number, ipa: number, limits: ShadowLimits, access: Access): boolean;
}

/** What a host of shadows is made of. */
export interface HostOptions {
  /** Of the host's leaves, bytes, smallest first. */
  readonly sizes: readonly number[];
  /** The host's own mapping of the VM's memory. */
  readonly maps: (ipa: number) => HostLeaf | undefined;
  readonly guest: NestedGuest;
}

/** What is to be put into a shadow, and where; undefined: the host has nothing there, or does not let the access through. */
export function leafFor({ sizes, maps }: Pick<HostOptions, 'sizes' | 'maps'>, ipa: number, limits: ShadowLimits, access: Access): Leaf | undefined {
  const host = maps(limits.ipa);
  if (host === undefined || !allows(host.rights, access)) return undefined;
  const bytes = sizes.findLast((size) => size <= Math.min(limits.maxBytes, host.bytes)) ?? sizes[0];
  const start = down(ipa, bytes);
  const output = host.output + (down(limits.ipa, bytes) - host.start);
  return { start, end: start + bytes, output, rights: both(host.rights, limits), tag: limits.level ?? 0 };
}

const down = (at: number, bytes: number): number => Math.floor(at / bytes) * bytes;

/** Shadows as lists of leaves. It keeps what it is asked for. */
export class Host implements ShadowHost {
  readonly shadows: Leaf[][] = [];
  readonly calls: Call[] = [];

  constructor(readonly options: Pick<HostOptions, 'sizes' | 'maps'>) {}

  /** What was asked since the last time. */
  drain(): readonly Call[] {
    return this.calls.splice(0);
  }

  add(context: number): Outcome<undefined> {
    this.calls.push({ did: 'add', context });
    this.shadows[context] = [];
    return DONE;
  }

  unmap(context: number, start: number, end: number): void {
    this.calls.push({ did: 'unmap', context, start, end });
    this.shadows[context] = this.shadows[context].filter((leaf) => leaf.end <= start || leaf.start >= end);
  }

  writeProtect(context: number): void {
    this.calls.push({ did: 'write-protect', context });
    this.shadows[context] = this.shadows[context].map((leaf) => ({ ...leaf, rights: { ...leaf.rights, write: false } }));
  }

  flush(context: number): void {
    this.calls.push({ did: 'flush', context });
  }

  invalidateStage1(context: number, name: string, operand: bigint): void {
    this.calls.push({ did: 'stage1', context, name, operand });
  }

  leaf(context: number, ipa: number): ShadowLeaf | undefined {
    return this.leafAt(context, ipa);
  }

  leafAt(context: number, ipa: number): Leaf | undefined {
    return this.shadows[context].find(({ start, end }) => ipa >= start && ipa < end);
  }

  enter(): void {
    // Lists know no vCPUs.
  }

  attempt(_vcpu: number, context: number, ipa: number, access: Access): Attempt {
    const leaf = this.leafAt(context, ipa);
    if (leaf === undefined || !allows(leaf.rights, access)) return { kind: 'fault', permission: leaf !== undefined };
    return { kind: 'reached', output: leaf.output + (ipa - leaf.start), rights: leaf.rights, bytes: leaf.end - leaf.start, tag: leaf.tag };
  }

  map(_vcpu: number, context: number, ipa: number, limits: ShadowLimits, access: Access): boolean {
    const leaf = leafFor(this.options, ipa, limits, access);
    if (leaf === undefined) return false;
    const kept = this.shadows[context].filter(({ start, end }) => end <= leaf.start || start >= leaf.end);
    this.shadows[context] = [...kept, leaf];
    return true;
  }
}
