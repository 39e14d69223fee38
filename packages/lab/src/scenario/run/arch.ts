import type { Backend, Registers } from '@granule/contract';
import { TVM_REGISTERS, TVM_VIEWS } from '@granule/kvm';

/** Names of what a hypervisor and its guest use of an architecture's registers. */
export interface ArchNames {
  /** The guest's regime, and EL2's own. */
  readonly guest: string;
  readonly hyp: string;
  readonly sctlr: string;
  readonly tcr: string;
  readonly ttbr0: string;
  readonly mair: readonly string[];
  /** All of the guest's registers that translation reads: they go with the vCPU. */
  readonly guestRegisters: readonly string[];
}

const ARMV8: ArchNames = {
  guest: 'el10',
  hyp: 'el2',
  sctlr: 'SCTLR_EL1',
  tcr: 'TCR_EL1',
  ttbr0: 'TTBR0_EL1',
  mair: ['MAIR_EL1'],
  guestRegisters: ['SCTLR_EL1', 'TCR_EL1', 'TTBR0_EL1', 'TTBR1_EL1', 'MAIR_EL1'],
};

const ARMV7: ArchNames = {
  guest: 'pl10',
  hyp: 'pl2',
  sctlr: 'SCTLR',
  tcr: 'TTBCR',
  ttbr0: 'TTBR0',
  mair: ['MAIR0', 'MAIR1'],
  guestRegisters: ['SCTLR', 'TTBCR', 'TTBR0', 'TTBR1', 'MAIR0', 'MAIR1'],
};

export function archNames({ name }: Pick<Backend, 'name'>): ArchNames {
  return name === 'armv7-lpae' ? ARMV7 : ARMV8;
}

type Fields = Readonly<Record<string, bigint | number>>;

/** A register's value; the field names are ours, so that a refusal is a mistake here. */
export function encoded({ registers }: Backend, name: string, fields: Fields): bigint {
  const value = registers.encode(name, fields);
  if (value.kind !== 'done') {
    throw new RangeError(value.sentence);
  }
  return value.value;
}

/** A guest's registers at reset: MMU and caches off. AArch32 guests use long descriptors from the start. */
export function resetRegisters(backend: Backend): Registers {
  const { sctlr, tcr } = archNames(backend);
  return { [sctlr]: encoded(backend, sctlr, {}), ...(tcr === 'TTBCR' ? { TTBCR: encoded(backend, tcr, { EAE: 1 }) } : {}) };
}

/** A register of EL1 by its AArch64 name is, to an AArch32 guest, the one of the same name without the level (DDI 0487 D1.10.1, mapping of System registers). */
export function registerName(backend: Pick<Backend, 'name'>, name: string): string {
  return archNames(backend) === ARMV8 ? name : name === 'TCR_EL1' ? 'TTBCR' : name.replace(/_EL1$/, '');
}

/** Whether HCR.TVM traps writes of a register. */
export function isVmRegister(name: string): boolean {
  return TVM_REGISTERS.includes(name) || Object.hasOwn(TVM_VIEWS, name);
}
