import { armv8 } from '@granule/armv8';
import type { GuestMemory, NestedGuest, NestedState } from '@granule/contract';

/** A guest hypervisor's machine with everything that KVM shows it: 40-bit physical addresses, three granules. */
export const GUEST: NestedGuest = {
  backend: armv8,
  paBits: 40,
  ipaLimit: 40,
  hostGranule: '4K',
  features: { granules2: ['4K', '16K', '64K'], xnx: true, ttl: true, tlbirange: true, xs: true },
};

/** Words of guest memory by IPA; anything below 1 TiB that was not set reads as zero. */
export class Words implements GuestMemory {
  readonly words = new Map<number, bigint>();

  constructor(readonly end = 2 ** 40) {}

  set(ipa: number, word: bigint): this {
    this.words.set(ipa, word);
    return this;
  }

  read(ipa: number, into: Uint8Array): boolean {
    if (ipa + into.length > this.end) {
      return false;
    }
    new DataView(into.buffer).setBigUint64(0, this.words.get(ipa) ?? 0n, true);
    return true;
  }

  exchange(ipa: number, expected: bigint, value: bigint): 'done' | 'changed' {
    if ((this.words.get(ipa) ?? 0n) !== expected) {
      return 'changed';
    }
    this.words.set(ipa, value);
    return 'done';
  }
}

/** VTCR_EL2 of fields (DDI 0487 VTCR_EL2: T0SZ 5:0, SL0 7:6, TG0 15:14, PS 18:16, HA 21). */
export function vtcr({ ia, sl0, tg0 = 0, ps = 2, ha = 0 }: { readonly ia: number; readonly sl0: number; readonly tg0?: number; readonly ps?: number; readonly ha?: number }): bigint {
  return BigInt(64 - ia) | (BigInt(sl0) << 6n) | (BigInt(tg0) << 14n) | (BigInt(ps) << 16n) | (BigInt(ha) << 21n) | (1n << 31n);
}

/** 40-bit IPA from level 1 with 4K pages, as Linux makes it. */
export const VTCR_40 = vtcr({ ia: 40, sl0: 1 });

export function stateOf(vttbr: bigint, fields: Partial<NestedState> = {}): NestedState {
  return { vttbr, vtcr: VTCR_40, stage2: true, ...fields };
}

/** Read, write, execute, Inner Shareable, Write-Back, accessed (DDI 0487 D8.3: S2AP 7:6, SH 9:8, AF 10, MemAttr 5:2). */
export const RWX = 0x7fcn;
