import type { SetWayOperation } from './emulation.js';

/** What a trapped instruction of EL1 is to the emulation of caches. */
export type TrappedOperation =
  | { readonly kind: 'set-way'; readonly op: SetWayOperation['op'] }
  /** `caches`: it holds M and C. `half`: of a 64-bit register that this 32-bit view writes one half of. */
  | { readonly kind: 'vm-register'; readonly register: string; readonly caches: boolean; readonly half?: 'low' | 'high' }
  | { readonly kind: 'undefined' };

/** DC by set/way in AArch64; CP15 c7, c6/c10/c14, 2 in AArch32; those of allocation tags (FEAT_MTE2), and of both (DDI 0487 C5.3, G8). */
const SET_WAY: Readonly<Record<string, SetWayOperation['op']>> = {
  ISW: 'isw', CSW: 'csw', CISW: 'cisw', DCISW: 'isw', DCCSW: 'csw', DCCISW: 'cisw',
};
const TAGGED_SET_WAY: Readonly<Record<string, SetWayOperation['op']>> = {
  IGSW: 'isw', IGDSW: 'isw', CGSW: 'csw', CGDSW: 'csw', CIGSW: 'cisw', CIGDSW: 'cisw',
};

/** Registers whose writes HCR_EL2.TVM traps (DDI 0487 HCR_EL2.TVM; Linux sys_reg_descs, access_vm_reg). */
export const TVM_REGISTERS: readonly string[] = [
  'SCTLR_EL1', 'SCTLR2_EL1', 'TTBR0_EL1', 'TTBR1_EL1', 'TCR_EL1', 'TCR2_EL1', 'ESR_EL1', 'FAR_EL1', 'AFSR0_EL1', 'AFSR1_EL1', 'MAIR_EL1', 'AMAIR_EL1',
  'CONTEXTIDR_EL1',
];

type View = readonly [register: string, half?: 'low' | 'high'];

/** Their AArch32 views (Linux cp15_regs): halves of one 64-bit register each, or all of one. */
export const TVM_VIEWS: Readonly<Record<string, View>> = {
  SCTLR: ['SCTLR_EL1'], TTBR0: ['TTBR0_EL1'], TTBR1: ['TTBR1_EL1'], TTBCR: ['TCR_EL1', 'low'], TTBCR2: ['TCR_EL1', 'high'], DACR: ['DACR32_EL2'],
  DFSR: ['ESR_EL1'], IFSR: ['IFSR32_EL2'], ADFSR: ['AFSR0_EL1'], AIFSR: ['AFSR1_EL1'], DFAR: ['FAR_EL1', 'low'], IFAR: ['FAR_EL1', 'high'],
  PRRR: ['MAIR_EL1', 'low'], MAIR0: ['MAIR_EL1', 'low'], NMRR: ['MAIR_EL1', 'high'], MAIR1: ['MAIR_EL1', 'high'], AMAIR0: ['AMAIR_EL1', 'low'],
  AMAIR1: ['AMAIR_EL1', 'high'], CONTEXTIDR: ['CONTEXTIDR_EL1'],
};

/**
 * An instruction or register by its Arm name, with or without `DC `. Undefined: nothing that the emulation is asked about. Set/way operations on tags are
 * undefined to a VM that has none (access_dcgsw).
 */
export function trappedOperation(name: string, mte: boolean): TrappedOperation | undefined {
  const plain = name.replace(/^DC /, '');
  const tagged = TAGGED_SET_WAY[plain];
  if (tagged !== undefined && !mte) {
    return { kind: 'undefined' };
  }
  const op = SET_WAY[plain] ?? tagged;
  if (op !== undefined) {
    return { kind: 'set-way', op };
  }
  const view: View | undefined = TVM_REGISTERS.includes(plain) ? [plain] : TVM_VIEWS[plain];
  if (view === undefined) {
    return undefined;
  }
  const [register, half] = view;
  return { kind: 'vm-register', register, caches: register === 'SCTLR_EL1', ...(half && { half }) };
}

/** SCTLR.M and SCTLR.C both 1, in every architecture version (Linux vcpu_has_cache_enabled). */
export function cachesEnabled(sctlr: bigint): boolean {
  return (sctlr & 0b101n) === 0b101n;
}
