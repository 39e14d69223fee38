import { notModelled, type Backend, type NotModelled } from '@granule/contract';
import { GRANULES, type Granule } from '@granule/geometry';

/** 32-bit Arm has no virtual EL2: there is nothing to model. */
export function nestingSupported({ name, regimes }: Backend): NotModelled | undefined {
  return regimes.includes('el2')
    ? undefined
    : notModelled('nested.not-supported', `${name} has no nested virtualisation: FEAT_NV exists in AArch64 alone.`, 'DDI 0487, ID_AA64MMFR2_EL1.NV');
}

/**
 * Stage-2 granules that KVM offers a guest hypervisor, of those that the machine has: none smaller than the host's pages, in which every shadow is built.
 * Source: Linux limit_nv_id_reg (ID_AA64MMFR0_EL1.TGRAN*_2, FEAT_GTG).
 */
export function offeredGranules(host: Granule, machine: readonly Granule[]): readonly Granule[] {
  return machine.filter((each) => GRANULES[each].pageShift >= GRANULES[host].pageShift);
}
