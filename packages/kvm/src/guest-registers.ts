import { done, type Outcome, type Registers } from '@granule/contract';
import type { Stage2 } from './stage2.js';
import type { Vcpu } from './vm.js';

/** HCR_GUEST_FLAGS of what bears on memory, for both architectures (Linux kvm_arm.h; 4.8 arch/arm/include/asm/kvm_arm.h HCR_GUEST_MASK). */
const HCR_FIELDS = { VM: 1, SWIO: 1, PTW: 1, TSW: 1, FB: 1, BSU: 1 } as const;

/** See {@link Stage2.registersOf}. */
export function guestRegisters(stage2: Stage2, { tvm }: Vcpu, vmid: number): Outcome<Registers> {
  const { backend } = stage2.options;
  const aarch64: Readonly<Record<string, number>> = stage2.isAarch32 ? {} : { RW: 1, FWB: Number(stage2.host.features.s2fwb) };
  const hcr = backend.registers.encode(stage2.isAarch32 ? 'HCR' : 'HCR_EL2', { ...HCR_FIELDS, ...aarch64, TVM: Number(tvm) });
  if (hcr.kind !== 'done') {
    return hcr;
  }
  const { features } = stage2.host;
  const roots = backend.registers.encodeStage2({ geometry: stage2.format.geometry, features, ha: false, root: stage2.table.root, vmid });
  if (roots.kind !== 'done') {
    return roots;
  }
  const suffix = stage2.isAarch32 ? '' : '_EL2';
  return done({ [`HCR${suffix}`]: hcr.value, [`VTCR${suffix}`]: stage2.vtcr, [`VTTBR${suffix}`]: roots.value.vttbr });
}
