import type { Backend, Registers } from '@granule/contract';
import { GRANULES, type Granule } from '@granule/geometry';
import { type HostProfile, kernelProfile, type KernelProfile } from '@granule/kvm';

/** VTCR_EL2.HA (DDI 0487). */
const VTCR_HA = 1n << 21n;

/** What the registers at a checkpoint and the trace say of the host. */
export function hostProfile(backend: Backend, registers: Registers, granule: Granule, rangeTraced: boolean): HostProfile {
  const tcr = registers['TCR_EL2'] ?? 0n;
  const features = backend.registers.features(registers);
  return {
    granule,
    vaBits: 64 - Number(tcr & 0x3fn),
    // Linux passes the level whether or not the machine has FEAT_TTL, and that is what a trace of its functions shows.
    features: { ...features, ttl: true, tlbirange: rangeTraced },
    hardwareAccessFlag: ((registers['VTCR_EL2'] ?? 0n) & VTCR_HA) !== 0n,
    tlbRange: rangeTraced,
  };
}

export function granuleOfPage(bytes: number): Granule | undefined {
  return (Object.keys(GRANULES) as Granule[]).find((granule) => 2 ** GRANULES[granule].pageShift === bytes);
}

/** Smallest line of the instruction caches, bytes (CTR_EL0.IminLine, in words). */
export function instructionLine(registers: Registers): number {
  return 4 * 2 ** Number((registers['CTR_EL0'] ?? 4n) & 0xfn);
}

export function profileOf(kernel: string): KernelProfile {
  return kernelProfile(kernel.replace(/^Linux \S+ /, ''));
}
