import { type Backend, type Outcome, type Registers, done } from '@granule/contract';
import type { Vcpu, Vm } from '@granule/kvm';

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
  readonly hcr: string;
  readonly vtcr: string;
  readonly vttbr: string;
  /** Writes that HCR.TVM traps (DDI 0487 HCR_EL2.TVM; DDI 0406C HCR.TVM). */
  readonly vmRegisters: readonly string[];
  /** Invalidations of every VMID. */
  readonly everyVmid: readonly string[];
}

const ARMV8: ArchNames = {
  guest: 'el10',
  hyp: 'el2',
  sctlr: 'SCTLR_EL1',
  tcr: 'TCR_EL1',
  ttbr0: 'TTBR0_EL1',
  mair: ['MAIR_EL1'],
  guestRegisters: ['SCTLR_EL1', 'TCR_EL1', 'TTBR0_EL1', 'TTBR1_EL1', 'MAIR_EL1'],
  hcr: 'HCR_EL2',
  vtcr: 'VTCR_EL2',
  vttbr: 'VTTBR_EL2',
  vmRegisters: [
    'SCTLR_EL1', 'TTBR0_EL1', 'TTBR1_EL1', 'TCR_EL1', 'ESR_EL1', 'FAR_EL1', 'AFSR0_EL1', 'AFSR1_EL1', 'MAIR_EL1', 'AMAIR_EL1', 'CONTEXTIDR_EL1',
  ],
  everyVmid: ['ALLE1', 'ALLE1IS', 'ALLE1OS'],
};

const ARMV7: ArchNames = {
  guest: 'pl10',
  hyp: 'pl2',
  sctlr: 'SCTLR',
  tcr: 'TTBCR',
  ttbr0: 'TTBR0',
  mair: ['MAIR0', 'MAIR1'],
  guestRegisters: ['SCTLR', 'TTBCR', 'TTBR0', 'TTBR1', 'MAIR0', 'MAIR1'],
  hcr: 'HCR',
  vtcr: 'VTCR',
  vttbr: 'VTTBR',
  vmRegisters: ['SCTLR', 'TTBR0', 'TTBR1', 'TTBCR', 'DACR', 'DFSR', 'IFSR', 'DFAR', 'IFAR', 'ADFSR', 'AIFSR', 'PRRR', 'NMRR', 'MAIR0', 'MAIR1', 'AMAIR0', 'AMAIR1', 'CONTEXTIDR'],
  everyVmid: ['TLBIALLNSNH', 'TLBIALLNSNHIS'],
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

/** HCR as KVM sets it, as far as memory is concerned (HCR_GUEST_FLAGS; vcpu_reset_hcr), with TVM as it stands for this vCPU. */
export function hcrOf(vm: Vm, { tvm }: Pick<Vcpu, 'tvm'>): bigint {
  const { backend, host } = vm.options;
  const common = { VM: 1, SWIO: 1, PTW: 1, FB: 1, BSU: 1, TSW: 1, TVM: Number(tvm) };
  return archNames(backend) === ARMV7 ? encoded(backend, 'HCR', common) : encoded(backend, 'HCR_EL2', { ...common, RW: 1, FWB: Number(host.features.s2fwb) });
}

export function vttbrOf(vm: Vm): Outcome<bigint> {
  const { backend, host } = vm.options;
  const { features } = host;
  const made = backend.registers.encodeStage2({
    geometry: vm.format.geometry, features, ha: host.hardwareAccessFlag && features.haf, root: vm.table.root, vmid: vm.vmid,
  });
  return made.kind === 'done' ? done(made.value.vttbr) : made;
}

/** A register of EL1 by its AArch64 name is, to an AArch32 guest, the one of the same name without the level (DDI 0487 D1.6, mapping of System registers). */
export function registerName(backend: Pick<Backend, 'name'>, name: string): string {
  return archNames(backend) === ARMV8 ? name : name === 'TCR_EL1' ? 'TTBCR' : name.replace(/_EL1$/, '');
}

/** SCTLR.M and C both 1 (vcpu_has_cache_enabled). */
export function cachesOn(backend: Backend, sctlr: bigint): boolean {
  const fields = backend.registers.decode(archNames(backend).sctlr, sctlr);
  return fields.kind === 'done' && fields.value['M'] === 1n && fields.value['C'] === 1n;
}
