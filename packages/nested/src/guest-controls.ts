import type { Format, NestedGuest, NestedState, Outcome } from '@granule/contract';
import { GRANULES, levelShift, PA_RANGES, stage2Geometry, type Granule, type Level } from '@granule/geometry';

/** VTCR_EL2 as KVM reads it for a walk (vtcr_to_walk_info). */
export interface GuestControls {
  readonly granule: Granule;
  /** 64 − T0SZ, whatever that is. */
  readonly inputBits: number;
  /** As SL0 says, −1 … 3: 4K pages 2 − SL0, others 3 − SL0. */
  readonly startLevel: Level;
  /** PS, at most what the host's KVM offers, bits. */
  readonly outputBits: number;
  readonly hardwareAccess: boolean;
}

/** VTCR_EL2.TG0 (DDI 0487): reserved 0b11 acts as 64K in KVM. */
const TG0: readonly Granule[] = ['4K', '64K', '16K', '64K'];
/** What KVM does not know as PS acts as this: 52-bit output among it (ps_to_output_size without 52-bit support). */
const MAX_OUTPUT = 48;

/** The granule that a TG0 value gives: one that the guest does not have is the host's page size, or else the first that it has. */
function granuleOf(vtcr: bigint, { features, hostGranule }: NestedGuest): Granule {
  const asked = TG0[Number((vtcr >> 14n) & 3n)];
  const order: readonly Granule[] = [asked, hostGranule, '4K', '16K', '64K'];
  return order.find((each) => features.granules2.includes(each)) ?? asked;
}

/** Source: Linux vtcr_to_walk_info, walk_nested_s2_pgd. */
export function guestControls(vtcr: bigint, guest: NestedGuest): GuestControls {
  const granule = granuleOf(vtcr, guest);
  const sl0 = Number((vtcr >> 6n) & 3n);
  return {
    granule,
    inputBits: 64 - Number(vtcr & 0x3fn),
    startLevel: ((granule === '4K' ? 2 : 3) - sl0) as Level,
    outputBits: Math.min(PA_RANGES[Number((vtcr >> 16n) & 7n)] ?? MAX_OUTPUT, MAX_OUTPUT, guest.ipaLimit),
    hardwareAccess: ((vtcr >> 21n) & 1n) === 1n,
  };
}

/** Input sizes that KVM's walk takes at all, bits; T0SZ beyond is an error of its own. */
export const INPUT_BITS = { least: 25, most: 48 } as const;

/** The smallest physical address size, bits, with which KVM lets a granule start that high; levels above are refused whatever the size. */
const HIGHEST_START: Readonly<Record<Granule, { readonly level: Level; readonly above: number }>> = {
  '4K': { level: 0, above: 42 },
  '16K': { level: 1, above: 40 },
  '64K': { level: 1, above: 42 },
};

/** Why KVM does not walk from this start level; undefined where it does. Source: Linux check_base_s2_limits. */
export function startProblem({ granule, inputBits, startLevel }: GuestControls, { paBits }: NestedGuest): string | undefined {
  const highest = HIGHEST_START[granule];
  if (startLevel < highest.level || (startLevel === highest.level && paBits <= highest.above)) {
    return `VTCR_EL2.SL0 starts at level ${startLevel} with ${granule} pages and ${paBits}-bit physical addresses`;
  }
  if (inputBits > paBits) {
    return `VTCR_EL2.T0SZ asks for ${inputBits} bits of IPA, more than the ${paBits} of a physical address`;
  }
  const resolved = inputBits - levelShift(granule, startLevel);
  if (resolved < 1 || resolved > GRANULES[granule].stride + 4) {
    return `VTCR_EL2.T0SZ leaves ${resolved} bits to start level ${startLevel}, of 1 to ${GRANULES[granule].stride + 4}`;
  }
  return undefined;
}

/** The format of the guest hypervisor's tables, for controls that passed {@link startProblem}. */
export function guestFormat({ granule, inputBits, startLevel }: GuestControls, { backend, paBits, features }: NestedGuest): Outcome<Format> {
  const geometry = stage2Geometry({ granule, ipaBits: inputBits, paBits: Math.min(paBits, MAX_OUTPUT), startLevel, ds: false });
  return geometry.kind === 'done' ? backend.format('s2', { geometry: geometry.value, features: { xnx: features.xnx } }) : geometry;
}

/** One format for each kind of VTCR_EL2 that was seen: guests have few. */
export class GuestFormats {
  readonly #formats = new Map<string, Outcome<Format>>();

  constructor(readonly guest: NestedGuest) {}

  of(controls: GuestControls): Outcome<Format> {
    const { granule, inputBits, startLevel } = controls;
    const key = `${granule}/${inputBits}/${startLevel}`;
    let format = this.#formats.get(key);
    if (format === undefined) {
      format = guestFormat(controls, this.guest);
      this.#formats.set(key, format);
    }
    return format;
  }
}

/** VTTBR_EL2's table address as KVM's walk takes it: BADDR[47:x], bits below the size of the entry tables left out. */
export function tableBase({ vttbr }: NestedState, { granule, inputBits, startLevel }: GuestControls): number {
  const lowest = 3 + inputBits - levelShift(granule, startLevel);
  return Number(((vttbr & 0xffff_ffff_ffffn) >> BigInt(lowest)) << BigInt(lowest));
}
