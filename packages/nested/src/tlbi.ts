import { done, refused, type HostStage2, type NestedGuest, type Outcome, type ShadowContext } from '@granule/contract';
import { alignDown, type InputAddress } from '@granule/geometry/bits';
import { entrySpan, type Granule, type Level } from '@granule/geometry';
import { guestControls } from './guest-controls.js';

/** What a TLBI of a guest hypervisor is about. */
export type TlbiTarget =
  /** Every shadow, whatever its VMID. */
  | { readonly target: 'all' }
  /** All that the contexts of the current VMID map. */
  | { readonly target: 'vmid' }
  /** One address, in the contexts of the current VMID. */
  | { readonly target: 'ipa'; readonly ipa: InputAddress; readonly ttl: number }
  | { readonly target: 'range'; readonly start: InputAddress; readonly end: InputAddress }
  /** A range that begins beyond the physical addresses. */
  | { readonly target: 'nothing' }
  /**
   * Stage 1 of the nested guest: nothing is unmapped, the hardware is told for every context of the VMID, and always Inner Shareable and without nXS
   * (Linux __kvm_tlbi_s1e2).
   */
  | { readonly target: 'stage1'; readonly name: string }
  /** The hypervisor's own EL2 regime: what it has translated for VNCR_EL2. */
  | { readonly target: 'vncr'; readonly name: string };

interface TlbiName {
  readonly base: string;
  readonly range: boolean;
  readonly outer: boolean;
  readonly nxs: boolean;
}

const STAGE1 = ['VMALLE1', 'VAE1', 'VALE1', 'VAAE1', 'VAALE1', 'ASIDE1', 'RVAE1', 'RVALE1', 'RVAAE1', 'RVAALE1'];
const EL2 = ['ALLE2', 'VAE2', 'VALE2', 'RVAE2', 'RVALE2'];
const SHADOW = ['ALLE1', 'VMALLS12E1', 'IPAS2E1', 'IPAS2LE1', 'RIPAS2E1', 'RIPAS2LE1'];

function parse(name: string): TlbiName | undefined {
  const nxs = name.endsWith('NXS');
  const plain = nxs ? name.slice(0, -3) : name;
  const outer = plain.endsWith('OS');
  const base = plain.replace(/(IS|OS)$/, '');
  return [...STAGE1, ...EL2, ...SHADOW].includes(base) ? { base, range: base.startsWith('R'), outer, nxs } : undefined;
}

/** What a feature that the guest does not have makes UNDEFINED. Source: Linux kvm_supported_tlbi_s1e1_op, kvm_supported_tlbi_ipas2_op. */
function missing({ range, outer, nxs }: TlbiName, { features, tlbios = features.tlbirange }: NestedGuest): string | undefined {
  if (nxs && !features.xs) return 'FEAT_XS';
  if (outer && !tlbios) return 'FEAT_TLBIOS';
  return range && !features.tlbirange ? 'FEAT_TLBIRANGE' : undefined;
}

const IPA_FIELD = 0xf_ffff_ffffn;
/** A range operand's TG by granule (DDI 0487 C5.5, TLBI RIPAS2E1): 0 acts as 64K in KVM. */
const RANGE_SHIFTS = [16, 12, 14, 16] as const;
/** Lower half of the address space that a range operand names: bit 48 tells the halves apart. */
const HALF = 2 ** 48;

/** Base and bytes of a range operand: BaseADDR as 49 bits, of which bit 48 tells the halves. TG 0 acts as 64K, TTL is not looked at. Source: Linux decode_range_tlbi. */
export function decodeRange(operand: bigint): { readonly base: InputAddress; readonly upper: boolean; readonly bytes: number } {
  const shift = RANGE_SHIFTS[Number((operand >> 46n) & 3n)];
  const pages = Number(((operand >> 39n) & 31n) + 1n) * 2 ** (5 * Number((operand >> 44n) & 3n) + 1);
  const address = (Number(operand & 0x1f_ffff_ffffn) * 2 ** shift) % (2 * HALF);
  return { base: address % HALF, upper: address >= HALF, bytes: Math.min(pages * 2 ** shift, HALF - (address % HALF)) };
}

/**
 * What a range operand covers of the shadows' input space; undefined where it begins beyond it. A range ends at the end of its half. Source: Linux
 * handle_ripas2e1is.
 */
export function rangeOf(operand: bigint, paBits: number): { readonly start: InputAddress; readonly end: InputAddress } | undefined {
  const { base, upper, bytes } = decodeRange(operand);
  return !upper && base < 2 ** paBits ? { start: base, end: Math.min(base + bytes, 2 ** paBits) } : undefined;
}

/** What a TLBI of the guest hypervisor names. Refused: `tlbi.unknown`; `tlbi.undefined` where the guest's machine has no such operation. */
export function tlbiTarget(name: string, operand: bigint, guest: NestedGuest): Outcome<TlbiTarget> {
  const parsed = parse(name);
  if (parsed === undefined) {
    return refused('tlbi.unknown', `${name} is no TLB invalidation of EL1 or EL2.`, 'DDI 0487 C5.5');
  }
  const feature = missing(parsed, guest);
  if (feature !== undefined) {
    return refused('tlbi.undefined', `TLBI ${name} is UNDEFINED: the guest's machine has no ${feature}.`, 'Linux kvm_supported_tlbi_ipas2_op');
  }
  const { base } = parsed;
  if (EL2.includes(base)) {
    return done({ target: 'vncr', name: base });
  }
  if (STAGE1.includes(base)) {
    return done({ target: 'stage1', name: `${base}IS` });
  }
  if (base === 'ALLE1' || base === 'VMALLS12E1') {
    return done({ target: base === 'ALLE1' ? 'all' : 'vmid' });
  }
  if (parsed.range) {
    const range = rangeOf(operand, guest.paBits);
    return done(range === undefined ? { target: 'nothing' } : { target: 'range', ...range });
  }
  return done({ target: 'ipa', ipa: Number(operand & IPA_FIELD) * 4096, ttl: Number((operand >> 44n) & 15n) });
}

/** The block that an invalidation by IPA unmaps in one shadow, from its TTL or what is known of the mapping. */
export interface TlbiSpan {
  readonly start: InputAddress;
  readonly bytes: number;
}

/** Granule of TTL[3:2] (DDI 0487 C5.5, TLBI IPAS2E1.TTL); 0: no hint. */
const TTL_GRANULES: readonly (Granule | undefined)[] = [undefined, '4K', '16K', '64K'];
/** Block and page sizes that a guest may have, smallest first: those of levels 3, 2 and with 4K pages 1. */
const LEVELS: Readonly<Record<Granule, readonly Level[]>> = { '4K': [3, 2, 1], '16K': [3, 2], '64K': [3, 2] };

/** Bytes that a TTL names; undefined where it names nothing that KVM knows (Linux ttl_to_size). */
export function ttlSize(ttl: number): number | undefined {
  return sizeOf(TTL_GRANULES[ttl >>> 2], ttl % 4);
}

function sizeOf(granule: Granule | undefined, level: number): number | undefined {
  const known = granule && LEVELS[granule].find((each) => each === level);
  return granule && known && entrySpan(granule, known);
}

/**
 * How much an invalidation by IPA has to take of a shadow. The operand's TTL tells, if the guest has FEAT_TTL; without one the shadow's own leaves are asked,
 * at the address aligned to each size of the guest's granule in turn: the first that notes a level decides, if what it notes covers the address. Failing
 * that, the largest block. Source: Linux compute_tlb_inval_range, get_guest_mapping_ttl.
 *
 * @param leaf the shadow's leaf at an address
 */
export function tlbiSpan(
  { ipa, ttl }: { readonly ipa: InputAddress; readonly ttl: number },
  { vtcr }: Pick<ShadowContext, 'vtcr'>,
  guest: NestedGuest,
  leaf: (ipa: InputAddress) => ReturnType<HostStage2['leaf']>,
): TlbiSpan {
  const { granule } = guestControls(vtcr, guest);
  const told = ttl !== 0 && guest.features.ttl ? ttlSize(ttl) : noted(ipa, granule, leaf);
  const bytes = told ?? entrySpan(granule, LEVELS[granule][LEVELS[granule].length - 1]);
  return { start: alignDown(ipa, Math.log2(bytes)), bytes };
}

function noted(ipa: InputAddress, granule: Granule, leaf: (ipa: InputAddress) => ReturnType<HostStage2['leaf']>): number | undefined {
  for (const level of LEVELS[granule]) {
    const start = alignDown(ipa, Math.log2(entrySpan(granule, level)));
    const tag = leaf(start)?.tag ?? 0;
    if (tag !== 0) {
      const size = sizeOf(granule, tag);
      return size !== undefined && ipa < start + size ? size : undefined;
    }
  }
  return undefined;
}
