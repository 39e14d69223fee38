import { notModelled, type Backend, type NotModelled } from '@granule/contract';

/** 32-bit Arm has no virtual EL2: there is nothing to model. */
export function nestingSupported({ name, regimes }: Backend): NotModelled | undefined {
  return regimes.includes('el2')
    ? undefined
    : notModelled('nested.not-supported', `${name} has no nested virtualisation: FEAT_NV exists in AArch64 alone.`, 'DDI 0487, ID_AA64MMFR2_EL1.NV');
}
