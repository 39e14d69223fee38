import { type AttributeRequest, type Outcome, done, refused } from '@granule/contract';

/** How a kernel numbers the bits of `enum kvm_pgtable_prot`: one execute bit, or one for each privilege (FEAT_XNX). */
export type ProtLayout = 'x' | 'px-ux';

interface ProtBits {
  readonly px: bigint;
  readonly ux: bigint;
  readonly write: bigint;
  readonly read: bigint;
  readonly device: bigint;
  readonly normalNc: bigint;
}

/** Linux arch/arm64/include/asm/kvm_pgtable.h, enum kvm_pgtable_prot: up to 6.18, and since. */
const LAYOUTS: Readonly<Record<ProtLayout, ProtBits>> = {
  'x': { px: 1n, ux: 1n, write: 2n, read: 4n, device: 8n, normalNc: 0x10n },
  'px-ux': { px: 1n, ux: 2n, write: 4n, read: 8n, device: 0x10n, normalNc: 0x20n },
};

/** KVM_PGTABLE_PROT_SW0…3 stand at bits 55 to 58, where the descriptor has them. */
const SOFTWARE_SHIFT = 55n;

/** FEAT_XNX came with 6.19: one execute bit before, two since. Around it, where changes may have been taken over early, the values decide. */
const FIRST_PX_UX = 6019;
const LAST_CERTAIN_X = 6012;
const FIRST_CERTAIN_PX_UX = 7002;

/**
 * The layout in use. A mapping is readable but for a guest hypervisor's odd ones, and R is bit 3 in one layout; in the other that bit is
 * Device, which the memory of a guest is not. So most values have it, or most have not.
 *
 * @param kernel as `uname` prints it
 * @param withBit3 how many `prot` values of the trace have bit 3, of `values`
 */
export function protLayoutOf(kernel: string, withBit3: number, values: number): ProtLayout {
  const version = /\b(\d+)\.(\d+)\.\d/.exec(kernel);
  const number = version === null ? undefined : Number(version[1]) * 1000 + Number(version[2]);
  if (number !== undefined && (number <= LAST_CERTAIN_X || number >= FIRST_CERTAIN_PX_UX || values === 0)) {
    return number < FIRST_PX_UX ? 'x' : 'px-ux';
  }
  return 2 * withBit3 > values ? 'px-ux' : 'x';
}

export interface Permissions {
  readonly read: boolean;
  readonly write: boolean;
  readonly px: boolean;
  readonly ux: boolean;
}

export function permissionsOf(prot: bigint, layout: ProtLayout): Permissions {
  const bits = LAYOUTS[layout];
  const has = (mask: bigint): boolean => (prot & mask) !== 0n;
  return { read: has(bits.read), write: has(bits.write), px: has(bits.px), ux: has(bits.ux) };
}

/** Write permission and memory type that a value asks for. */
export function protectionOf(prot: bigint, layout: ProtLayout): { readonly write: boolean; readonly memory: 'normal' | 'device' | 'normal-nc' } {
  const { write, device, normalNc } = LAYOUTS[layout];
  return { write: (prot & write) !== 0n, memory: (prot & device) !== 0n ? 'device' : (prot & normalNc) !== 0n ? 'normal-nc' : 'normal' };
}

export function softwareOf(prot: bigint): number {
  return Number((prot >> SOFTWARE_SHIFT) & 0xfn);
}

/**
 * What a leaf is asked to say. Refused as stage2_set_prot_attr and hyp_set_prot_attr do: `prot.memory-types` for Device and Normal-NC
 * together, `prot.execute` for execution of either.
 */
export function attributesOf(prot: bigint, layout: ProtLayout): Outcome<AttributeRequest> {
  const bits = LAYOUTS[layout];
  const device = (prot & bits.device) !== 0n;
  const normalNc = (prot & bits.normalNc) !== 0n;
  const permissions = permissionsOf(prot, layout);
  if (device && normalNc) {
    return refused('prot.memory-types', 'prot asks for Device and Normal-NC memory at once.', 'Linux stage2_set_prot_attr: -EINVAL');
  }
  if ((device || normalNc) && (permissions.px || permissions.ux)) {
    const sentence = 'prot asks for execution of memory that is not Normal Write-Back.';
    return refused('prot.execute', sentence, 'Linux stage2_set_prot_attr: -EINVAL');
  }
  const memory = device ? 'device-nGnRE' : normalNc ? 'normal-nc' : 'normal';
  return done({ ...permissions, memory, af: true, software: softwareOf(prot) });
}

/** The number of a kernel for what a mapping is asked to permit and to be. */
export function protOf(
  { read, write, execute, memory, software = 0 }: {
    readonly read: boolean; readonly write: boolean; readonly execute: boolean | 'el0' | 'el1'; readonly memory: string; readonly software?: number;
  },
  layout: ProtLayout,
): bigint {
  const bits = LAYOUTS[layout];
  const executes = (execute === true || execute === 'el1' ? bits.px : 0n) | (execute === true || execute === 'el0' ? bits.ux : 0n);
  const type = memory === 'device' ? bits.device : memory === 'normal-nc' ? bits.normalNc : 0n;
  return executes | (write ? bits.write : 0n) | (read ? bits.read : 0n) | type | (BigInt(software) << SOFTWARE_SHIFT);
}
