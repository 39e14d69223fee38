import { DONE, type HostStage2, type Outcome, type ShadowLeaf, type ShadowLimits } from '@granule/contract';
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

const down = (at: number, bytes: number): number => Math.floor(at / bytes) * bytes;

/** Shadows as lists of leaves, and the host's own mapping as a function. It keeps what it is asked for. */
export class Host implements HostStage2 {
  readonly shadows: Leaf[][] = [];
  readonly calls: Call[] = [];

  /** @param sizes of the host's leaves, bytes, smallest first */
  constructor(
    readonly sizes: readonly number[],
    readonly maps: (ipa: number) => HostLeaf | undefined,
  ) {}

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

  /**
   * Maps what a decision says, as KVM does: at most the guest hypervisor's size and the host's, of the host's sizes, with the rights that both leave. False:
   * the host has nothing there, or does not let the access through itself.
   */
  map(context: number, ipa: number, limits: ShadowLimits, access: Access): boolean {
    const host = this.maps(limits.ipa);
    if (host === undefined || !allows(host.rights, access)) return false;
    const bytes = this.sizes.findLast((size) => size <= Math.min(limits.maxBytes, host.bytes)) ?? this.sizes[0];
    const start = down(ipa, bytes);
    const output = host.output + (down(limits.ipa, bytes) - host.start);
    const kept = this.shadows[context].filter((leaf) => leaf.end <= start || leaf.start >= start + bytes);
    this.shadows[context] = [...kept, { start, end: start + bytes, output, rights: both(host.rights, limits), tag: limits.level ?? 0 }];
    return true;
  }
}
