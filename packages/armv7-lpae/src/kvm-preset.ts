import { armv7Stage2Geometry, type TableGeometry } from '@granule/geometry';

/** A stage 2 that does not depend on the VM. */
export interface Stage2Preset {
  readonly geometry: TableGeometry;
  readonly t0sz: number;
  readonly sl0: number;
  /** VTTBR.BADDR starts at this bit: the entry table is aligned to 2^vttbrX bytes. */
  readonly vttbrX: number;
}

function kvmStage2(): Stage2Preset {
  const geometry = armv7Stage2Geometry({ ipaBits: 40, startLevel: 1 });
  if (geometry.kind !== 'done') throw new Error(geometry.sentence);
  return Object.freeze({ geometry: geometry.value, t0sz: -8, sl0: 1, vttbrX: 13 });
}

/**
 * What KVM on 32-bit hosts gives every VM: a 40-bit IPA (T0SZ −8: field 8 with S = 1) from level 1 (SL0 1), two concatenated tables of 512
 * entries, VTTBR alignment 5 − T0SZ = 13 (Linux 4.8 arch/arm/include/asm/kvm_arm.h: KVM_T0SZ, KVM_VTCR_SL0, VTTBR_X).
 */
export const KVM_ARM_STAGE2: Stage2Preset = kvmStage2();
