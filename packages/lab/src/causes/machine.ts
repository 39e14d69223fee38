import type { Backend, Features, Registers } from '@granule/contract';
import { GRANULES, type Granule } from '@granule/geometry';
import { type HostProfile, kernelProfile, type KernelProfile } from '@granule/kvm';

/** Fields of VTCR_EL2 (DDI 0487). */
const VTCR_PS_SHIFT = 16n;
const VTCR_HA = 1n << 21n;
const VTCR_DS = 1n << 32n;
/** VTCR_EL2.PS: bits of a physical address. */
const PA_BITS = [32, 36, 40, 42, 44, 48, 52] as const;
const HCR_E2H = 1n << 34n;
/** CTR_EL0.L1Ip: PIPT. */
const L1IP_PIPT = 3n;

/**
 * What the registers at a checkpoint and the trace say of the host. The kernel's configuration limits what it takes of the machine: the size of physical
 * addresses, LPA2 and hardware access flags are as VTCR_EL2 has them.
 */
export function hostProfile(backend: Backend, registers: Registers, granule: Granule, rangeTraced: boolean, linear: bigint | undefined): HostProfile {
  const vtcr = registers['VTCR_EL2'] ?? 0n;
  const features = backend.registers.features(registers);
  return {
    granule,
    vaBits: hostVaBits(registers, linear),
    // Linux passes the level whether or not the machine has FEAT_TTL, and that is what a trace of its functions shows.
    features: { ...features, ...configured(features, vtcr, granule), ttl: true, tlbirange: rangeTraced },
    hardwareAccessFlag: (vtcr & VTCR_HA) !== 0n,
    tlbRange: rangeTraced,
  };
}

function configured({ paBits, lpa2Granules2 }: Features, vtcr: bigint, granule: Granule): Pick<Features, 'paBits' | 'lpa2Granules2'> {
  const ps = PA_BITS.at(Number((vtcr >> VTCR_PS_SHIFT) & 7n));
  return {
    paBits: ps === undefined || ps > paBits ? paBits : ps,
    lpa2Granules2: (vtcr & VTCR_DS) === 0n ? lpa2Granules2.filter((each) => each !== granule) : lpa2Granules2,
  };
}

/**
 * Virtual address bits of the host kernel. With VHE TCR_EL2.T0SZ has them; without, that is the size of the hyp map, and an address of the kernel's linear
 * map tells: it lies in the lower half of the upper range, so that all bits above are ones and the next is zero. Unknown: 48.
 */
function hostVaBits(registers: Registers, linear: bigint | undefined): number {
  if (isVhe(registers)) {
    return 64 - Number((registers['TCR_EL2'] ?? 16n) & 0x3fn);
  }
  const ones = linear === undefined ? 16 : /^1*/u.exec(linear.toString(2).padStart(64, '0'))![0].length;
  return ones >= 12 && ones < 64 ? 64 - ones : 48;
}

/** The host kernel runs at EL2. */
export function isVhe(registers: Registers): boolean {
  return ((registers['HCR_EL2'] ?? 0n) & HCR_E2H) !== 0n;
}

export function granuleOfPage(bytes: number): Granule | undefined {
  return (Object.keys(GRANULES) as Granule[]).find((granule) => 2 ** GRANULES[granule].pageShift === bytes);
}

/**
 * Bytes above which Linux invalidates the whole instruction cache instead of lines: PTRS_PER_PTE lines of the smallest (CTR_EL0.IminLine, in words), since 6.7;
 * none where instruction caches may alias (CTR_EL0.L1Ip is not PIPT). Source: Linux __invalidate_icache_guest_page, __invalidate_icache_max_range.
 */
export function icacheLimit(registers: Registers, pageShift: number, { icacheAllAbove }: KernelProfile): number {
  const ctr = registers['CTR_EL0'] ?? 0x8444_c004n;
  if (((ctr >> 14n) & 3n) !== L1IP_PIPT) {
    return 0;
  }
  return icacheAllAbove === 'ptrs-per-pte' ? 2 ** (pageShift - 3) * 4 * 2 ** Number(ctr & 0xfn) : Infinity;
}

export function profileOf(kernel: string): KernelProfile {
  return kernelProfile(kernel.replace(/^Linux \S+ /, ''));
}
